"""The words of a text, each of which gets an answer of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import pandas as pd
from tokenizers import normalizers

from headstart.data.examples import Examples
from headstart.data.rows import Rows, TextPair
from headstart.data.tables.objects import is_table
from headstart.data.tokens.encode_words import WordExamples, encode_words
from headstart.data.tokens.lengths import decide_overlap
from headstart.data.tokens.words import read_words, without_words
from headstart.errors import ConfigError, DataError, ModelError, raise_all
from headstart.inputs._base import InputSettings, Mask, Preprocessor
from headstart.inputs.text.longtexts import ROWS_IN_WINDOWS, saved_length
from headstart.inputs.text.text import TextInput, TextTokens
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.loading import load_tokenizer
from headstart.models.head_choice import Target
from headstart.tasks.spec import TaskSpec
from headstart.tasks.userfile import from_columns

log = logging.getLogger("headstart")


class WordTokens(TextTokens):
    """A tokenizer that tells which word each token belongs to, with the longest input."""

    def encode(self, rows: Rows) -> WordExamples:  # type: ignore[override]
        """Tokenise the rows of a run."""
        return encode_words(rows, self.tokenizer, self._length.longest, self._overlap)

    def encode_parts(  # type: ignore[override]
        self,
        rows: Rows,
        task: TaskSpec | None,  # noqa: ARG002
    ) -> Iterator[WordExamples]:
        """Tokenise rows to predict."""
        for part in rows.parts(ROWS_IN_WINDOWS):
            examples = self.encode(part)
            for told in self.warnings(examples, "rows"):
                log.warning(told)
            yield examples

    def warnings(self, examples: Examples, where: str) -> list[str]:
        """Tell which words the model does not see."""
        words, told = cast(WordExamples, examples), []
        if words.cut:
            told.append(
                f"{words.cut} of {words.n_rows} {where} are longer than {self.max_length} tokens "
                f"and were cut: {words.n_missing - words.silent:,} words count as predicted "
                "outside of entities. --long-texts windows reads them all."
            )
        if words.silent:
            told.append(
                f"The tokenizer makes no token of {words.silent:,} words in the {where}, such as "
                "control characters; they count as predicted outside of entities."
            )
        return told

    @property
    def _overlap(self) -> int | None:
        """Tokens that windows share; ``None`` where long rows are cut."""
        if self.overlap is None and not self._length.windows:
            return None
        return decide_overlap(self.tokenizer, self._length.longest, self.overlap, pair=False)


class Tokens(TextInput):
    """The words of a text, each of which gets an answer of its own."""

    name = "tokens"
    model = "tokens"
    noun = "rows of words"
    advice = "Pass --text COLUMN with lists of words or texts."
    windows = True
    pipeline = "token-classification"
    usage = """```python
from transformers import pipeline
tag = pipeline("token-classification", model="{folder}", aggregation_strategy="first")
```"""

    @classmethod
    def missing(cls, frame: pd.DataFrame, task: TaskSpec) -> Mask:
        """Tell which rows have no words; see ``InputKind.missing``."""
        return np.array(without_words(frame, task.text[0]), np.bool_)

    @classmethod
    def read(cls, frame: pd.DataFrame, task: TaskSpec, *, where: str, keep_empty: bool) -> Rows:
        """Read the words of a table; see ``InputKind.read``.

        Raises ``HeadstartError`` if the task finds targets in the text, or for all faulty cells
        together.
        """
        if task.spans:
            fix = "Name the column of spans as the label, or drop the spans."
            raise ConfigError("tags for words, without target spans beside them", "spans", fix)
        rows, faults = read_words(frame, task, where=where, keep_empty=keep_empty)
        raise_all(faults)
        return Rows(list(rows))

    @classmethod
    def combine(cls, task: TaskSpec, texts: Mapping[str, list[str]]) -> list[tuple[TextPair, ...]]:
        """Make no pairs: rows are read by ``read``."""
        raise NotImplementedError

    @classmethod
    def table(cls, values: Any, task: TaskSpec | None) -> tuple[pd.DataFrame, TaskSpec]:
        """Make a table of texts, or of lists of words.

        Raises ``DataError`` if it is something else.
        """
        if is_table(values):
            raise DataError("texts", f"a {type(values).__name__}", "Use predict_frame for tables.")
        cells = [values] if isinstance(values, str) else values
        several = isinstance(cells, list | tuple)
        if not several or not all(isinstance(cell, str | list | tuple) for cell in cells):
            odd = values
            if several:
                odd = next(cell for cell in cells if not isinstance(cell, str | list | tuple))
            fix = 'Give, for example, ["Ada lives in London."] or [["Ada", "lives"]].'
            raise DataError("texts, or lists of words", type(odd).__name__, fix)
        frame = pd.DataFrame({"text": pd.Series(list(cells), dtype=object)})
        # Words between spaces where the model's own rows were parted so.
        own = task.words if task else "text"
        read = from_columns(("text",), "label", target="tags")
        return frame, TaskSpec(**{**vars(read), "words": own})

    @classmethod
    def for_training(
        cls,
        split: SplitModel,
        target: Target,
        settings: InputSettings,
    ) -> Preprocessor:
        """Load the tokenizer and decide the longest input; see ``InputKind.for_training``."""
        tokenizer = cls._tokenizer(split, settings)
        return WordTokens(tokenizer, cls._length(split, tokenizer, settings))

    @classmethod
    def for_saved(cls, split: SplitModel, target: Target, settings: InputSettings) -> Preprocessor:
        """Load a saved model's tokenizer with its length; see ``InputKind.for_saved``."""
        tokenizer = cls._tokenizer(split, settings)
        return WordTokens(tokenizer, saved_length(split, tokenizer, settings))

    @classmethod
    def _tokenizer(cls, split: SplitModel, settings: InputSettings) -> Any:
        """Load a fast tokenizer that takes words.

        It pads on the right and reads words as it reads them in a text; one that marks the space in
        front of a word does so for the first word too. Raises ``ModelError`` if it is no fast
        tokenizer.
        """
        tokenizer = super()._tokenizer(split, settings)
        if not tokenizer.is_fast:
            raise ModelError(
                "a fast tokenizer, which tells the word of each token",
                type(tokenizer).__name__,
                "Add its tokenizer.json to the model, or choose another model.",
            )
        if _loses_spaces(tokenizer):
            config: Any = split.model.config
            tokenizer = load_tokenizer(
                settings.source, config.vocab_size,
                trust_remote_code=settings.trust_remote_code, add_prefix_space=True,
            )  # fmt: skip
        if _loses_spaces(tokenizer):  # classes without that option
            core = tokenizer.backend_tokenizer
            space = normalizers.Prepend(" ")
            own = core.normalizer
            core.normalizer = space if own is None else normalizers.Sequence([own, space])
        tokenizer.padding_side = "right"
        return tokenizer


def _loses_spaces(tokenizer: Any) -> bool:
    """Whether words that are given one by one become other tokens than in a text.

    Byte-level BPE marks the space in front of a word, which the words of a list do not have.
    """
    core = tokenizer.backend_tokenizer
    words, text = core.encode(["a", "a"], is_pretokenized=True), core.encode("a a")
    return bool(words.ids != text.ids)


INPUT = Tokens
