"""Noise on the pretrained weights before they train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from headstart.plugins.cards import Card
from headstart.plugins.ranges import ABOVE_0, Range
from headstart.techniques._base import Needs, Technique, TechniqueContext


def noise_like(weight: torch.Tensor, scale: float, generator: torch.Generator) -> torch.Tensor:
    """Return uniform noise in proportion to a matrix's own spread.

    ``U(-scale / 2, scale / 2) * std(weight)`` (Wu et al. 2022, arXiv 2202.12024, equation 1).
    ``scale`` is the paper's lambda.
    """
    noise = torch.rand(weight.shape, generator=generator, dtype=torch.float32) - 0.5
    return (noise * scale).to(weight) * weight.std(correction=0)


@dataclass
class NoisyTune(Technique):
    """Every pretrained parameter is perturbed once, before the first step.

    Wu et al. 2022, arXiv 2202.12024. The head is left as it is.

    Args:
        scale: Width of the noise in standard deviations of the parameter.
    """

    needs: ClassVar[Needs] = "full"
    why: ClassVar[str] = "The perturbed weights have to train."
    ranges: ClassVar[Mapping[str, Range]] = {"scale": ABOVE_0}
    scale: float = 0.15

    @torch.no_grad()
    def begin(self, context: TechniqueContext) -> None:
        """Perturb the weights."""
        generator = context.generator("noisytune", 0)
        for name, parameter in context.trained.items():
            if name not in context.split.head:
                parameter.add_(noise_like(parameter, self.scale, generator))


TECHNIQUE = NoisyTune
CARD = Card(
    idea="Every pretrained parameter is perturbed once before the first step. The noise of a "
    "matrix is uniform and in proportion to its own spread. It takes the model a little out of "
    "what it was fitted to in pretraining.",
    equation="w' = w + U(-scale/2, scale/2) · std(w)",
    helps="The paper reports small gains on GLUE; a try costs nothing.",
    harms="Stage 2 behind a trained head: the features that the head was fitted to are moved.",
    citation="Wu et al.: NoisyTune: A Little Noise Can Help You Finetune Pretrained Language "
    "Models Better (ACL 2022), arXiv 2202.12024.",
    sources={
        "scale": "the paper's lambda: best between 0.1 and 0.2",
    },
)
