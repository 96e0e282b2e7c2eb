"""Linear changes of a head's output, folded into its last linear map.

Numbers are trained standardised, and ``y = scale * (W x + b) + mean`` is again linear; so are
logits divided by a temperature. The saved checkpoint predicts in the user's own units, or with
calibrated probabilities, with nothing to remember beside it.
"""

from __future__ import annotations

import torch
from torch import nn

from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.model_config import is_decoder
from headstart.models.heads import EncoderClassifier


@torch.no_grad()
def rescale_output(split: SplitModel, mean: float, scale: float) -> None:
    """Make the head's output ``scale`` times what it was, plus ``mean``."""
    output = require_rescalable(split)
    output.weight.mul_(scale)
    output.bias.mul_(scale).add_(mean)


@torch.no_grad()
def divide_logits(split: SplitModel, outputs: int, temperature: float) -> None:
    """Divide all logits of a classifier by a temperature above 0; no prediction changes."""
    output = require_divisible(split, outputs)
    output.weight.div_(temperature)
    if output.bias is not None:
        output.bias.div_(temperature)


def require_rescalable(split: SplitModel) -> nn.Linear:
    """Check, before any training, that the head's output can be rescaled after it.

    Returns the linear map that the head ends in. Raises ``ModelError`` if it does not end in one
    with a bias.
    """
    end = head_end(split, 1)
    if end is None or end.bias is None:
        raise ModelError(
            "a head that ends in a linear map with one output and a bias",
            type(split.model).__name__,
            "Predict numbers with an encoder."
            if is_decoder(getattr(split.model, "config", None))
            else "Use --head-type linear, which has a bias.",
        )
    return end


def require_divisible(
    split: SplitModel, outputs: int, instead: str = "Drop --calibrate."
) -> nn.Linear:
    """Check, before any training, that a head ends in a linear map of its own.

    Returns that map. ``outputs`` are the logits for each input text, ``instead`` is what else the
    user can do than take another head. Raises ``ModelError`` if it does not end in one.
    """
    if isinstance(split.model, EncoderClassifier):
        return split.model.head.out  # with two classes perhaps a single output, 0 being the other
    end = head_end(split, outputs)
    if end is None:
        raise ModelError(
            f"a head that ends in a linear map with {outputs} output{'s' * (outputs > 1)}",
            type(split.model).__name__,
            f"Use --head-type linear. {instead}",
        )
    return end


def head_end(split: SplitModel, outputs: int | None = None) -> nn.Linear | None:
    """Find the linear map that a head ends in, of so many outputs if given; or ``None``."""
    head = {id(p) for p in split.head.values()}
    maps = [m for m in split.model.modules() if isinstance(m, nn.Linear) and id(m.weight) in head]
    ends = [m for m in maps if outputs in (None, m.out_features)]
    return ends[-1] if ends else None
