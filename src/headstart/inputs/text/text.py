"""What single texts, pairs and choices among texts have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import pandas as pd

from headstart.data.checks import length_warnings
from headstart.data.examples import Examples
from headstart.data.rows import Rows, TextPair
from headstart.data.tables.classnames import with_names
from headstart.data.tables.objects import is_table
from headstart.data.tables.usable import is_empty
from headstart.data.tokens.encode import Encoded
from headstart.data.tokens.lengths import decide_overlap, resolve_max_length
from headstart.data.tokens.tokencache import encode_cached
from headstart.data.tokens.windows import Windows
from headstart.errors import DataError, HeadstartError, ModelError, raise_all
from headstart.inputs._base import InputKind, InputSettings, Mask, Preprocessor
from headstart.inputs.text.cells import marked, read_column, read_span
from headstart.inputs.text.longtexts import InputLength, saved_length
from headstart.inputs.text.padding import settle_padding
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.loading import load_tokenizer, positions
from headstart.models.checkpoints.model_config import LONG_TEXTS
from headstart.models.head_choice import Target
from headstart.tasks.spec import TaskSpec
from headstart.tasks.userfile import from_columns


class TextTokens(Preprocessor):
    """A tokenizer with the longest input that it is used with."""

    def __init__(self, tokenizer: Any, length: InputLength) -> None:
        super().__init__(tokenizer)
        self.tokenizer, self.max_length, self.overlap = tokenizer, length.longest, length.overlap
        self._length = length

    def encode(self, rows: Rows) -> Encoded:
        """Tokenise the rows of a run, or read their tokens from the cache."""
        return encode_cached(rows, self.tokenizer, self._length.longest, self.overlap)

    def encode_parts(self, rows: Rows, task: TaskSpec | None) -> Iterator[Encoded]:
        """Tokenise rows to predict."""
        yield from self._length.encoded(rows, task)

    def write_config(self, config: Any) -> None:
        """Write into a model's configuration in which windows it reads long texts."""
        if self.overlap is not None:
            windows = Windows(self._length.longest, self.overlap)
            setattr(config, LONG_TEXTS, windows.to_dict())

    def warnings(self, examples: Examples, where: str) -> list[str]:
        """Tell what the largest length cuts off."""
        return length_warnings(cast(Encoded, examples), where)

    def facts(self, splits: Mapping[str, Examples]) -> dict[str, str]:
        """Describe the tokens of the rows."""
        train, validation = splits["training"], splits["validation"]
        lengths = train.lengths if train.uncut is None else train.uncut
        become = "cut at" if self.overlap is None else "in windows of"
        found = {
            "tokens a row": f"median {np.median(lengths):.0f}, "
            f"95 % {np.percentile(lengths, 95):.0f}, longest {lengths.max():,}, "
            f"{become} {self.max_length}",
            "rows cut": f"{train.n_cut:,} training, {validation.n_cut:,} validation",
        }
        if self.overlap is not None:
            found["rows in windows"] = ", ".join(
                f"{rows.n_parted:,} of {rows.n_rows:,} {name} ({len(rows):,} windows in all)"
                for name, rows in splits.items()
            )
            share = f"{self.max_length} tokens, {self.overlap} of them shared with the one before"
            found["windows"] = f"{share}; a step and its batch count windows"
        return found


class TextInput(InputKind):
    """What single texts, pairs and choices have in common."""

    usage = """```python
from transformers import pipeline
classify = pipeline("text-classification", model="{folder}")
```"""

    @classmethod
    def missing(cls, frame: pd.DataFrame, task: TaskSpec) -> Mask:
        """Tell which rows lack a text."""
        texts = (*task.text, *task.choices)
        named = with_names(frame, texts)
        masks = [[is_empty(cell) for cell in named[name].tolist()] for name in texts]
        found: Mask = np.logical_or.reduce(np.array(masks, np.bool_))
        return found

    @classmethod
    def read(cls, frame: pd.DataFrame, task: TaskSpec, *, where: str, keep_empty: bool) -> Rows:
        """Read the texts of a table, and find the targets in them.

        With ``keep_empty`` a missing text is a fault all the same where a target is looked for in
        it. Raises ``HeadstartError`` for all faults together: empty texts, targets that are not in
        their text, values without a replacement, with row numbers.
        """
        faults: list[HeadstartError] = []
        spans = {span.column for span in task.spans}
        texts = {
            name: read_column(
                frame, name, task.values.get(name), where, faults, keep_empty and name not in spans
            )
            for name in dict.fromkeys((*task.text, *task.choices))
        }
        found = [read_span(frame, task, i, texts, where, faults) for i in range(len(task.spans))]
        raise_all(faults)
        targets = None
        if found and task.span_use == "vectors":
            segments = [task.text.index(span.column) for span in task.spans]
            targets = [
                tuple((segment, *place) for segment, place in zip(segments, row, strict=True))
                for row in zip(*found, strict=True)
            ]
        elif found:
            texts.update(marked(task, texts, found))
        return Rows(cls.combine(task, texts), None, targets, len(task.choices) or 1)

    @classmethod
    @abstractmethod
    def combine(cls, task: TaskSpec, texts: Mapping[str, list[str]]) -> list[tuple[TextPair, ...]]:
        """Put the texts of columns together to rows: for each row a pair for each choice."""

    @classmethod
    def table(cls, values: Any, task: TaskSpec | None) -> tuple[pd.DataFrame, TaskSpec]:
        """Make a table of texts, or pairs of texts: a text, (first, second), or several of them.

        Raises ``DataError`` if they are not what the model was trained on.
        """
        if task and task.spans:
            raise DataError(
                "rows with all columns that the model reads: candidates, or target spans",
                "plain texts",
                "Use predict_frame with a data frame.",
            )
        pairs = read_texts(values)
        wanted = len(task.text) if task else len(pairs[0]) if pairs else 1
        wrong = next((i for i, p in enumerate(pairs) if len(p) != wanted), None)
        if wrong is not None:
            raise DataError(
                f"{'pairs of texts' if wanted == 2 else 'single texts'}"
                f"{', as in training' if task else ' throughout'}",
                f"{len(pairs[wrong])} text(s) at position {wrong}",
                "Give (first, second) tuples." if wanted == 2 else "Give strings.",
            )
        frame = pd.DataFrame(pairs, columns=["text", "text2"][:wanted])
        return frame, from_columns(tuple(frame.columns), "label")

    @classmethod
    def for_training(
        cls, split: SplitModel, target: Target, settings: InputSettings
    ) -> Preprocessor:
        """Load the tokenizer and decide the longest input.

        A decoder is told the padding token. Raises ``HeadstartError`` if there is no tokenizer that
        fits, or a length is not possible.
        """
        tokenizer = cls._tokenizer(split, settings)
        length = cls._length(split, tokenizer, settings)
        settle_padding(split, tokenizer, target)
        _require_mask(tokenizer, settings.pooling)
        return TextTokens(tokenizer, length)

    @classmethod
    def for_saved(cls, split: SplitModel, target: Target, settings: InputSettings) -> Preprocessor:
        """Load a saved model's tokenizer with the length and the windows of its run.

        Raises ``HeadstartError`` if what the user or the model's configuration says does not fit.
        """
        tokenizer = cls._tokenizer(split, settings)
        settle_padding(split, tokenizer, target)
        return TextTokens(tokenizer, saved_length(split, tokenizer, settings))

    @classmethod
    def _length(cls, split: SplitModel, tokenizer: Any, settings: InputSettings) -> InputLength:
        longest = resolve_max_length(
            tokenizer, positions(split), settings.max_length, default=settings.default_length
        )
        overlap = None
        if settings.long_texts == "windows":
            pair = cls.name == "pair"
            overlap = decide_overlap(tokenizer, longest, settings.window_overlap, pair=pair)
        return InputLength(tokenizer, longest, overlap)

    @classmethod
    def _tokenizer(cls, split: SplitModel, settings: InputSettings) -> Any:
        config: Any = split.model.config
        return load_tokenizer(
            settings.source, config.vocab_size, trust_remote_code=settings.trust_remote_code
        )


def _require_mask(tokenizer: Any, pooling: str) -> None:
    if pooling in ("mean", "attention") and "attention_mask" not in tokenizer.model_input_names:
        raise ModelError(
            f"a tokenizer that tells tokens from padding, for --pooling {pooling}",
            "one whose model_input_names have no attention_mask",
            "Use --pooling first, or add attention_mask to the tokenizer's model_input_names.",
        )


def read_texts(inputs: Any) -> list[tuple[str, ...]]:
    """Return each input that was given to ``predict`` as a tuple of one text or two.

    Raises ``DataError`` if it is something else than texts or pairs.
    """
    if is_table(inputs):
        raise DataError("texts", f"a {type(inputs).__name__}", "Use predict_frame for tables.")
    if isinstance(inputs, str | tuple):
        inputs = [inputs]
    if isinstance(inputs, Mapping | bytes) or not hasattr(inputs, "__iter__"):
        raise DataError("a list of texts", type(inputs).__name__, 'Give, for example, ["A film."].')
    pairs = [tuple(item) if isinstance(item, list | tuple) else (item,) for item in inputs]
    for place, pair in enumerate(pairs):
        if len(pair) not in (1, 2) or not all(isinstance(text, str) for text in pair):
            found = f"{' and '.join(type(text).__name__ for text in pair) or 'nothing'}"
            raise DataError(
                "a text, or a pair of texts, at every position",
                f"{found} at position {place}",
                "Give strings, or (first, second) tuples of strings.",
            )
    return pairs
