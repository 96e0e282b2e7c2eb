"""Choosing rows at random: a validation share, or a sample."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headstart.errors import ConfigError, DataError

Indices = npt.NDArray[np.int64]


def carve(strata: Indices, share: float, seed: int) -> tuple[Indices, Indices]:
    """Part rows in two: indices of training and of validation rows, each in rising order.

    Both parts keep the shares of the groups in ``strata``, (n,): one with two rows or more is in
    both where the size allows, and one with a single row in training. ``share`` of the rows becomes
    the validation split. Raises ``ConfigError`` if ``share`` is not between 0 and 1, and
    ``DataError`` if there are too few rows.
    """
    rows = len(strata)
    if not 0 < share < 1:
        raise ConfigError(
            "a validation share between 0 and 1", f"{share:g}", "0.1 keeps a tenth of the rows."
        )
    counts = np.unique(strata, return_counts=True)[1]
    size = max(1, round(rows * share))
    if counts.max(initial=0) < 2 or size >= rows:
        found = f"{rows} rows" + (f" of {len(counts)} classes" if len(counts) > 1 else "")
        fix = "Give a validation file, or more rows."
        raise DataError(f"enough rows of a class to set {share:.0%} of them apart", found, fix)
    # What training must keep of each class bounds what validation may take.
    held_out = _draw(strata, size, np.minimum(counts - 1, 1), counts - 1, seed)
    return np.setdiff1d(np.arange(rows), held_out), held_out


def sample(strata: Indices, n: int, seed: int) -> Indices:
    """Choose ``n`` rows by a seed; their indices in rising order.

    They keep the shares of the groups in ``strata``, (rows,); each is among them where ``n``
    allows. Raises ``ConfigError`` if there are not as many rows.
    """
    if not 1 <= n <= len(strata):
        fix = "Ask for fewer rows, or leave the number out to take them all."
        raise ConfigError(f"a number of rows from 1 to {len(strata)}", str(n), fix)
    counts = np.unique(strata, return_counts=True)[1]
    return _draw(strata, n, np.ones_like(counts), counts, seed)


def _draw(strata: Indices, n: int, low: Indices, high: Indices, seed: int) -> Indices:
    """Draw ``n`` rows at random, of each group between ``low`` and ``high``."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(strata))
    classes = np.unique(strata[order], return_inverse=True)[1]
    wanted = _allot(np.bincount(classes), n, low, high)
    chosen = [order[classes == c][:count] for c, count in enumerate(wanted)]
    return np.sort(np.concatenate(chosen))


def _allot(counts: Indices, n: int, low: Indices, high: Indices) -> Indices:
    """Share out ``n`` rows among classes in proportion, by largest remainder within bounds."""
    if low.sum() > n:
        low = np.zeros_like(low)
    exact = counts * (n / counts.sum())
    given: Indices = np.clip(np.floor(exact).astype(np.int64), low, high)
    while (rest := min(n, int(high.sum())) - int(given.sum())) != 0:
        step = 1 if rest > 0 else -1
        free = given < high if rest > 0 else given > low
        # Of the classes that can still move, the one that is furthest from its exact share.
        given[np.argmax(np.where(free, step * (exact - given), -np.inf))] += step
    return given
