"""Noise on the states between the encoder layers: HyPe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.plugins.cards import Card
from headstart.plugins.ranges import ABOVE_0, Range
from headstart.techniques._base import Needs, Technique, TechniqueContext
from headstart.techniques._noise import FROZEN, noise_as


@dataclass
class Hype(Technique):
    """Each encoder layer gets its input with fresh noise, in training alone.

    Yuan et al. 2022, arXiv 2212.08853, section 3. One draw for each layer and step serves all
    passes of the step, so that a layer that is computed twice sees the same.

    Args:
        eps: Size of the noise.
        noise: ``uniform`` in [-eps, eps], or ``normal`` with the standard deviation eps.
    """

    needs: ClassVar[Needs] = "layers"
    why: ClassVar[str] = FROZEN
    ranges: ClassVar[Mapping[str, Range]] = {"eps": ABOVE_0}
    live: ClassVar[bool] = True
    eps: float = 1e-5
    noise: Literal["uniform", "normal"] = "uniform"

    def check(self, split: SplitModel) -> None:
        """Refuse a model whose layers are not modules that get states and give states.

        Raises ``ModelError`` if it keeps its layers in no list, or their parts in several.
        """
        if any(layer.in_parts for layer in split.layers()):
            raise ModelError(
                "a base model that keeps each encoder layer in one piece, for 'hype'",
                f"{type(split.base).__name__}, which keeps the parts of a layer in several lists",
                "Use another technique, such as 'r3f'.",
            )

    def begin(self, context: TechniqueContext) -> None:
        """Listen at the layers."""
        self._generator, self._step = context.generator, 0
        self._handles = [
            layer.module.register_forward_pre_hook(partial(self._noised, place), with_kwargs=True)
            for place, layer in enumerate(context.split.layers())
        ]

    def before_step(self, step: int) -> None:
        """Take note of the step."""
        self._step = step

    def _noised(
        self, place: int, layer: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if not layer.training:
            return None
        generator = self._generator(f"hype/{place}", self._step)
        states: torch.Tensor = arguments[0] if arguments else named["hidden_states"]
        states = states + noise_as(states, self.noise, self.eps, generator)
        if arguments:
            return (states, *arguments[1:]), named
        return arguments, {**named, "hidden_states": states}

    def close(self) -> None:
        """Leave the model as it was."""
        for handle in getattr(self, "_handles", ()):
            handle.remove()


TECHNIQUE = Hype
CARD = Card(
    idea="Every encoder layer gets its input with a little fresh noise while it trains. The layers "
    "learn not to depend on the last digits of what the one below says. Evaluations have no noise.",
    equation="h_(l+1) = layer_l(h_l + z)    z ~ U(-eps, eps) or N(0, eps^2)",
    helps="Few rows; it costs next to nothing, and goes together with other techniques.",
    harms="In bf16 noise of 1e-5 is mostly rounded away: use --precision fp32, or a larger eps.",
    citation="Yuan et al.: HyPe: Better Pre-trained Language Model Fine-tuning with Hidden "
    "Representation Perturbation (ACL 2023), arXiv 2212.08853.",
    sources={
        "eps": "the example of the authors' code",
        "noise": "the example of the authors' code",
    },
    deviations="Uniform noise is symmetric, as in the paper; the authors' code draws from 0 to "
    "eps. One draw for each layer serves all micro-batches of a step. The model's own dropout "
    "stays; `--dropout 0` turns it off, as the authors do. A layer that is passed several times "
    "(ALBERT) meets the same noise each time.",
)
