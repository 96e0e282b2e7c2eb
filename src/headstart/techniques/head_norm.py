"""The head begins the stage with another norm, and the same predictions."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.models.rescale import head_end
from headstart.plugins.cards import Card
from headstart.plugins.ranges import NOT_NEGATIVE, Range
from headstart.techniques._base import Technique, TechniqueContext


@torch.no_grad()
def rescale(linear: nn.Linear, norm: float) -> None:
    """Multiply a linear map, bias and all, such that its weight has a Frobenius norm; 0 stays 0."""
    now = linear.weight.norm().item()
    factor = norm / now if now else 1.0
    linear.weight.mul_(factor)
    if linear.bias is not None:
        linear.bias.mul_(factor)


@dataclass
class HeadNorm(Technique):
    """The head's last linear map is multiplied by a number at the beginning of the stage.

    A head that trains alone grows under cross-entropy, and a large head changes features less and
    is too sure of itself (Tomihari and Sato 2024, arXiv 2405.16747).

    Args:
        to: Frobenius norm that its weight gets; 0 takes that of a fresh random head.
    """

    ranges: ClassVar[Mapping[str, Range]] = {"to": NOT_NEGATIVE}
    targets: ClassVar[tuple[str, ...]] = ("classes", "tags")
    to: float = 0.0

    def check(self, split: SplitModel) -> None:
        """Refuse another kind of head."""
        _end(split)

    def begin(self, context: TechniqueContext) -> None:
        """Multiply it."""
        linear = _end(context.split)
        rescale(linear, self.to or _fresh_norm(context, linear))


def _end(split: SplitModel) -> nn.Linear:
    linear = head_end(split)
    if linear is None:
        raise ModelError(
            "a head that ends in a linear map, for head_norm",
            type(split.model).__name__,
            "Use --head-type linear, or drop head_norm.",
        )
    return linear


def _fresh_norm(context: TechniqueContext, linear: nn.Linear) -> float:
    """Return the norm that the model class would give to the map."""
    model: Any = context.split.model
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(context.generator("head_norm", 0).initial_seed())
        fresh = copy.deepcopy(linear)
        for parameter in fresh.parameters():
            vars(parameter).pop("_is_hf_initialized", None)
        vars(fresh).pop("_is_hf_initialized", None)
        if hasattr(model, "_init_weights"):
            model._init_weights(fresh)
        else:
            nn.init.normal_(fresh.weight, std=model.head.spec.init_std)
    return float(fresh.weight.norm().item())


TECHNIQUE = HeadNorm
CARD = Card(
    idea="The head's last linear map is multiplied by one number when the stage begins. No "
    "prediction changes, but how sure the head is, and with it how strongly its gradients move "
    "the features. A head that has grown in stage 1 can so be handed on at the size of a fresh "
    "one.",
    equation="W <- c W, b <- c b    c = to / ||W||, or ||W_fresh|| / ||W|| for to = 0",
    helps="Behind a long stage 1: a large head saturates the softmax, and features then change "
    "little.",
    harms="Where the first steps of the stage are all there is: a smaller head has to grow again.",
    citation="Tomihari, Sato: Understanding Linear Probing then Fine-tuning Language Models from "
    "NTK Perspective (NeurIPS 2024), arXiv 2405.16747.",
    sources={
        "to": "ours: 0 stands for the norm that the model class's random initialisation gives",
    },
    deviations="The paper explains what the norm does, and scales temperatures after training; to "
    "set it before fine-tuning is ours.",
)
