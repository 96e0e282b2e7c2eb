"""Weights and biases of the norms inside the encoder layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.plugins.cards import Card
from headstart.tuners._base import InPlaceTuner


@dataclass
class Layernorm(InPlaceTuner):
    """Weight and bias of every norm inside the encoder layers train, and nothing else.

    Qi et al. 2022, arXiv 2211.08682. A norm without a bias (RMSNorm, ModernBERT) has its weight
    alone.
    """

    where: ClassVar[str] = "every norm inside the encoder layers"
    formula: ClassVar[str] = (
        "numbers in the norms' weights and biases: 4 · hidden size for each layer of BERT's kind"
    )
    serves: ClassVar[frozenset[str]] = frozenset({"text", "image", "audio"})
    lr: ClassVar[float] = 1e-2
    head_lr: ClassVar[float] = 1e-3
    installs: ClassVar[bool] = False

    def select(self, split: SplitModel) -> dict[str, nn.Parameter]:
        """Choose the norms' parameters.

        Raises ``ModelError`` if no norm inside the layers has parameters.
        """
        norms = {
            id(p)
            for _, layer in split.layers()
            for module in layer.modules()
            if is_norm(module)
            for p in module.parameters(recurse=False)
        }
        chosen = {name: p for name, p in split.backbone.items() if id(p) in norms}
        if not chosen:
            raise ModelError(
                "encoder layers with norms that have weights",
                f"{type(split.base).__name__}, whose layers have none",
                "Use another tuner, such as 'bitfit' or 'lora'.",
            )
        return chosen


def is_norm(module: nn.Module) -> bool:
    """Return whether a module is a norm over features.

    It is torch's layer or RMS norm, or a model's own (``LlamaRMSNorm``).
    """
    own = type(module).__name__.endswith(("LayerNorm", "RMSNorm"))
    return own or isinstance(module, nn.LayerNorm | nn.RMSNorm)


TUNER = Layernorm
CARD = Card(
    idea="Weight and bias of every norm inside the encoder layers train, and nothing else of the "
    "backbone. They stretch and shift each feature between the blocks. Fewer numbers move than "
    "with any other tuner.",
    equation="norm(x) = g · x̂ + b    train g and b; RMSNorm has no b",
    helps="As stage 1 in models without biases (ModernBERT), where BitFit has nothing to train. "
    "Alone: when many models share one backbone and every number counts.",
    harms="Where the task asks for new features: it only weighs those that are there.",
    citation="Qi et al.: Parameter-Efficient Tuning on Layer Normalization for Pre-trained "
    "Language Models (2022), arXiv 2211.08682.",
    deviations="Only norms inside the layers train; that of the embeddings stands still.",
)
