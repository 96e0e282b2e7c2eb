"""The result is a moving average of the weights along the stage."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from headstart.cards import Card
from headstart.techniques._base import A_RATE, Range, Setting, Technique


@dataclass
class Ema(Technique):
    """Exponential moving average of all weights that train; evaluated, and left in the model.

    Polyak and Juditsky 1992. The decay rises as ``min(decay, (1 + t) / (10 + t))`` over the steps
    t, as TensorFlow's does, so that short stages forget their start too.

    Args:
        decay: Share of the old average that a step keeps.
    """

    ranges: ClassVar[Mapping[str, Range]] = {"decay": A_RATE}
    whole: ClassVar[bool] = True
    decay: float = 0.99

    def begin(self, setting: Setting) -> None:
        """Begin with the weights as they are.

        Args:
            setting: Model and rows.
        """
        self._trained = dict(setting.trained)
        self._average = {name: p.detach().clone() for name, p in self._trained.items()}

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Move the average.

        Args:
            step: Counted from 0.
        """
        keep = min(self.decay, (1 + step) / (10 + step))
        names = list(self._trained)
        torch._foreach_lerp_(
            [self._average[n] for n in names], [self._trained[n].detach() for n in names], 1 - keep
        )

    @contextlib.contextmanager
    def evaluated(self) -> Iterator[None]:
        """Hold the average for an evaluation.

        Yields:
            Nothing.
        """
        held = {name: p.detach().clone() for name, p in self._trained.items()}
        self._put(self._average)
        yield
        self._put(held)

    def end(self) -> None:
        """Leave the average in the model."""
        self._put(self._average)

    @torch.no_grad()
    def _put(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self._trained.items():
            parameter.copy_(values[name])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the average."""
        return dict(self._average)

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on with an average.

        Args:
            tensors: As from ``tensors``.
        """
        self._average = {name: tensors[name].to(p.device) for name, p in self._trained.items()}


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
        "decay": "ours: an average over about 100 steps, a part of a stage of few rows; 0.999 is "
        "usual for long training",
    },
    deviations="The decay rises over the first steps as TensorFlow's does. Buffers (running "
    "statistics) are not averaged.",
)
