"""Rows that the user holds in memory already: data frames, and data sets of ``datasets``."""

from __future__ import annotations

import sys
from typing import Any

import pandas as pd

from headstart.data.sources import check_table, from_dataset
from headstart.errors import DataError


def is_table(value: Any) -> bool:
    """Return whether a value holds rows that ``as_frame`` reads.

    Args:
        value: Anything.

    Returns:
        Whether it is a data frame or something of ``datasets``.
    """
    return isinstance(value, (pd.DataFrame, *_dataset_classes()))


def as_frame(
    value: Any, *, split: str | None = None, where: str = "the table", empty: bool = False
) -> pd.DataFrame:
    """Return rows as a data frame.

    Args:
        value: A data frame, a ``Dataset``, or a ``DatasetDict``, of which one split is taken.
        split: Which one; not needed where there is one only.
        where: What messages call the value.
        empty: Whether there may be no rows.

    Returns:
        The rows in order. A data frame is not copied.

    Raises:
        DataError: If it is none of these, has no rows, or repeats a column's name.
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
        value = from_dataset(value, split, where)
    frame: pd.DataFrame = value
    if empty and not len(frame) and frame.columns.is_unique:
        return frame
    return check_table(frame, where)


def _dataset_classes() -> tuple[type, ...]:
    """Return the classes of ``datasets``, if anything has imported it: else there is no object."""
    module = sys.modules.get("datasets")
    names = ("Dataset", "DatasetDict", "IterableDataset", "IterableDatasetDict")
    return tuple(getattr(module, name) for name in names) if module else ()
