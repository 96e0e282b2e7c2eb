"""Masks over parameters: drawn in bulk, and put on a gradient bit by bit."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from headstart.kernels.masks import Randomness, integers_like, rounded_rate


def keep_masks(
    parameters: Mapping[str, nn.Parameter], rate: float, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Draw which numbers of some parameters are kept.

    The share ``rate``, in (0, 1) and rounded as ``kernels.masks`` says, is not. Masks are int16 on
    the parameters' devices: all bits set where a number is kept, none elsewhere.
    """
    random, dropped = Randomness(generator.initial_seed()), max(1, rounded_rate(rate)[0])
    return {n: random.keep_mask(p.shape, dropped).to(p.device) for n, p in parameters.items()}


def keep_part(gradient: torch.Tensor, keep: torch.Tensor, scale: float = 1.0) -> None:
    """Set a part of a gradient, of a 16-bit or 32-bit type, to zero and scale the rest, in place.

    ``keep`` are integers of its shape: all bits set where it is kept, none elsewhere.
    """
    kind = integers_like(gradient)
    gradient.view(kind).bitwise_and_(keep.to(kind))
    if scale != 1:
        gradient.mul_(scale)
