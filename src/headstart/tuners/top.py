"""The last k encoder layers and what comes after them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from headstart.errors import ConfigError
from headstart.models.backbone import SplitModel
from headstart.plugins.cards import Card
from headstart.plugins.ranges import ONE_OR_MORE, Range
from headstart.tuners._base import InPlaceTuner


@dataclass
class Top(InPlaceTuner):
    """The last ``k`` encoder layers, a pretrained pooler and a final norm train.

    Args:
        k: Number of layers, counted from the output.
    """

    where: ClassVar[str] = (
        "the last k encoder layers, and a pretrained pooler or final norm above them"
    )
    formula: ClassVar[str] = "k · numbers in a layer + what lies above the layers"
    serves: ClassVar[frozenset[str]] = frozenset({"text", "image", "audio"})
    lr: ClassVar[float] = 1e-4
    head_lr: ClassVar[float] = 1e-4
    installs: ClassVar[bool] = False
    rate_follows_size: ClassVar[bool] = True
    ranges: ClassVar[Mapping[str, Range]] = {"k": ONE_OR_MORE}
    k: int = 1

    def select(self, split: SplitModel) -> dict[str, nn.Parameter]:
        """Choose the parameters of the top layers.

        Raises ``ConfigError`` if the model has fewer than ``k`` layers.
        """
        layers = split.layers()
        if self.k > len(layers):
            raise ConfigError(
                f"top(k) with k from 1 to {len(layers)}, the layers of this model",
                f"k = {self.k}",
                "Choose a k in that range, or 'full' to train the embeddings too.",
            )
        chosen = tuple(lead for layer in layers[-self.k :] for lead in layer.leads())
        above = set(split.above_layers())
        return {
            name: p
            for name, p in split.backbone.items()
            if name.startswith(chosen) or name in above
        }


TUNER = Top
CARD = Card(
    idea="The last k encoder layers and what follows them train; the layers below stand still. "
    "What lies below the lowest layer that trains needs no backward pass. Upper layers hold what "
    "is specific to a task, lower ones what is common to language.",
    equation="θ_l ← θ_l - lr · AdamW(∇θ_l)    for layers l > L - k",
    helps="As a cheap form of fine-tuning, and as a first stage with more reach than biases.",
    harms="When the task needs features that the lower layers do not deliver.",
    citation="Lee et al.: What Would Elsa Do? Freezing Layers During Transformer Fine-Tuning "
    "(2019), arXiv 1911.03090.",
    sources={"k": "ours: the smallest that trains more than a head"},
    notes="The layers are the backbone's own: they are put back after `top(2) > full`, and stay "
    "after `top(2) >> full`.",
)
