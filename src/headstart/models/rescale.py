"""Numbers are trained standardised; afterwards the scale is folded into the last linear map.

``y = scale * (W x + b) + mean`` is again linear, so the saved checkpoint predicts in the user's own
units with nothing to remember beside it.
"""

from __future__ import annotations

import torch
from torch import nn

from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.models.model_config import is_decoder


@torch.no_grad()
def rescale_output(split: SplitModel, mean: float, scale: float) -> None:
    """Make the head's output ``scale`` times what it was, plus ``mean``.

    Args:
        split: A model with one output.
        mean: What is added.
        scale: What is multiplied by.
    """
    output = require_rescalable(split)
    output.weight.mul_(scale)
    output.bias.mul_(scale).add_(mean)


def require_rescalable(split: SplitModel) -> nn.Linear:
    """Make sure, before any training, that the head's output can be rescaled after it.

    Args:
        split: A model with one output.

    Returns:
        The linear map that the head ends in.

    Raises:
        ModelError: If it does not end in one with a bias.
    """
    head = {id(p) for p in split.head.values()}
    ends = [
        m
        for m in split.model.modules()
        if isinstance(m, nn.Linear) and m.out_features == 1 and id(m.weight) in head
    ]
    if not ends or ends[-1].bias is None:
        raise ModelError(
            "a head that ends in a linear map with one output and a bias",
            type(split.model).__name__,
            "Predict numbers with an encoder."
            if is_decoder(getattr(split.model, "config", None))
            else "Use --head-type linear, which has a bias.",
        )
    return ends[-1]
