"""Words that the messages about rows and columns share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.errors import DataError, did_you_mean
from headstart.untrusted import LONGEST, one_line, shortened, shown

SHOWN = 5
NOTES = "notes"
_numbers: ContextVar[Callable[[int], int]] = ContextVar("_numbers", default=lambda place: place)


@contextlib.contextmanager
def counting_from(rows: int) -> Iterator[None]:
    """Count rows in messages as in the whole file while a part of it is looked at."""
    with _numbered(lambda place: place + rows):
        yield


@contextlib.contextmanager
def counting_all(kept: npt.NDArray[np.int64]) -> Iterator[None]:
    """Count rows in messages as if those that were left out were still there."""
    outer = _numbers.get()
    with _numbered(lambda place: outer(int(kept[place]))):
        yield


@contextlib.contextmanager
def _numbered(number: Callable[[int], int]) -> Iterator[None]:
    token = _numbers.set(number)
    try:
        yield
    finally:
        _numbers.reset(token)


def note(frame: pd.DataFrame, told: str) -> None:
    """Note on a table what its reader should know about how it was read."""
    frame.attrs[NOTES] = [*notes(frame), told]


def notes(frame: pd.DataFrame) -> list[str]:
    """Return what was noted on a table."""
    return list(frame.attrs.get(NOTES, ()))


def row_numbers(which: npt.NDArray[np.bool_] | Sequence[int]) -> str:
    """Write row numbers as users count them: the first row of data is 1.

    For example ``3 rows (2, 5, 9)`` or ``90 rows (1, 2, 3, 4, 5, …)``.
    """
    found = np.asarray(which)
    places = np.flatnonzero(found) if found.dtype == np.bool_ else found
    shown = ", ".join(str(_numbers.get()(int(place)) + 1) for place in places[:SHOWN])
    more = ", …" if len(places) > SHOWN else ""
    return f"{len(places)} row{'s' if len(places) != 1 else ''} ({shown}{more})"


def some(items: Iterable[str]) -> str:
    """List the first few items and say how many more there are.

    For example ``'a', 'b' and 7 more``.
    """
    every = list(items)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(one_line(shortened(item, 2 * LONGEST)) for item in every[:SHOWN]) + more


def no_column(role: str, name: str, columns: Iterable[object], where: str) -> DataError:
    """Make the error for a column that is not there; it suggests near names.

    ``role`` is what the column is for, such as ``text``; ``where`` says which rows.
    """
    known = [str(column) for column in columns]
    article = "an" if role[:1] in "aeiou" else "a"
    expected = f"{article} {role} column {name!r} in {where}"
    return DataError(expected, f"columns {', '.join(map(shown, known))}", did_you_mean(name, known))
