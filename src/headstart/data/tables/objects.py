"""Rows that the user holds in memory already: data frames, and data sets of ``datasets``."""

from __future__ import annotations

import sys
from typing import Any

import pandas as pd

from headstart.data.tables.sources import check_table, from_dataset, no_splits, with_text_names
from headstart.errors import DataError


def is_table(value: Any) -> bool:
    """Return whether a value holds rows that ``as_frame`` reads."""
    return isinstance(value, (pd.DataFrame, *_dataset_classes()))


def as_frame(
    value: Any,
    *,
    split: str | None = None,
    or_all: bool = False,
    where: str = "the table",
    empty: bool = False,
) -> pd.DataFrame:
    """Return rows as a data frame.

    Args:
        value: A data frame, a ``Dataset``, or a ``DatasetDict``, of which one split is taken.
            Column names that are no text become text: 0 becomes ``"0"``.
        split: Which one; not needed where there is one only.
        or_all: Whether what has no splits gives all its rows whatever ``split`` says.
        where: What messages call the value.
        empty: Whether there may be no rows.

    Returns:
        The rows in order. A data frame is not copied.

    Raises:
        DataError: If it is none of these, has no rows, repeats a column's name, or has no such
            split.
    """
    if not is_table(value):
        raise DataError(
            f"a data frame or a Dataset as {where}",
            type(value).__name__,
            "Make one of it, for example by pandas.DataFrame(…), or give a file.",
        )
    if not isinstance(value, pd.DataFrame):
        if not hasattr(value, "num_rows"):
            raise DataError(
                f"a Dataset whose rows are all there as {where}",
                f"{type(value).__name__}, which streams them",
                "Load it without streaming=True.",
            )
        value = from_dataset(value, split, where, or_all=or_all)
    elif split and not or_all:
        raise no_splits(where, split)
    frame = with_text_names(value)
    if empty and not len(frame) and frame.columns.is_unique:
        return frame
    return check_table(frame, where)


def _dataset_classes() -> tuple[type, ...]:
    """Return the classes of ``datasets``, if anything has imported it: else there is no object."""
    module = sys.modules.get("datasets")
    names = ("Dataset", "DatasetDict", "IterableDataset", "IterableDatasetDict")
    return tuple(getattr(module, name) for name in names) if module else ()
