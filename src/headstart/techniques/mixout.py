"""Some weights are the pretrained ones, others in every step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from headstart.kernels.masks import rounded_rate
from headstart.plugins.cards import Card
from headstart.plugins.ranges import A_RATE, Range
from headstart.techniques._base import Needs, Technique, TechniqueContext
from headstart.techniques._masks import keep_masks, keep_part


def mixed(
    now: torch.Tensor, anchor: torch.Tensor, keep: torch.Tensor, scale: float, into: torch.Tensor
) -> None:
    """Mix weights with their anchor, with the mean put right.

    ``(m * anchor + (1 - m) * now - p * anchor) / (1 - p)`` with m 1 where nothing is kept (Lee et
    al. 2020, arXiv 1909.11299, equation 4), which is ``anchor + (1 - m) (now - anchor) / (1 - p)``.
    Its expectation is ``now``. ``keep`` are integers: -1 where the present weight has its say, 0
    where the anchor takes its place; ``scale`` is ``1 / (1 - p)``. What goes ``into`` is ``anchor``
    to the bit where nothing is kept.
    """
    into.copy_(keep).mul_(-scale)
    torch.lerp(anchor, now, into, out=into)


@dataclass
class Mixout(Technique):
    """In each step a weight of a linear map is the pretrained one, with probability ``p``.

    Lee et al. 2020, arXiv 1909.11299. The mixture stands in for the weights during a step's forward
    and backward pass; the gradient of a weight is that of the mixture, times the derivative. One
    mask serves all micro-batches of a step. Only maps of the encoder layers take part; the rest
    trains as always. ``--dropout 0`` turns the model's own dropout off, as the authors do.

    Args:
        p: Probability of the pretrained weight.
    """

    needs: ClassVar[Needs] = "full"
    why: ClassVar[str] = (
        "It mixes the weights of all layers, which have to train, with pretrained ones."
    )
    rivals: ClassVar[tuple[str, ...]] = ("recadam",)
    ranges: ClassVar[Mapping[str, Range]] = {"p": A_RATE}
    p: float = 0.9

    def begin(self, context: TechniqueContext) -> None:
        """Remember the weights as they are."""
        self._generator = context.generator
        self._weights = dict(_linear_weights(context))
        self._anchors = {n: w.detach().clone() for n, w in self._weights.items()}
        self._mixtures = {n: torch.empty_like(w) for n, w in self._anchors.items()}
        self._now: dict[str, torch.Tensor] = {}
        self._keep: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def before_step(self, step: int) -> None:
        """Put the mixtures in place of the weights."""
        dropped, scale = rounded_rate(self.p)
        if not dropped:
            return
        self._keep = keep_masks(self._weights, self.p, self._generator("mixout", step))
        for name, weight in self._weights.items():
            mixture = self._mixtures[name]
            mixed(weight, self._anchors[name], self._keep[name], scale, mixture)
            self._now[name] = weight.data
            weight.data = mixture

    @torch.no_grad()
    def gradients(self, step: int) -> None:
        """Put the weights back, and give them the gradient of the mixture."""
        del step
        scale = rounded_rate(self.p)[1]
        self.close()
        for name, keep in self._keep.items():
            gradient = self._weights[name].grad
            if gradient is not None:
                keep_part(gradient, keep, scale)

    def close(self) -> None:
        """Put the weights back, also where a step was broken off."""
        for name, now in getattr(self, "_now", {}).items():
            self._weights[name].data = now
        self._now = {}


def _linear_weights(context: TechniqueContext) -> Iterator[tuple[str, nn.Parameter]]:
    layers = tuple(lead for layer in context.split.layers() for lead in layer.leads())
    for name, module in context.split.model.named_modules():
        weight = f"{name}.weight"
        if isinstance(module, nn.Linear) and name.startswith(layers) and weight in context.trained:
            yield weight, context.trained[weight]


TECHNIQUE = Mixout
CARD = Card(
    idea="In every step each weight of a linear map is, with probability p, the pretrained one, "
    "and the rest is scaled so that the mean stays right. The model therefore never strays far "
    "from the checkpoint, as dropout keeps one near zero. Which weights are pretrained is drawn "
    "anew in every step.",
    equation="w' = (m u + (1 - m) w - p u) / (1 - p)    m ~ Bernoulli(p), u pretrained, w trained",
    helps="Few rows and a large encoder, where fine-tuning sometimes fails altogether: the paper's "
    "runs scatter less and fail less often.",
    harms="Many rows, or a task far from pretraining: what holds the weights back then costs "
    "accuracy. A step takes longer.",
    citation="Lee, Cho, Kang: Mixout: Effective Regularization to Finetune Large-scale Pretrained "
    "Language Models (ICLR 2020), arXiv 1909.11299.",
    sources={
        "p": "the authors' best on their tasks are 0.7 to 0.9; EH-FT's authors state 0.9 and ran "
        "0.7",
    },
    deviations="Linear maps of the encoder layers only. One mask serves all micro-batches of a "
    "step. The model's own dropout stays; `--dropout 0` turns it off, as the authors do.",
)
