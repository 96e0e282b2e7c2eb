"""The order of rows: length-bucketed batches that depend on the seed and the epoch alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BatchOrder:
    """The rows of each optimizer step; any step can be asked for, so a run can resume.

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
        """Return one epoch's batches, row indices by step; together they are every row once."""
        rng = np.random.default_rng((self.seed, number))
        blurred = self.lengths * np.exp(rng.uniform(-self.blur, self.blur, len(self.lengths)))
        order = np.argsort(blurred, kind="stable")
        batches = np.split(order, range(self.batch_size, len(order), self.batch_size))
        return [batches[i] for i in rng.permutation(len(batches))]


def round_width(longest: int) -> int:
    """Return the tokens to which a batch is padded, one of fewer widths.

    A processor compiles each product anew for each shape and keeps it: about half a megabyte and a
    millisecond, thirty times a step. A GPU multiplies whole multiples of 8 faster. This costs about
    1.5 % more tokens and meets at most 72 widths up to 256. Up to 16 the same; the next multiple of
    2 up to 64, of 4 up to 128, of 8 above.
    """
    step = next((step for bound, step in ((16, 1), (64, 2), (128, 4)) if longest <= bound), 8)
    return -(-longest // step) * step


def budget_batches(
    lengths: Indices, tokens: int, rows: int, apart: Indices | None = None
) -> list[Indices]:
    """Cut all rows into batches for inference, longest first.

    ``lengths`` are tokens of each row, (n,); ``tokens``, padding included, and ``rows`` are the
    most of a batch. Numbers in ``apart``, (n,), must be equal in it. A row that is longer than the
    budget stands alone.
    """
    order = np.argsort(-lengths, kind="stable")
    if apart is not None:
        order = np.lexsort((apart, -lengths))
    batches, start = [], 0
    while start < len(order):
        size = int(max(1, min(rows, tokens // max(1, int(lengths[order[start]])))))
        batch = order[start : start + size]
        if apart is not None:
            batch = batch[apart[batch] == apart[batch[0]]]  # they stand together
        batches.append(batch)
        start += len(batch)
    return batches
