"""Words that the messages about rows and columns share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar

import numpy as np
import numpy.typing as npt

from headstart.errors import DataError, did_you_mean
from headstart.untrusted import LONGEST, one_line, shortened, shown

SHOWN = 5
_before: ContextVar[int] = ContextVar("_before", default=0)


@contextlib.contextmanager
def counting_from(rows: int) -> Iterator[None]:
    """Count rows in messages as in the whole file while a part of it is looked at.

    Args:
        rows: Rows before the part.

    Yields:
        Nothing.
    """
    token = _before.set(rows)
    try:
        yield
    finally:
        _before.reset(token)


def row_numbers(which: npt.NDArray[np.bool_] | Sequence[int]) -> str:
    """Say which rows, as a user counts them: the first row of data is 1.

    Args:
        which: A mask over the rows, or their 0-based indices.

    Returns:
        For example ``3 rows (2, 5, 9)`` or ``90 rows (1, 2, 3, 4, 5, …)``.
    """
    found = np.asarray(which)
    places = np.flatnonzero(found) if found.dtype == np.bool_ else found
    shown = ", ".join(str(int(place) + 1 + _before.get()) for place in places[:SHOWN])
    more = ", …" if len(places) > SHOWN else ""
    return f"{len(places)} row{'s' if len(places) != 1 else ''} ({shown}{more})"


def some(items: Iterable[str]) -> str:
    """List the first few items and say how many more there are.

    Args:
        items: Already quoted, if they need be.

    Returns:
        For example ``'a', 'b' and 7 more``.
    """
    every = list(items)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(one_line(shortened(item, 2 * LONGEST)) for item in every[:SHOWN]) + more


def no_column(role: str, name: str, columns: Iterable[object], where: str) -> DataError:
    """Make the error for a column that is not there.

    Args:
        role: What the column is for: ``text``, ``label`` …
        name: The name that was looked for.
        columns: The names that exist.
        where: Which rows.

    Returns:
        The error; it suggests near names.
    """
    known = [str(column) for column in columns]
    expected = f"a {role} column {name!r} in {where}"
    return DataError(expected, f"columns {', '.join(map(shown, known))}", did_you_mean(name, known))
