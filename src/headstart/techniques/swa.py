"""The result is the mean of the weights over the last part of the stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from headstart.plugins.cards import Card
from headstart.plugins.ranges import A_RATE, ONE_OR_MORE, Range
from headstart.techniques._average import Averaging
from headstart.techniques._base import TechniqueContext


@dataclass
class Swa(Averaging):
    """Stochastic weight averaging: the mean over the last part of the stage.

    Izmailov et al. 2018, arXiv 1803.05407, with the stage's own schedule instead of a cyclic one.
    Before the part begins, evaluations are of the weights themselves.

    Args:
        start: Share of the stage after which the average begins; of the upper bound where the
            stage may end early.
        every: Steps from one set of weights that is averaged to the next.
    """

    ranges: ClassVar[Mapping[str, Range]] = {"start": A_RATE, "every": ONE_OR_MORE}
    rivals: ClassVar[tuple[str, ...]] = ("ema",)
    start: float = 0.75
    every: int = 4

    def begin(self, context: TechniqueContext) -> None:
        """Begin with nothing."""
        super().begin(context)
        self._first = int(self.start * context.steps)
        self._count = 0

    def after_step(self, step: int) -> None:
        """Add the weights to the mean."""
        since = step - self._first
        if since < 0 or since % self.every:
            return
        self._count += 1
        if self._mean:
            self._move(1 / self._count)
        else:
            self._mean = self._copies()

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the mean and how many steps are in it."""
        return {**super().tensors(), "count": torch.tensor(self._count)}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on with a mean."""
        super().restore(tensors)
        self._count = int(tensors["count"])


TECHNIQUE = Swa
CARD = Card(
    idea="The saved model is the mean of the weights over the last part of the stage. The mean "
    "lies nearer to the middle of a flat region than any step on its rim. It costs next to "
    "nothing.",
    equation="a = (1 / n) Σ w_t    over the n steps t ≥ start · steps",
    helps="A learning rate that is still high near the end, where steps circle around an optimum.",
    harms="A schedule that falls to zero: the last steps hardly differ, and earlier ones that do "
    "are worse.",
    citation="Izmailov et al.: Averaging Weights Leads to Wider Optima and Better Generalization "
    "(UAI 2018), arXiv 1803.05407.",
    sources={
        "every": "ours: neighbouring steps differ little; the paper takes one set an epoch",
        "start": "the paper averages over the last quarter of its training budget",
    },
    deviations="The stage keeps its own schedule instead of a constant or cyclic one. The models "
    "have no batch norm whose statistics would have to be computed again.",
)
