"""A budget of time: fine-tuning is made as short as the clock asks for."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

from headstart.errors import ConfigError
from headstart.models.backbone import BufferSnapshot, Snapshot
from headstart.steps.callback import StepTimer
from headstart.steps.plan import with_settings
from headstart.steps.train import stage_runner
from headstart.steps.types import RunSettings, TrainingPlan
from headstart.strategies.stages import Strategy

MEASURED = 8
"""Steps of the main stage by which the machine's speed is measured."""
_NOT_COUNTED = 2  # the first steps load and compile
MARGIN = 1.2
"""Estimates are made so much longer: batches differ, and so does what else the machine does."""
SHORTEST = 0.5
"""Epochs of the main stage below which it is left out."""


@dataclass(frozen=True)
class Speed:
    """Seconds of a training step and of the evaluation of a row.

    The step is one of the main stage, that of fine-tuning; no stage's is slower by much.
    """

    step: float
    row: float


def fit_to_budget(plan: TrainingPlan, began: float) -> TrainingPlan:
    """Shorten the main stage, so that the run ends within its budget of time.

    A few steps are timed on the run's own rows; the model is then as it was. These are estimates: a
    training that has begun is not cut short. A run without a budget is given back as it is;
    ``began`` is from ``time.perf_counter``. Where not even half an epoch is left and some
    stage fits the head to its optimum, the run is that stage alone. Raises ``ConfigError`` if there
    are several processes, whose clocks differ, or the time does not suffice.
    """
    config, strategy = plan.config, plan.strategy
    if not config.budget:
        return plan
    if plan.runtime.world > 1:
        fix = "Drop --budget, or train in one process."
        found = f"{plan.runtime.world} processes, whose clocks differ"
        raise ConfigError("one process for --budget", found, fix)
    speed = measure(plan)
    left = config.budget_seconds - (time.perf_counter() - began)
    epochs, planned = epochs_within(plan, speed, left), _planned_epochs(plan)
    within = f"within {config.budget}"
    main, fitted = strategy.main, tuple(s for s in strategy.stages if s.until == "optimum")
    if epochs >= planned:
        note = f"{strategy.name} is expected to end {within}."
    elif epochs >= SHORTEST:
        shorter = float(f"{epochs:.2g}")
        strategy = strategy.with_stage(main, epochs=shorter, steps=None)
        note = f"To end {within}, fine-tuning has {shorter:g} epochs, not {planned:.3g}."
    elif len(strategy.stages) > 1 and fitted:
        strategy = Strategy(fitted[:1], strategy.line)
        note = f"There is time {within} for a head on the frozen model alone."
    else:
        more = MARGIN * (SHORTEST - epochs) * _epoch(plan, speed)
        least = math.ceil(config.budget_seconds + more)
        raise ConfigError(
            f"time for {SHORTEST:g} epochs of fine-tuning of {strategy.name}, about {least}s",
            config.budget,
            "Give more time, or use the default strategy, which can do with less.",
        )
    decided = config.model_copy(update=_decided(plan, strategy))
    settings = RunSettings(decided, plan.task, strategy, plan.hyperparameters)
    return replace(with_settings(plan, settings), notes=(*plan.notes, note))


def _decided(plan: TrainingPlan, strategy: Strategy) -> dict[str, object]:
    """Return the settings by which the run is repeated, or goes on, without looking at a clock."""
    if strategy == plan.strategy:
        return {"budget": None}
    return {"budget": None, "strategy": strategy.name, "epochs": None}


def measure(plan: TrainingPlan) -> Speed:
    """Time a few steps of the main stage; the model is then as it was."""
    timed = plan.strategy.stages[plan.strategy.main]
    timed = replace(timed, steps=MEASURED, epochs=None, until=None, share=None)
    config = plan.config.model_copy(
        update={"select": "last", "calibrate": False, "eval_every": 10**9}
    )
    numbers = replace(plan.hyperparameters, total_epochs=None, share=None)
    strategy = Strategy((timed,), plan.strategy.line)
    trial = with_settings(plan, RunSettings(config, plan.task, strategy, numbers))
    pretrained = Snapshot({**plan.model.backbone, **plan.model.head})
    buffers, timer = BufferSnapshot(plan.model), StepTimer()
    try:
        stage_runner(trial, timer).run()
    finally:
        pretrained.restore()
        buffers.restore()
    counted = timer.steps[_NOT_COUNTED - 1 :]
    step = (counted[-1] - counted[0]) / max(1, len(counted) - 1)
    rest = time.perf_counter() - timer.began - (timer.steps[-1] - timer.steps[0]) - step
    return Speed(step, max(0.0, rest) / (2 * len(plan.encoded.validation)))


def epochs_within(plan: TrainingPlan, speed: Speed, seconds: float) -> float:
    """Return the epochs of the main stage for which the time suffices.

    It is 0 or less if there is no time for any.
    """
    rows = len(plan.encoded.train) + len(plan.encoded.validation)
    spent = 2 * len(plan.encoded.validation) * speed.row  # before the first step, and for scores
    for stage in plan.stages[: plan.strategy.main]:
        spent += stage.length.expected * speed.step + rows * speed.row
    return (seconds / MARGIN - spent) / _epoch(plan, speed)


def _epoch(plan: TrainingPlan, speed: Speed) -> float:
    """Return the seconds that an epoch of the main stage takes, its evaluation included."""
    steps = math.ceil(len(plan.encoded.train) / plan.hyperparameters.preset.batch_size)
    return max(1e-9, steps * speed.step + len(plan.encoded.validation) * speed.row)


def _planned_epochs(plan: TrainingPlan) -> float:
    steps = math.ceil(len(plan.encoded.train) / plan.hyperparameters.preset.batch_size)
    return plan.stages[plan.strategy.main].length.steps / steps
