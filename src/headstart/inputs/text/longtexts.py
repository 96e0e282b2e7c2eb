"""How long the inputs of a finished model are, and what becomes of longer texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from headstart.data.rows import Rows
from headstart.data.tables.stream import ROWS_AT_ONCE
from headstart.data.tokens.encode import Encoded, encode
from headstart.data.tokens.lengths import decide_overlap, resolve_max_length
from headstart.data.tokens.windows import Windows
from headstart.errors import ConfigError
from headstart.inputs import INPUTS
from headstart.inputs._base import InputSettings
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.loading import positions
from headstart.models.checkpoints.model_config import LONG_TEXTS
from headstart.tasks.spec import TaskSpec

ROWS_IN_WINDOWS = 1024
"""Rows read in windows that are tokenised at once; each may be as long as a book."""


def require_windows(task: TaskSpec) -> None:
    """Refuse tasks whose rows cannot be parted into windows.

    Raises ``ConfigError`` if a row is no text or pair, or has target spans.
    """
    kind = INPUTS.get(task.shape)
    if not kind.windows or task.spans:
        has = "target spans, which most windows would lack" if kind.windows else kind.noun
        raise ConfigError(
            "rows of one text or a pair for --long-texts windows",
            f"{task.name}, whose rows have {has}",
            "Drop --long-texts: long rows are then cut. Raise --max-length to keep more of them.",
        )


@dataclass(frozen=True)
class InputLength:
    """The longest input of a model, and how longer texts are read.

    Args:
        tokenizer: The model's tokenizer.
        longest: Tokens.
        overlap: Tokens that the windows of longer texts share; ``None`` where they are cut, or
            the overlap depends on the rows.
        windows: Whether longer texts are read in windows, whose overlap depends on the rows.
    """

    tokenizer: Any
    longest: int
    overlap: int | None = None
    windows: bool = False

    def encoded(self, rows: Rows, task: TaskSpec | None) -> Iterator[Encoded]:
        """Tokenise rows, a part at a time.

        Raises ``HeadstartError`` if such rows cannot be parted into windows.
        """
        overlap = None
        if (self.windows or self.overlap is not None) and len(rows):
            if task is not None:
                require_windows(task)
            pair = rows.inputs[0][0][1] is not None
            overlap = decide_overlap(self.tokenizer, self.longest, self.overlap, pair=pair)
        size = ROWS_AT_ONCE if overlap is None else ROWS_IN_WINDOWS
        for part in rows.parts(size):
            yield encode(part, self.tokenizer, self.longest, overlap)


def saved_length(split: SplitModel, tokenizer: Any, asked: InputSettings) -> InputLength:
    """Decide how a finished model reads texts.

    Raises ``HeadstartError`` if what the user or the model's configuration says does not fit.
    """
    own, source = None, asked.source
    if asked.long_texts is None or asked.window_overlap is None:
        own = Windows.read(getattr(split.model.config, LONG_TEXTS, None), source)
    windows = asked.long_texts == "windows" or (asked.long_texts is None and own is not None)
    if asked.window_overlap is not None and not windows:
        raise ConfigError(
            "--long-texts windows beside --window-overlap",
            f"{source}, which was trained on texts that were cut",
            "Add --long-texts windows, or drop --window-overlap.",
        )
    longest = (
        asked.max_length
        or (own.length if own else None)
        or resolve_max_length(tokenizer, positions(split), default=asked.default_length)
    )
    same = own is not None and own.length == longest
    overlap = asked.window_overlap
    if own and same and overlap is None:
        overlap = own.overlap
    if windows:
        decide_overlap(tokenizer, longest, overlap, pair=False)
    return InputLength(tokenizer, longest, overlap if windows else None, windows)
