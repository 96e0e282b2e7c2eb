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

    Each epoch sorts the rows by a length that is blurred at random, cuts them into batches and
    shuffles the batches: little padding even when rows are few, and another mixture every time.

    Args:
        lengths: Tokens of each row, (n,).
        batch_size: Rows per optimizer step; an epoch's last batch may be smaller.
        seed: Seed of the data-order stream.
        blur: Largest relative error put on a length before sorting. For batches of 32 of 1,600
            review sentences 0.03 pads 4 %, and a third of a row's companions return in the next
            epoch; 0.15 pads 16 % for 14 %, exact sorting 3 % with always the same companions.
    """

    lengths: Indices
    batch_size: int
    seed: int
    blur: float = 0.03

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
        blurred = self.lengths * np.exp(rng.uniform(-self.blur, self.blur, len(self.lengths)))
        order = np.argsort(blurred, kind="stable")
        batches = np.split(order, range(self.batch_size, len(order), self.batch_size))
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
