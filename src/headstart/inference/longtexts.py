"""How long the inputs of a finished model are, and what becomes of longer texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from headstart.data.encode import Encoded, encode
from headstart.data.lengths import decide_overlap, resolve_max_length
from headstart.data.rows import Rows
from headstart.data.stream import ROWS_AT_ONCE
from headstart.data.windows import Windows
from headstart.errors import ConfigError
from headstart.models.backbone import SplitModel
from headstart.models.loading import positions
from headstart.models.model_config import LONG_TEXTS
from headstart.steps.settings import require_windows
from headstart.tasks.spec import TaskSpec

LONGEST_BY_DEFAULT = 512
ROWS_IN_WINDOWS = 1024
"""Rows read in windows that are tokenised at once; each may be as long as a book."""


@dataclass(frozen=True)
class LongTexts:
    """What the user says about texts over the longest input; ``None`` is as in training.

    Args:
        use: ``cut`` or ``windows``.
        overlap: Tokens that a window shares with the one before.
    """

    use: Literal["cut", "windows"] | None = None
    overlap: int | None = None


class InputLength:
    """The longest input of a model, and how it reads longer texts.

    Args:
        split: The model.
        tokenizer: Its tokenizer.
        source: Its name, for messages.
        recorded: The longest input by the record of its run, if there is one.
        asked: What the user says.

    Raises:
        HeadstartError: If what the user or the model's configuration says does not fit.
    """

    def __init__(
        self, split: SplitModel, tokenizer: Any, source: str, recorded: int | None, asked: LongTexts
    ) -> None:
        own = None
        if asked.use is None or asked.overlap is None:
            own = Windows.read(getattr(split.model.config, LONG_TEXTS, None), source)
        self.windows = asked.use == "windows" or (asked.use is None and own is not None)
        if asked.overlap is not None and not self.windows:
            raise ConfigError(
                "--long-texts windows beside --window-overlap",
                f"{source}, which was trained on texts that were cut",
                "Add --long-texts windows, or drop --window-overlap.",
            )
        self.longest = (
            recorded
            or (own.length if own else None)
            or resolve_max_length(tokenizer, positions(split), default=LONGEST_BY_DEFAULT)
        )
        same = own is not None and own.length == self.longest
        self._overlap = own.overlap if own and same and asked.overlap is None else asked.overlap
        self._tokenizer = tokenizer
        if self.windows:
            decide_overlap(tokenizer, self.longest, self._overlap, pair=False)

    def encoded(self, rows: Rows, task: TaskSpec | None) -> Iterator[Encoded]:
        """Tokenise rows, a part at a time.

        Args:
            rows: The rows.
            task: How they were read, if that is known.

        Yields:
            Their tokens.

        Raises:
            HeadstartError: If such rows cannot be parted into windows.
        """
        overlap = None
        if self.windows and len(rows):
            if task is not None:
                require_windows(task)
            pair = rows.texts[0][0][1] is not None
            overlap = decide_overlap(self._tokenizer, self.longest, self._overlap, pair=pair)
        size = ROWS_AT_ONCE if overlap is None else ROWS_IN_WINDOWS
        for start in range(0, len(rows), size):
            part = rows.take(np.arange(start, min(start + size, len(rows))))
            yield encode(part, self._tokenizer, self.longest, overlap)
