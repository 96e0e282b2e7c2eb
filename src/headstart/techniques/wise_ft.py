"""The result lies between the pretrained and the fine-tuned weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from headstart.plugins.cards import Card
from headstart.plugins.ranges import A_SHARE, Range
from headstart.techniques._base import Technique, TechniqueContext


@dataclass
class WiseFt(Technique):
    """Weights are interpolated between where the stage began and where it ended.

    ``(1 - alpha) * before + alpha * after``, the head included (Wortsman et al. 2022, arXiv
    2109.01903, equation 1, whose zero-shot head is here the head that the stage was given: use it
    behind a stage that trains one, as in ``head > full+wise_ft``). Evaluations are of the
    interpolated weights.

    Args:
        alpha: 0 is the beginning, 1 the end.
    """

    ranges: ClassVar[Mapping[str, Range]] = {"alpha": A_SHARE}
    alpha: float = 0.5

    def begin(self, context: TechniqueContext) -> None:
        """Remember the weights."""
        self._trained = dict(context.trained)
        self._before = {name: p.detach().clone() for name, p in self._trained.items()}

    def _between(self) -> dict[str, torch.Tensor]:
        return {
            name: torch.lerp(self._before[name], p.detach(), self.alpha)
            for name, p in self._trained.items()
        }

    @contextlib.contextmanager
    def evaluated(self) -> Iterator[None]:
        """Hold the average for an evaluation."""
        held = {name: p.detach().clone() for name, p in self._trained.items()}
        self._put(self._between())
        yield
        self._put(held)

    def end(self) -> None:
        """Leave the average in the model."""
        self._put(self._between())

    @torch.no_grad()
    def _put(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self._trained.items():
            parameter.copy_(values[name])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return where the stage began."""
        return dict(self._before)

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on."""
        self._before = {name: tensors[name].to(p.device) for name, p in self._trained.items()}


TECHNIQUE = WiseFt
CARD = Card(
    idea="The saved model lies on the line between the weights at the beginning of the stage and "
    "those at its end. It keeps much of what pretraining gave against shifted data. Evaluations "
    "are of the interpolated weights.",
    equation="w = (1 - alpha) w_before + alpha w_after",
    helps="Test rows of another source than the training rows. Behind a stage that trained the "
    "head: `head > full+wise_ft`.",
    harms="A first stage: its beginning has a random head, and half of that is noise. Rows of the "
    "same source as the training rows gain little.",
    citation="Wortsman et al.: Robust Fine-Tuning of Zero-Shot Models (CVPR 2022), arXiv "
    "2109.01903.",
    sources={
        "alpha": "the paper's recommendation where nothing is known about the shift",
    },
    deviations="The paper's zero-shot head is here the head that the stage was given.",
)
