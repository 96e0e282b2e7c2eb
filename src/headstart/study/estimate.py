"""Estimate of a study's time, from a few steps of each of its stages on this machine."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from headstart.config import FitConfig
from headstart.observers import observer
from headstart.run import plan_run, run_in_memory
from headstart.steps.callback import StepTimer
from headstart.steps.stages.runner import MOST_POINTS
from headstart.strategies.stages import Stage
from headstart.study.store import PlannedRun
from headstart.tuners._bind import bind

STEPS = 6
"""Steps that a stage is tried for."""
_NOT_COUNTED = 2  # the first steps load and compile


@dataclass(frozen=True)
class Cost:
    """Seconds of a stage: of an optimizer step, of an evaluation, and of what comes before them.

    ``start`` is for the run, reading rows and loading the model; ``setup`` for the stage, mostly
    the pass over a frozen backbone. ``epoch`` is the steps between evaluations: those in one pass
    over the rows.
    """

    step: float
    point: float
    start: float
    epoch: int
    setup: float = 0.0


class Calibration:
    """Measures stages and adds up runs; what has been measured is not measured again."""

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads
        self._costs: dict[tuple[Any, ...], Cost] = {}
        self._runs: dict[tuple[Any, ...], float] = {}

    def seconds(self, run: PlannedRun) -> float:
        """Estimate the seconds of a run, with what else its observer trains.

        They are an upper bound where a stage ends when its head has learned.
        """
        config = FitConfig.build(run.settings)
        others = observer(run.measure).beside(config) if run.measure else ()
        return self._of(config) + sum(self._of(other, last=False) for other in others)

    def _of(self, config: FitConfig, *, last: bool = True) -> float:
        own = {name: str(value) for name, value in config.plain().items() if name != "seed"}
        key = (last, *sorted(own.items()))
        if key not in self._runs:
            self._runs[key] = self._add_up(config, last)
        return self._runs[key]

    def _add_up(self, config: FitConfig, last: bool) -> float:
        total, start = 0.0, 0.0
        plan = plan_run(config.model_copy(update={"threads": self._threads}))
        for stage in plan.stages if last else plan.stages[:-1]:
            cost, steps = self._cost(config, stage.stage), stage.length.steps
            every = config.eval_every or max(cost.epoch, math.ceil(steps / MOST_POINTS))
            evaluations = 1 + math.ceil(steps / every)
            total += cost.setup + steps * cost.step + evaluations * cost.point
            start = cost.start
        return total + start

    def _cost(self, config: FitConfig, stage: Stage) -> Cost:
        line = _tried(stage)
        about = (config.model, config.task, config.data, config.train, config.train_rows,
                 config.batch_size, config.micro_batch_size, config.max_length, config.precision,
                 line)  # fmt: skip
        if about not in self._costs:
            self._costs[about] = self._measure(config, line)
        return self._costs[about]

    def _measure(self, config: FitConfig, line: str) -> Cost:
        timer = StepTimer()
        short = {
            "strategy": line, "threads": self._threads, "out": None,
            "epochs": None, "total_epochs": None, "eval_every": None, "lr": None, "head_lr": None,
            "guard": False, "select": "last", "selection": "validation",
        }  # fmt: skip
        result = run_in_memory(config.model_copy(update=short), timer).result
        stage = result.stages[0]
        counted = timer.steps[_NOT_COUNTED - 1 : STEPS]
        step = (counted[-1] - counted[0]) / max(1, len(counted) - 1)
        # The last evaluation follows the last step at once, the first one the stage's setting up.
        point = timer.points[len(stage.curve) - 1] - timer.steps[stage.steps - 1]
        setup = max(0.0, timer.points[0] - timer.stages[0] - point)
        rows = max(result.data["train_rows"], result.data["validation_rows"])
        epoch = math.ceil(rows / result.settings["batch_size"])
        return Cost(step, point, timer.ready - timer.began, epoch, setup)


def _tried(stage: Stage) -> str:
    """Write a few steps of a stage as a strategy line that may end there."""
    short = replace(
        stage, steps=STEPS, epochs=None, share=None, until=None, patience=None, lr=None,
        head_lr=None, warmup=None, reserve=False,
    )  # fmt: skip
    return f"{short} > full(steps=1)" if bind(stage).no_merge else str(short)


def estimate(runs: Iterable[PlannedRun], slots: int, threads: int | None) -> float:
    """Estimate how many seconds runs will take, so many at a time."""
    calibration = Calibration(threads)
    return sum(calibration.seconds(run) for run in runs) / slots
