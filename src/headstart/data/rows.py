"""Rows as they were read and checked: what a model is asked, and the answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.data._faults import no_column
from headstart.data.labels import Labels
from headstart.errors import (
    HeadstartError,
)
from headstart.tasks.spec import TaskSpec

TextPair = tuple[str, str | None]
Target = tuple[int, int, int]
"""Which text (0 or 1) of the pair, first character, one past the last."""


@dataclass(frozen=True)
class Rows:
    """Inputs and labels of some rows, read and checked.

    Args:
        inputs: For each row what its kind of input reads: of texts one (first, second) pair per
            choice, a single pair where the task has no choices, its second ``None`` where there is
            one text only. Its ``repr`` tells equal rows from others.
        labels: In the form of their kind of target, (n,) or (n, labels); ``None`` if not asked for.
        spans: For each row its targets, in the task's order; only where the model is given
            their vectors.
        choices: Pairs per row.
    """

    inputs: list[Any]
    labels: Labels | None = None
    spans: list[tuple[Target, ...]] | None = None
    choices: int = 1

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, indices: npt.NDArray[np.int64]) -> Rows:
        """Return some of the rows, in the order asked for."""
        return Rows(
            [self.inputs[i] for i in indices],
            None if self.labels is None else self.labels[indices],
            None if self.spans is None else [self.spans[i] for i in indices],
            self.choices,
        )

    def parts(self, size: int) -> Iterator[Rows]:
        """Yield the rows in order, so many at a time."""
        for start in range(0, len(self), size):
            yield self.take(np.arange(start, min(start + size, len(self))))


def column_faults(
    frame: pd.DataFrame, task: TaskSpec, *, where: str, need_labels: bool = True
) -> list[HeadstartError]:
    """Return an error for each column of a task that a table lacks; it suggests near names."""
    roles = {
        **dict.fromkeys(task.columns, "span"),
        **dict.fromkeys(task.choices, "choice"),
        **dict.fromkeys(task.text, "text"),
        **{name: role for role in ("image", "audio") if (name := getattr(task, role))},
        **dict.fromkeys(task.answers if need_labels else (), "label"),
    }
    return [
        no_column(role, name, frame.columns, where)
        for name, role in roles.items()
        if name not in frame.columns
    ]
