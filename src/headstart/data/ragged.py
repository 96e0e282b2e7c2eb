"""Labels of which rows have different numbers: an array for each row, together in one array."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from headstart.data.labels import Labels

Indices = npt.NDArray[np.int64]


def ragged(parts: Iterable[npt.ArrayLike]) -> Labels:
    """Put the labels of each row into one array of arrays, (n,)."""
    arrays = [np.asarray(part, np.int64) for part in parts]
    found = np.empty(len(arrays), object)
    for place, array in enumerate(arrays):
        found[place] = array
    return found


def joined(labels: Labels) -> Indices:
    """Return the labels of all rows end to end, (all labels,)."""
    return np.concatenate([np.zeros(0, np.int64), *labels])


def sizes(labels: Labels) -> Indices:
    """Return how many labels each row has, (n,)."""
    return np.array([len(own) for own in labels], np.int64)


def parted(values: npt.NDArray[np.int64], counts: Indices) -> list[npt.NDArray[np.int64]]:
    """Part what lies end to end, (sum of counts,), into the rows."""
    return np.split(values, np.cumsum(counts)[:-1]) if len(counts) else []


def places(begins: Indices, counts: Indices) -> Indices:
    """Return the numbers of several ranges, one range after the other, (sum of counts,)."""
    ends = np.cumsum(counts)
    within = np.arange(int(ends[-1]) if len(ends) else 0)
    found: Indices = np.repeat(begins - (ends - counts), counts) + within
    return found


def as_bytes(labels: Labels) -> bytes:
    """Return labels as bytes that are the same wherever and whenever they are read."""
    if labels.dtype != object:
        return np.ascontiguousarray(labels).tobytes()
    return sizes(labels).tobytes() + joined(labels).tobytes()
