"""Dropout whose mask is drawn in bulk."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch.autograd.function import once_differentiable

from headstart.kernels.masks import Randomness, integers_like, rounded_rate


def dropout(x: torch.Tensor, rate: float, random: Randomness) -> torch.Tensor:
    """Set elements to zero at random and scale up the others (Srivastava et al. 2014).

    Args:
        x: fp32, bf16 or fp16 on the CPU.
        rate: Probability of zero, in [0, 1); rounded as ``masks`` says.
        random: Where the mask comes from.

    Returns:
        A new tensor, kept elements divided by the share that is kept.
    """
    dropped, scale = rounded_rate(rate)
    mask = random.keep_mask(x.shape, dropped)
    return cast(torch.Tensor, cast(Any, _Dropout).apply(x, mask, scale))


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, mask: torch.Tensor, scale: float) -> torch.Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return _masked(x, mask, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        return _masked(grad, mask, ctx.scale), None, None


def _masked(x: torch.Tensor, mask: torch.Tensor, scale: float) -> torch.Tensor:
    kind = integers_like(x)
    return (x.view(kind) & mask.to(kind)).view(x.dtype).mul_(scale)
