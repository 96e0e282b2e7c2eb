"""The rows of an embedding table that a stage meets, trained as a small table of their own.

A few thousand texts hold a fraction of the vocabulary, and a row of it that no text holds gets no
gradient: its moments stay zero, and weight decay alone moves it. A whole table would still be
clipped and updated with every step, which for a small model costs more than anything but the
products, and for a multilingual one more than these. So the rows that are met train apart, and
decay, a factor common to all others, is made up for when the table is looked at: exact but for the
rounding of a product of the steps' factors.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class UsedRows:
    """Part of an embedding table that trains in place of the whole.

    ``rows`` are numbers of rows of ``weight`` that will be looked up, ascending, (n,).
    """

    def __init__(self, weight: nn.Parameter, rows: torch.Tensor) -> None:
        self.weight, self.rows = weight, rows
        self.table = nn.Parameter(weight.detach()[rows])
        self._place = torch.full((len(weight),), -1)
        self._place[rows] = torch.arange(len(rows))

    def look_up(self, ids: torch.Tensor, padding_idx: int | None) -> torch.Tensor:
        """Look rows of the whole table up, (*ids, width), such that the part's gradient is sparse.

        ``padding_idx`` is a row that gets no gradient. Raises ``IndexError`` if a row is not among
        the known ones.
        """
        padding = None if padding_idx is None else int(self._place[padding_idx])
        padding = None if padding == -1 else padding
        return functional.embedding(self._place[ids], self.table, padding, sparse=True)

    @torch.no_grad()
    def write(self, factor: float = 1.0) -> None:
        """Bring the whole table up to date; ``factor`` is what decay has made of the other rows."""
        if factor != 1.0:
            self.weight.mul_(factor)
        self.weight.index_copy_(0, self.rows, self.table)

    @torch.no_grad()
    def read(self) -> None:
        """Take the part from the whole table anew, which has been changed from outside."""
        self.table.copy_(self.weight[self.rows])
