"""The bias vectors of the encoder layers: BitFit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from headstart.errors import ConfigError, ModelError
from headstart.models.backbone import SplitModel
from headstart.plugins.cards import Card
from headstart.tuners._base import InPlaceTuner

_BIAS_SWITCHES = {"modernbert": ("attention_bias", "mlp_bias")}
"""Settings, by model type, that together give every linear map in a layer a bias."""


@dataclass
class Bitfit(InPlaceTuner):
    """Every bias inside the encoder layers trains, those of the norms included.

    Ben Zaken et al. 2022, arXiv 2106.10199. A model whose layers have no bias at all (ModernBERT)
    is refused, unless it may be given some.

    Args:
        add: Whether layers that have no bias at all are given biases of zero on their linear maps,
            which is not in the paper.
    """

    where: ClassVar[str] = "every bias inside the encoder layers, those of the norms included"
    formula: ClassVar[str] = (
        "numbers in the bias vectors of the encoder layers; where there are none, with add=true, "
        "one for each output of each linear map"
    )
    serves: ClassVar[frozenset[str]] = frozenset({"text", "image", "audio"})
    lr: ClassVar[float] = 3e-3
    head_lr: ClassVar[float] = 5e-4
    add: bool = False
    _added: dict[str, nn.Linear] = field(default_factory=dict, init=False, repr=False)

    def attach(self, split: SplitModel, *, reversible: bool = True) -> dict[str, nn.Parameter]:
        """Choose the biases, or add them where there are none and they may be added.

        Raises ``ConfigError`` if biases would be added that no plain checkpoint of this family can
        hold, and ``detach`` will not take them away, and ``ModelError`` if there is no bias and
        none may be added.
        """
        chosen = super().attach(split, reversible=reversible)
        if chosen:
            return chosen
        linears = self._bare_linears(split)
        if not reversible:
            _switches(split)
        for linear in linears.values():
            weight = linear.weight
            linear.bias = nn.Parameter(
                torch.zeros(linear.out_features, dtype=weight.dtype, device=weight.device)
            )
        self._added = linears
        return {f"{name}.bias": linear.bias for name, linear in linears.items()}

    def select(self, split: SplitModel) -> dict[str, nn.Parameter]:
        """Choose the biases that the encoder layers have. Empty if there are none."""
        layers = tuple(lead for layer in split.layers() for lead in layer.leads())
        return {
            name: p
            for name, p in split.backbone.items()
            if name.startswith(layers) and name.endswith("bias")
        }

    def detach(self, split: SplitModel) -> None:
        """Put the biases back to what they were, and take added ones away."""
        super().detach(split)
        for linear in self._added.values():
            linear.register_parameter("bias", None)
        self._added = {}

    def require_merge(self, split: SplitModel) -> None:
        """Refuse to keep added biases where the model's configuration cannot say them."""
        if self._added:
            _switches(split)

    def merge(self, split: SplitModel) -> None:
        """Keep the biases; added ones become part of the backbone and of its configuration.

        Raises ``ConfigError`` if no plain checkpoint of this family can hold the added biases.
        """
        if self._added:
            config: Any = split.base.config
            for switch in _switches(split):
                setattr(config, switch, True)
            split.backbone |= {f"{name}.bias": li.bias for name, li in self._added.items()}
            self._added = {}
        super().merge(split)

    def _bare_linears(self, split: SplitModel) -> dict[str, nn.Linear]:
        if not self.add:
            raise ModelError(
                "encoder layers with bias vectors for 'bitfit'",
                f"{type(split.base).__name__}, whose layers have none",
                "Write 'bitfit(add=true) > full', which gives them biases of zero to train, or use "
                "another tuner, as in 'lora > full'.",
            )
        linears = {
            name: module
            for layer in split.layers()
            for name, _, module in layer.named_modules()
            if isinstance(module, nn.Linear)
        }
        if not linears:
            raise ModelError(
                "encoder layers with bias vectors, or linear maps to which they may be added",
                f"{type(split.base).__name__}, whose layers have no bias",
                "Use another tuner, such as 'top' or 'full'.",
            )
        return linears

    def count(self, split: SplitModel) -> int:
        """Compute how many numbers will train beside the head."""
        own = super().count(split)
        return own or sum(li.out_features for li in self._bare_linears(split).values())


def _switches(split: SplitModel) -> tuple[str, ...]:
    kind = str(getattr(getattr(split.base, "config", None), "model_type", ""))
    if kind not in _BIAS_SWITCHES:
        raise ConfigError(
            "a family whose configuration can say that its layers have biases, to keep added ones",
            f"{type(split.base).__name__}",
            "Put '>' and another stage after 'bitfit', or use 'lora'.",
        )
    return _BIAS_SWITCHES[kind]


TUNER = Bitfit
CARD = Card(
    idea="Every bias vector inside the encoder layers trains, those of the norms included, and "
    "nothing else of the backbone. About 0.1 % of the numbers move. It is the tuner of the "
    "paper's best EH-FT results and the default of `eh-ft`.",
    equation="y = W x + b,  LayerNorm(x) = g · x̂ + b    train b, keep W and g",
    helps="As stage 1: enough changes for the head to see features like those that fine-tuning "
    "will reach, at about two thirds of the cost of a full step. Alone: when many models share "
    "one backbone.",
    harms="Alone with many rows: full fine-tuning reaches more. Layers without biases (ModernBERT) "
    "are refused, unless they may be given some: `bitfit(add=true)`.",
    citation="Ben Zaken, Ravfogel, Goldberg: BitFit (2022), arXiv 2106.10199.",
    sources={"add": "the paper: it adds none"},
    deviations="With add=true layers that have no bias at all are given biases of zero on their "
    "linear maps; they go with detach, and stay with `>>` where the model's configuration can say "
    "that they exist.",
    notes="The head's rate is the paper's own: a head that trains faster grows, and a large head "
    "did harm in fine-tuning. In the end the biases simply stay, as they are the backbone's own; "
    "added ones stay only where the model's configuration can say that they exist (ModernBERT).",
)
