"""A linear map with or without a low-rank change, forward and backward.

y = x (W + U D)' + b, where D (down) and U (up) are those of LoRA (Hu et al. 2021, equation 3), the
scale in U. The sum W + U D is made in fp32 and rounded once, as the weight itself is in full
fine-tuning. D and U stand beside it in one tensor,

    [ W + U D   U ]
    [    D      0 ]

so that a product gives what their gradients need together with its own result: x D' with y, and
dy U with dx. Each further product would have to be compiled for each number of tokens, which takes
half a megabyte and a millisecond. What nobody asks a gradient of is neither stored nor computed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

Gradients = tuple[torch.Tensor | None, ...]
PIECE = 512
"""Tokens over which one product sums for D and U, so that few numbers of them are met."""


class Linear(NamedTuple):
    """Copies of a map's tensors in the type of products.

    Attributes:
        weight: (out + rank, in + rank) as above; (out, in) without a change.
        bias: (out + rank,), 0 in the end.
        rank: That of the change; 0 without one.
        narrows: Whether D is among the rows.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    rank: int = 0
    narrows: bool = True

    def split(self, outs: int) -> tuple[Linear, Linear]:
        """Return the map to the first ``outs`` numbers that this one gives, and that to the others.

        Both are views of this map; only the second one's ``apply`` gives x D'.
        """
        first = Linear(self.weight[:outs], self.bias[:outs], self.rank, narrows=False)
        return first, Linear(self.weight[outs:], self.bias[outs:], self.rank)

    def apply(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Compute the map of x, (T, in): y, (T, out), and x D', (T, rank), or ``None``.

        The backward pass needs x D'.
        """
        y = torch.addmm(self.bias, x, self.weight[:, : x.shape[1]].t())
        if not self.rank or not self.narrows:
            return y, None
        y, narrow = y.tensor_split((-self.rank,), 1)
        return y, narrow.clone()  # a view would keep y

    def backward(
        self,
        grad: torch.Tensor,
        x: torch.Tensor | None,
        narrow: torch.Tensor | None,
        asked: tuple[bool, bool, bool],
    ) -> Gradients:
        """Compute gradients.

        Args:
            grad: Of y, (T, out).
            x: As given to ``apply``, where ``asked`` of D.
            narrow: x D', where ``asked`` of U.
            asked: Whether those of x, D and U are wanted.

        Returns:
            The gradients of x, D and U, the last two in fp32 and ``None`` without a change.
        """
        rows, width = self.weight[: grad.shape[1]], self.weight.shape[1] - self.rank
        if not self.rank:
            return grad @ rows if asked[0] else None, None, None
        dx = d_down = d_up = None
        if asked[1] and x is not None:
            both = grad @ (rows if asked[0] else rows[:, width:])
            *first, d_narrow = both.tensor_split((-self.rank,), 1)
            dx, d_down = first[0] if asked[0] else None, _over_tokens(d_narrow, x)
        elif asked[0]:
            dx = grad @ rows[:, :width]
        if asked[2] and narrow is not None:
            d_up = _over_tokens(narrow, grad).t()
        return dx, d_down, d_up


def _over_tokens(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return a' b in fp32, (m, n), of (T, m) and (T, n), the narrower one first."""
    pieces = zip(torch.split(a, PIECE), torch.split(b, PIECE), strict=True)
    total, *others = (x.t() @ y for x, y in pieces)
    total = total.float()
    for more in others:
        total.add_(more)
    return total


def of_weight(
    grad: torch.Tensor, x: torch.Tensor | None, asked: tuple[bool, bool]
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Compute the gradients of weight and bias in fp32.

    Args:
        grad: Of y, (T, out).
        x: (T, in), where ``asked`` of the weight.
        asked: Whether they are wanted.

    Returns:
        (out, in) and (out,). They are rounded to the type of ``grad`` once, as under autocast; sums
        are fp32, but asking torch for an fp32 result takes it up to ten times as long.
    """
    weight = (grad.t() @ x).float() if asked[0] and x is not None else None
    return weight, grad.sum(0).float() if asked[1] else None
