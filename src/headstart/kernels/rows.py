"""Gradients of embedding tables: a step touches a few hundred rows of tens of thousands.

Torch makes a new table of zeros for each step's gradient. Here the gradient comes as the rows that
were looked up, which are added into one table that stays; after the update only they are cleared.
Whoever reads ``parameter.grad`` between backward and update sees the same dense gradient.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

LEAST_ROWS = 1000
"""Smaller tables are not worth it."""


def sparse_embedding(
    input: torch.Tensor,
    weight: torch.Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,  # noqa: ARG001
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> torch.Tensor | None:
    """Look rows up such that the gradient is sparse; ``None`` where torch should do it.

    The arguments are those of ``torch.nn.functional.embedding``; ``max_norm``,
    ``scale_grad_by_freq`` and ``sparse`` are not covered.
    """
    large = isinstance(weight, nn.Parameter) and weight.requires_grad and len(weight) >= LEAST_ROWS
    plain = max_norm is None and not scale_grad_by_freq and not sparse
    if not large or not plain or weight.device.type != "cpu":
        return None
    return functional.embedding(input, weight, padding_idx, sparse=True)


class RowGradients:
    """Keeps one dense gradient for each embedding table of a stage."""

    def __init__(self) -> None:
        self._tables: dict[nn.Parameter, tuple[torch.Tensor, torch.Tensor]] = {}

    @torch.no_grad()
    def make_dense(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace sparse gradients by equal dense ones."""
        for parameter in parameters:
            grad: Any = parameter.grad
            if grad is None or grad.layout != torch.sparse_coo:
                continue
            rows, place = torch.unique(grad._indices()[0], return_inverse=True)
            summed = torch.zeros(len(rows), parameter.shape[1]).index_add_(0, place, grad._values())
            table = self._tables.get(parameter)
            dense = torch.zeros_like(parameter) if table is None else table[0]
            parameter.grad = dense.index_copy_(0, rows, summed)
            self._tables[parameter] = (dense, rows)

    def clear(self) -> None:
        """Set the rows of the last step to zero again, after the update."""
        for dense, rows in self._tables.values():
            dense.index_fill_(0, rows, 0.0)
