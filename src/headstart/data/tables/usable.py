"""The rows of a table that a task can read: columns by their names, and rows with gaps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.data._faults import NOTES, note
from headstart.data.tables.classnames import CATEGORIES, ITEM_NAMES, NAMES
from headstart.errors import DataError
from headstart.tasks.spec import TaskSpec

EmptyText = Literal["error", "drop", "keep"]
MissingLabel = Literal["error", "drop"]


@dataclass(frozen=True)
class Gaps:
    """Policy for rows without text or label; by default they are an error.

    Args:
        empty_text: About those without text in a column: ``drop`` leaves them out, ``keep`` reads
            them as empty.
        missing_label: About those without a label: ``drop`` leaves them out.
    """

    empty_text: EmptyText = "error"
    missing_label: MissingLabel = "error"


@dataclass
class Counts:
    """Numbers of rows: looked at, left out for a gap, or kept with an empty text."""

    rows: int = 0
    dropped_text: int = 0
    kept_text: int = 0
    dropped_label: int = 0

    def add(self, other: Counts) -> None:
        """Add those of further rows."""
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    @property
    def dropped(self) -> int:
        """Rows that were left out."""
        return self.dropped_text + self.dropped_label

    def told(self, where: str) -> list[str]:
        """Return sentences about the rows with gaps; none where there were no such rows."""
        rows = f"of {self.rows:,} {where.removeprefix('the ')}"
        found = (
            (self.dropped_text, "Left out", "have no text (--empty-text drop)"),
            (self.kept_text, "Read as empty", "have no text (--empty-text keep)"),
            (self.dropped_label, "Left out", "have no label (--missing-label drop)"),
        )
        return [f"{what}: {n:,} {rows}, which {why}." for n, what, why in found if n]

    def record(self) -> dict[str, int]:
        """Return those that are not 0, for a run's record."""
        return {k: n for k, n in dataclasses.asdict(self).items() if n and k != "rows"}


@dataclass(frozen=True)
class Usable:
    """Rows without those left out; ``kept`` is where they stood among all rows, (n,), 0-based."""

    frame: pd.DataFrame
    kept: npt.NDArray[np.int64]
    counts: Counts


def fit_columns(frame: pd.DataFrame, task: TaskSpec, *, need_labels: bool = True) -> pd.DataFrame:
    """Name columns as a task does where they differ in case or in space around the name.

    It is the same table where all columns are there, or several would fit; else another one, on
    which it is noted.
    """
    wanted = [*task.columns, *(task.answers if need_labels else ())]
    free = [name for name in frame.columns if name not in wanted]
    found: dict[str, str] = {}
    for name in (name for name in wanted if name not in frame.columns):
        near = [other for other in free if _folded(other) == _folded(name)]
        if len(near) == 1:
            found[near[0]] = name
    if not found:
        return frame
    named = frame.rename(columns=found)
    for key in (NAMES, ITEM_NAMES, CATEGORIES):
        there = frame.attrs.get(key, {})
        named.attrs[key] = {found.get(name, name): names for name, names in there.items()}
    for other, name in found.items():
        note(named, f"Column {other!r} was read as {name!r}.")
    return named


def usable_rows(
    frame: pd.DataFrame,
    gaps: Gaps,
    *,
    where: str,
    empty: Callable[[pd.DataFrame], npt.NDArray[np.bool_]],
    unlabelled: Callable[[pd.DataFrame], npt.NDArray[np.bool_]] | None = None,
) -> Usable:
    """Leave out the rows with gaps, as far as that is wished.

    ``empty`` tells which rows have no input, ``unlabelled`` which have no label, if labels are
    looked at. Raises ``DataError`` if none is.
    """
    without, missing = np.zeros((2, len(frame)), np.bool_)
    if gaps.empty_text != "error":
        without = empty(frame)
    if unlabelled and gaps.missing_label == "drop":
        missing = unlabelled(frame)
    counts = Counts(len(frame))
    if gaps.empty_text == "drop":
        counts.dropped_text, missing = int(without.sum()), missing & ~without
        counts.dropped_label = int(missing.sum())
        left = ~(without | missing)
    else:
        counts.kept_text, counts.dropped_label = int((without & ~missing).sum()), int(missing.sum())
        left = ~missing
    if len(frame) and not left.any():
        found = f"{counts.dropped_text} without text, {counts.dropped_label} without a label"
        raise DataError(f"rows with text and label in {where}", found, "Check the columns.")
    kept = np.flatnonzero(left)
    if len(kept) < len(frame):
        notes = frame.attrs.get(NOTES)
        frame = frame.iloc[kept].reset_index(drop=True)
        frame.attrs |= {NOTES: notes} if notes else {}
    return Usable(frame, kept, counts)


def is_empty(value: Any) -> bool:
    """Return whether a cell has no text: it is missing, or holds space alone."""
    if isinstance(value, str):
        return not value or value.isspace()
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def _folded(name: object) -> str:
    return str(name).strip("\ufeff \t\r\n\xa0").casefold()
