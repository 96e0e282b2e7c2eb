"""A linear map with or without a low-rank change beside it, forward and backward.

y = x W' + b + (x D') U', where D (down) and U (up) are those of LoRA (Hu et al. 2021, equation 3),
the scale in U. What nobody asks a gradient of is neither stored nor computed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

Gradients = tuple[torch.Tensor | None, ...]


class Linear(NamedTuple):
    """Copies of a map's tensors in the type of products.

    Attributes:
        weight: (out, in).
        bias: (out,).
        down: (rank, in), or ``None`` without a low-rank change.
        up: (out, rank), or ``None``.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    down: torch.Tensor | None = None
    up: torch.Tensor | None = None

    def rows(self, start: int, end: int) -> Linear:
        """Return the map to some of the numbers that this one gives.

        Args:
            start: The first of them.
            end: The one behind the last.

        Returns:
            A view of this map.
        """
        up = None if self.up is None else self.up[start:end]
        return Linear(self.weight[start:end], self.bias[start:end], self.down, up)

    def apply(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Compute the map.

        Args:
            x: (T, in).

        Returns:
            y, (T, out), and x D', (T, rank), which the backward pass needs.
        """
        y = torch.addmm(self.bias, x, self.weight.t())
        if self.down is None or self.up is None:
            return y, None
        narrow = x @ self.down.t()
        return y.addmm_(narrow, self.up.t()), narrow

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
            narrow: As from ``apply``, where ``asked`` of U.
            asked: Whether those of x, D and U are wanted.

        Returns:
            The gradients of x, D and U.
        """
        dx = grad @ self.weight if asked[0] else None
        if self.down is None or self.up is None:
            return dx, None, None
        d_narrow = grad @ self.up if asked[0] or asked[1] else None
        if dx is not None and d_narrow is not None:
            dx.addmm_(d_narrow, self.down)
        d_down = d_up = None
        if d_narrow is not None and asked[1] and x is not None:
            d_down = d_narrow.t() @ x
        if asked[2] and narrow is not None:
            d_up = grad.t() @ narrow
        return dx, d_down, d_up


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
