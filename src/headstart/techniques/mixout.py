"""Some weights are the pretrained ones, others in every step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from headstart.cards import Card
from headstart.techniques._base import A_RATE, Range, Setting, Technique


def mixed(
    now: torch.Tensor, anchor: torch.Tensor, anchored: torch.Tensor, p: float
) -> torch.Tensor:
    """Return weights of which some are their anchor, with the mean put right.

    ``(m * anchor + (1 - m) * now - p * anchor) / (1 - p)`` with m 1 where ``anchored`` (Lee et al.
    2020, arXiv 1909.11299, equation 4). Its expectation is ``now``.

    Args:
        now: Present weights.
        anchor: Pretrained weights.
        anchored: Which take their anchor, as truth values; each with probability ``p``.
        p: The probability; with 1 nothing of ``now`` is left, and the anchor is returned.

    Returns:
        The mixture.
    """
    if p == 1:
        return anchor.clone()
    return torch.where(anchored, anchor, anchor + (now - anchor) / (1 - p))


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

    ranges: ClassVar[Mapping[str, Range]] = {"p": A_RATE}
    p: float = 0.9

    def refuses(self, trains: str, others: Sequence[str]) -> str:
        """Refuse tuners that leave the weights as they are, and a second pull to them.

        Args:
            trains: The tuner's name.
            others: Names of the techniques before it.

        Returns:
            The reason, or nothing.
        """
        if "recadam" in others:
            return "recadam pulls the weights to the pretrained ones already; write one of the two."
        return (
            ""
            if trains == "full"
            else "It mixes weights that train with pretrained ones; write full+mixout."
        )

    def begin(self, setting: Setting) -> None:
        """Remember the weights as they are.

        Args:
            setting: Model and rows.
        """
        self._generator = setting.generator
        self._weights = dict(_linear_weights(setting))
        self._anchors = {n: w.detach().clone() for n, w in self._weights.items()}
        self._now: dict[str, torch.Tensor] = {}
        self._anchored: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def before_step(self, step: int) -> None:
        """Put the mixtures in place of the weights.

        Args:
            step: Counted from 0.
        """
        generator = self._generator("mixout", step)
        for name, weight in self._weights.items():
            anchored = torch.empty(weight.shape, dtype=torch.uint8)
            anchored = (anchored.random_(256, generator=generator) < round(256 * self.p)).to(
                weight.device
            )
            self._now[name], self._anchored[name] = weight.detach().clone(), anchored
            weight.copy_(mixed(weight, self._anchors[name], anchored, round(256 * self.p) / 256))

    @torch.no_grad()
    def gradients(self, step: int) -> None:
        """Put the weights back, and give them the gradient of the mixture.

        Args:
            step: Counted from 0.
        """
        del step
        rate = round(256 * self.p) / 256
        for name, weight in self._weights.items():
            weight.copy_(self._now[name])
            if weight.grad is not None:
                weight.grad.masked_fill_(self._anchored[name], 0).div_(1 - rate)


def _linear_weights(setting: Setting) -> Iterator[tuple[str, nn.Parameter]]:
    layers = tuple(f"{name}." for name, _ in setting.split.layers())
    for name, module in setting.split.model.named_modules():
        weight = f"{name}.weight"
        if isinstance(module, nn.Linear) and name.startswith(layers) and weight in setting.trained:
            yield weight, setting.trained[weight]


TECHNIQUE = Mixout
CARD = Card(
    idea="In every step each weight of a linear map is, with probability p, the pretrained one, "
    "and the rest is scaled so that the mean stays right. The model therefore never strays far "
    "from the checkpoint, as dropout keeps one near zero. Which weights are pretrained is drawn "
    "anew in every step.",
    equation="w' = (m u + (1 - m) w - p u) / (1 - p)    m ~ Bernoulli(p), u pretrained, w trained",
    helps="Few rows and a large encoder, where fine-tuning sometimes fails altogether: the "
    "paper's runs scatter less and fail less often.",
    harms="Many rows, or a task far from pretraining: what holds the weights back then costs "
    "accuracy. A step takes longer.",
    citation="Lee, Cho, Kang: Mixout: Effective Regularization to Finetune Large-scale "
    "Pretrained Language Models (ICLR 2020), arXiv 1909.11299.",
    sources={
        "p": "the authors' best on their tasks are 0.7 to 0.9; EH-FT's authors state 0.9 and ran "
        "0.7",
    },
    deviations="Linear maps of the encoder layers only. One mask serves all micro-batches of a "
    "step, and a probability is a multiple of 1/256. The model's own dropout stays; `--dropout "
    "0` turns it off, as the authors do.",
)
