"""The result is the mean of the weights over the last part of the stage."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from headstart.cards import Card
from headstart.techniques._base import Range, Setting, Technique


@dataclass
class Swa(Technique):
    """Stochastic weight averaging: the mean over the steps of the last part of the stage.

    Izmailov et al. 2018, arXiv 1803.05407, with every step averaged and the stage's own schedule
    instead of a cyclic one. Before the part begins, evaluations are of the weights themselves.

    Args:
        start: Share of the stage after which the average begins; of the upper bound where the
            stage may end early.
    """

    ranges: ClassVar[Mapping[str, Range]] = {"start": ("from 0 to below 1", lambda v: 0 <= v < 1)}
    whole: ClassVar[bool] = True
    start: float = 0.75

    def begin(self, setting: Setting) -> None:
        """Begin with nothing.

        Args:
            setting: Model and rows.
        """
        self._trained = dict(setting.trained)
        self._first = int(self.start * setting.steps)
        self._average: dict[str, torch.Tensor] = {}
        self._count = 0

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Add the weights to the mean.

        Args:
            step: Counted from 0.
        """
        if step < self._first:
            return
        self._count += 1
        if not self._average:
            self._average = {name: p.detach().clone() for name, p in self._trained.items()}
            return
        names = list(self._trained)
        torch._foreach_lerp_(
            [self._average[n] for n in names],
            [self._trained[n].detach() for n in names],
            1 / self._count,
        )

    @contextlib.contextmanager
    def evaluated(self) -> Iterator[None]:
        """Hold the average for an evaluation.

        Yields:
            Nothing.
        """
        held = {name: p.detach().clone() for name, p in self._trained.items()}
        self._put(self._average or held)
        yield
        self._put(held)

    def end(self) -> None:
        """Leave the average in the model."""
        self._put(self._average or self._trained)

    @torch.no_grad()
    def _put(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self._trained.items():
            parameter.copy_(values[name])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the mean and how many steps are in it."""
        return {**self._average, "count": torch.tensor(self._count)} if self._count else {}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on with a mean.

        Args:
            tensors: As from ``tensors``.
        """
        self._count = int(tensors["count"]) if tensors else 0
        self._average = (
            {name: tensors[name].to(p.device) for name, p in self._trained.items()}
            if tensors
            else {}
        )


TECHNIQUE = Swa
CARD = Card(
    idea="The saved model is the mean of the weights over the last part of the stage. The mean "
    "lies nearer to the middle of a flat region than any step on its rim. It costs no step more.",
    equation="a = (1 / n) Σ w_t    over the n steps t ≥ start · steps",
    helps="A learning rate that is still high near the end, where steps circle around an optimum.",
    harms="A schedule that falls to zero: the last steps hardly differ, and earlier ones that do "
    "are worse.",
    citation="Izmailov et al.: Averaging Weights Leads to Wider Optima and Better Generalization "
    "(UAI 2018), arXiv 1803.05407.",
    sources={
        "start": "the paper averages over the last quarter of its training budget",
    },
    deviations="Every step is averaged, and the stage keeps its own schedule instead of a "
    "constant or cyclic one. The models have no batch norm whose statistics would have to be "
    "computed again.",
)
