"""The result is a moving average of the weights along the stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from headstart.plugins.cards import Card
from headstart.plugins.ranges import A_RATE, ONE_OR_MORE, Range
from headstart.techniques._average import Averaging
from headstart.techniques._base import TechniqueContext, Updated


@dataclass
class Ema(Averaging):
    """Exponential moving average of all weights that train; evaluated, and left in the model.

    Polyak and Juditsky 1992. The decay rises as ``min(decay, (1 + t) / (10 + t))`` over the steps
    t, as TensorFlow's does, so that short stages forget their start too.

    Args:
        decay: Share of the old average that a step keeps.
        every: Steps from one move of the average to the next, which is by that many decays; the
            last step moves it too, unless the stage ends early.
    """

    ranges: ClassVar[Mapping[str, Range]] = {"decay": A_RATE, "every": ONE_OR_MORE}
    rivals: ClassVar[tuple[str, ...]] = ("swa",)
    decay: float = 0.99
    every: int = 4

    def begin(self, context: TechniqueContext) -> None:
        """Take note of the length."""
        super().begin(context)
        self._steps = context.steps

    def optimizer(self, optimizer: torch.optim.Optimizer, updated: Mapping[str, Updated]) -> None:
        """Begin with the weights as they are."""
        super().optimizer(optimizer, updated)
        self._mean, self._keep = self._copies(), 1.0

    def after_step(self, step: int) -> None:
        """Move the average."""
        self._keep *= min(self.decay, (1 + step) / (10 + step))
        if (step + 1) % self.every == 0 or step + 1 == self._steps:
            self._move(1 - self._keep)
            self._keep = 1.0

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the average, and what the steps since its last move have kept of it."""
        return {**super().tensors(), "keep": torch.tensor(self._keep, dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on with an average."""
        super().restore(tensors)
        self._keep = float(tensors["keep"])


TECHNIQUE = Ema
CARD = Card(
    idea="An exponential moving average of the weights is kept beside them. Evaluations and the "
    "saved model use the average. It smooths what single batches have done to the weights.",
    equation="a <- d a + (1 - d) w    d = min(decay, (1 + t) / (10 + t)) at step t",
    helps="A high learning rate, small batches or noisy labels: the average is steadier than the "
    "last step.",
    harms="Short stages whose learning rate falls to zero: the last weights are settled already, "
    "and the average lags behind.",
    citation="Polyak, Juditsky: Acceleration of Stochastic Approximation by Averaging (SIAM J. "
    "Control Optim. 1992).",
    sources={
        "every": "ours: a fourth of the cost, and the mean is hardly another",
        "decay": "ours: an average over about 100 steps, a part of a stage of few rows; 0.999 is "
        "usual for long training",
    },
    deviations="The decay rises over the first steps as TensorFlow's does. Buffers (running "
    "statistics) are not averaged.",
)
