"""Callbacks of a run, and observers, which also see its model."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headstart.results import Point, StageResult, show_rate, show_scores

if TYPE_CHECKING:
    from headstart.config import FitConfig
    from headstart.steps.output.summary import PlanSummary
    from headstart.steps.types import TrainingPlan

log = logging.getLogger("headstart")


class Callback:
    """Callbacks of a run: this class writes each event to the log, displays override it."""

    def planned(self, plan: PlanSummary) -> None:
        """Handle the plan, before anything trains."""
        for line in plan.lines():
            log.info(line)

    def message(self, text: str) -> None:
        """Handle something worth knowing."""
        log.info(text)

    def warning(self, text: str) -> None:
        """Handle something that may spoil the result."""
        log.warning(text)

    def stage_started(self, stage: StageResult, number: int, of: int) -> None:
        """Handle the start of stage ``number``, from 1, of ``of``, with its record so far."""
        log.info(
            "stage %d of %d: %s, attempt %d, %d steps until %s, lr %s, head lr %s, %d trainable",
            number, of, stage.stage, stage.attempt, stage.planned_steps, stage.until,
            show_rate(stage.lr), show_rate(stage.head_lr),
            stage.trainable["head"] + stage.trainable["tuner"],
        )  # fmt: skip

    def step(self, step: int, loss: float) -> None:
        """Handle the end of an optimizer step of the stage, with its mean training loss."""

    def point(self, point: Point) -> None:
        """Handle an evaluation: step and scores."""
        log.info("  step %d: %s", point.step, show_scores(point.scores))

    def stage_ended(self, stage: StageResult) -> None:
        """Handle the end of a stage, with its record."""
        speed = f", {stage.tokens_per_second:.0f} tokens a second" if stage.steps else ""
        log.info(
            "  ended (%s) after %d steps, %.1f s%s", stage.ended, stage.steps, stage.seconds, speed
        )


class StepTimer(Callback):
    """Notes when the plan is ready, stages start, and each step and evaluation ends.

    It writes nothing to the log.
    """

    def __init__(self) -> None:
        self.began = self.ready = time.perf_counter()
        self.stages: list[float] = []
        self.steps: list[float] = []
        self.points: list[float] = []

    def planned(self, plan: PlanSummary) -> None:  # noqa: ARG002
        """Note that everything is loaded."""
        self.ready = time.perf_counter()

    def step(self, step: int, loss: float) -> None:  # noqa: ARG002
        """Note that a step has ended."""
        self.steps.append(time.perf_counter())

    def stage_started(self, stage: StageResult, number: int, of: int) -> None:  # noqa: ARG002
        """Note that a stage starts."""
        self.stages.append(time.perf_counter())

    def point(self, point: Point) -> None:  # noqa: ARG002
        """Note that an evaluation has ended."""
        self.points.append(time.perf_counter())

    def _write_nothing(self, *_: object, **__: object) -> None:
        pass

    message = warning = stage_ended = _write_nothing


class Observer(Callback):
    """A callback that also sees the model, and measures something about it.

    ``stage_started`` is heard with the tuner attached and the head in place, before the first
    evaluation; ``stage_ended`` after the tuner is gone or merged. What the model held may be
    changed there: the stage goes on with what it then finds.
    """

    plan: TrainingPlan

    def check(self, config: FitConfig) -> None:
        """Refuse a run in which this cannot be measured, before any run of a study starts.

        Raises ``HeadstartError`` if it cannot.
        """

    def beside(self, config: FitConfig) -> Sequence[FitConfig]:
        """List the further trainings that a run needs, for the estimate of its time.

        All stages of these but the last are carried out.
        """
        del config
        return ()

    def begin(self, plan: TrainingPlan) -> None:
        """Prepare for a run, before anything trains."""
        self.plan = plan

    def end(self) -> dict[str, Any]:
        """Return what was measured, as plain data that JSON gives back as it is."""
        return {}
