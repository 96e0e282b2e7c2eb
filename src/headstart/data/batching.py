"""The order of rows: length-bucketed batches that depend on the seed and the epoch alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BatchOrder:
    """Which rows each optimizer step sees; any step can be asked for, so a run can resume.

    Rows are shuffled, cut into pools of some batches, sorted by length within a pool, and the
    batches of all pools are shuffled again: little padding, and still another mixture each epoch.

    Args:
        lengths: Tokens of each row, (n,).
        batch_size: Rows per optimizer step; an epoch's last batch may be smaller.
        seed: Seed of the data-order stream.
        pool: Batches per pool; by default an epoch has at least four pools.
    """

    lengths: Indices
    batch_size: int
    seed: int
    pool: int | None = None

    @property
    def per_epoch(self) -> int:
        """Optimizer steps in one pass over the rows."""
        return math.ceil(len(self.lengths) / self.batch_size)

    def epoch(self, number: int) -> list[Indices]:
        """Return one epoch's batches.

        Args:
            number: Epoch, counted from 0.

        Returns:
            Row indices by step; together they are every row once.
        """
        rng = np.random.default_rng((self.seed, number))
        rows = len(self.lengths)
        order = rng.permutation(rows)
        pool = self.pool or min(max(1, rows // (self.batch_size * 4)), 50)
        size = pool * self.batch_size
        batches = []
        for start in range(0, rows, size):
            chunk = order[start : start + size]
            chunk = chunk[np.argsort(self.lengths[chunk], kind="stable")]
            batches += [
                chunk[i : i + self.batch_size] for i in range(0, len(chunk), self.batch_size)
            ]
        return [batches[i] for i in rng.permutation(len(batches))]


def budget_batches(lengths: Indices, tokens: int, rows: int) -> list[Indices]:
    """Cut all rows into batches for inference, longest first.

    Args:
        lengths: Tokens of each row, (n,).
        tokens: Largest number of tokens in a batch, padding included.
        rows: Largest number of rows in a batch.

    Returns:
        Row indices by batch; a row that is longer than the budget stands alone.
    """
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = int(max(1, min(rows, tokens // max(1, int(lengths[order[start]])))))
        batches.append(order[start : start + size])
        start += size
    return batches
