"""Trying a strategy on a split of the training rows, on the model and tokens of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from headstart.config import FitConfig
from headstart.data.splits import carve
from headstart.errors import DataError, NumericalError
from headstart.models.backbone import BufferSnapshot, Snapshot
from headstart.models.loading import draw_head
from headstart.results import Point, StageResult
from headstart.search.halving import Trial
from headstart.steps.callback import Callback
from headstart.steps.plan import with_settings
from headstart.steps.settings import changed_settings
from headstart.steps.train import stage_runner
from headstart.steps.types import TrainingPlan, gold_labels
from headstart.training.seeds import stream
from headstart.training.step_reports import Pause

SHARE = 0.2
"""Share of the training rows that a split holds out."""
FEWEST = 20
"""Training rows below which held-out rows tell nothing."""
MEASURED = 8
"""Steps of fine-tuning by which the machine's speed is measured."""
_NOT_COUNTED = 2  # the first steps load and compile
_NO_POINTS = 10**9

Clock = Callable[[], float]


class OutOfTime(Exception):  # noqa: N818  it is no error
    """The time for the search is over in the middle of a trial."""


class _Silent(Callback):
    """Says nothing of what happens in a trial, and notes when steps end."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.steps: list[float] = []

    def warning(self, text: str) -> None: ...

    def stage_started(self, stage: StageResult, number: int, of: int) -> None: ...

    def stage_ended(self, stage: StageResult) -> None: ...

    def message(self, text: str) -> None: ...

    def point(self, point: Point) -> None: ...

    def step(self, step: int, loss: float) -> None:  # noqa: ARG002
        self.steps.append(self.clock())


@dataclass(frozen=True)
class Speed:
    """How fast this machine is.

    Args:
        step: Seconds for a step of plain fine-tuning; no stage's is slower by much.
        row: Seconds to evaluate a row.
    """

    step: float
    row: float


class TrialRunner:
    """Tries strategies one after the other; the run's model comes back as it was.

    Args:
        plan: The run. Its validation rows are not looked at.
        clock: Gives seconds.
        stopped: Whether the user has interrupted.
    """

    def __init__(self, plan: TrainingPlan, clock: Clock, stopped: Callable[[], bool]) -> None:
        self.plan, self.clock, self.stopped = plan, clock, stopped
        split = plan.model
        self._pretrained = Snapshot({**split.backbone, **split.head})
        self._buffers = BufferSnapshot(split)

    def on_split(self, line: str, number: int, length: float) -> TrainingPlan:
        """Plan a trial.

        Args:
            line: The strategy.
            number: Which split, from 0; it decides rows, head and order, whatever the strategy.
            length: Share of the run's epochs that it trains for.

        Returns:
            What can start.
        """
        plan = self.plan
        splits, encoded = plan.splits, plan.encoded
        kept, held_out = split_rows(self.plan, number)
        train, validation = splits.train.take(kept), splits.train.take(held_out)
        parted = replace(
            plan,
            splits=replace(splits, train=train, validation=validation, untouched=None),
            encoded=replace(
                encoded, train=encoded.train.take(kept), validation=encoded.train.take(held_out),
                untouched=None,
            ),
        )  # fmt: skip
        config = self._settings(plan.config, line, number, length)
        return with_settings(parted, changed_settings(config, plan.task))

    def _settings(self, config: FitConfig, line: str, number: int, length: float) -> FitConfig:
        numbers, scaled = self.plan.hyperparameters, dict[str, Any]()
        if numbers.total_epochs:
            scaled["total_epochs"] = numbers.total_epochs * length
        else:
            scaled["epochs"] = numbers.epochs * length
        return config.model_copy(
            update={
                **scaled, "strategy": line, "seed": stream(config.seed, "auto", number),
                "select": "last", "calibrate": False, "eval_every": _NO_POINTS,
            }
        )  # fmt: skip

    def measure(self) -> Speed:
        """Measure the speed by a few steps of plain fine-tuning."""
        plan = self.on_split("full", 0, 1.0)
        few = {"strategy": f"full(steps={MEASURED})", "epochs": 1.0, "total_epochs": None}
        config = plan.config.model_copy(update=few)
        plan = with_settings(plan, changed_settings(config, plan.task))
        silent = _Silent(self.clock)
        began = self.clock()
        stages = self._train(plan, silent, float("inf"))
        counted = silent.steps[_NOT_COUNTED - 1 :]
        step = (counted[-1] - counted[0]) / max(1, len(counted) - 1)
        rest = self.clock() - began - (silent.steps[-1] - silent.steps[0]) - step
        rows = 2 * len(plan.encoded.validation) * len(stages)
        return Speed(step, max(0.0, rest) / rows)

    def attempt(self, line: str, number: int, length: float, deadline: float) -> Trial:
        """Train a strategy and score it on the held-out rows.

        Args:
            line: The strategy.
            number: Which split, from 0.
            length: Share of the run's epochs.
            deadline: When it has to be over, by the clock.

        Returns:
            What came of it.

        Raises:
            OutOfTime: If it is not over by then.
        """
        began = self.clock()
        try:
            plan = self.on_split(line, number, length)
            stages = self._train(plan, _Silent(self.clock), deadline)
        except NumericalError as error:
            spent = self.clock() - began
            return Trial(line, number, None, float("inf"), 0, spent, str(error))
        scores, steps = stages[-1].end, sum(stage.steps for stage in stages)
        return Trial(
            line, number, scores["score"], scores["loss"], steps, self.clock() - began
        )  # fmt: skip

    def _train(self, plan: TrainingPlan, silent: _Silent, deadline: float) -> list[StageResult]:
        def pause() -> int:
            over = self.stopped() or self.clock() > deadline
            return Pause.STOP if over else Pause.NO

        def stop(_state: Any, _tensors: dict[str, torch.Tensor], _stop: bool) -> None:
            raise KeyboardInterrupt if self.stopped() else OutOfTime

        draw_head(plan.model, stream(plan.config.seed, "head"))
        try:
            return stage_runner(plan, silent, pause, stop).run()
        finally:
            self._pretrained.restore()
            self._buffers.restore()


def split_rows(
    plan: TrainingPlan, number: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Part the training rows of a run in two.

    Args:
        plan: The run.
        number: Which split, from 0.

    Returns:
        Those that train and those held out, in rising order.

    Raises:
        DataError: If there are too few.
    """
    labels, classes = gold_labels(plan.encoded.train), plan.splits.labels is not None
    if len(labels) < FEWEST:
        expected = f"enough training rows to choose a strategy by, {FEWEST} or more"
        raise DataError(expected, f"{len(labels)}", "Name a strategy instead.")
    return carve(labels, SHARE, stream(plan.config.seed, "auto split", number), stratify=classes)
