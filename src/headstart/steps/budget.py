"""A budget of time: fine-tuning is made as short as the clock asks for."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from headstart.errors import ConfigError
from headstart.models.backbone import BufferSnapshot, Snapshot
from headstart.steps.callback import StepTimer
from headstart.steps.plan import with_settings
from headstart.steps.train import stage_runner
from headstart.steps.types import RunSettings, TrainingPlan
from headstart.strategies.stages import Stage, Strategy
from headstart.training.evaluate import predict_logits
from headstart.training.loader import ExamplesLoader, SubsetLoader

MEASURED = 8
"""Steps of the main stage by which the machine's speed is measured."""
_NOT_COUNTED = 2  # the first steps load and compile
SAMPLE = 64
"""Training rows, spread over all, that are evaluated for a first look at the machine's speed."""
TRAINING = 3
"""A row costs about so many times as much to train on as to evaluate."""
EVALUATIONS, OVERHEAD = 1000, 7e-4
"""A fit of a head evaluates its loss about so often; what that takes beside arithmetic, seconds."""
MARGIN = 1.2
"""Estimates are made so much longer: batches differ, and so does what else the machine does."""
SHORTEST = 0.5
"""Epochs of the main stage below which it is left out."""


@dataclass(frozen=True)
class Speed:
    """Seconds of a training step, of the evaluation of a row, and of a fit of the head.

    The step is one of the main stage, that of fine-tuning; no stage's is slower by much. The fit
    is to the optimum, on stored features.
    """

    step: float
    row: float
    fit: float = 0.0


def fit_to_budget(plan: TrainingPlan, began: float) -> TrainingPlan:
    """Shorten the main stage, so that the run ends within its budget of time.

    Rows are evaluated, and a few steps timed, on the run's own rows; the model is then as it was.
    These are estimates: a training that has begun is not cut short. A run without a budget is given
    back as it is; ``began`` is from ``time.perf_counter``. Where not even half an epoch is left and
    some stage fits the head to its optimum, the run is that stage alone; if it is not expected to
    end in time either, a warning says when. Raises ``ConfigError`` if there are several processes,
    whose clocks differ, or the time does not suffice.
    """
    config, strategy = plan.config, plan.strategy
    if not config.budget:
        return plan
    if plan.runtime.world > 1:
        fix = "Drop --budget, or train in one process."
        found = f"{plan.runtime.world} processes, whose clocks differ"
        raise ConfigError("one process for --budget", found, fix)
    alone = tuple(stage for stage in strategy.stages if stage.until == "optimum")[:1]
    speed = glance(plan)
    if alone == strategy.stages:
        return _head_alone(plan, alone, speed, _left(plan, began))
    if not alone or epochs_within(plan, speed, _left(plan, began)) >= SHORTEST:
        speed = replace(measure(plan), fit=speed.fit)
    left = _left(plan, began)
    epochs, planned = epochs_within(plan, speed, left), _planned_epochs(plan)
    within, main = f"within {config.budget}", strategy.main
    if epochs >= planned:
        return _decided(plan, strategy, f"{strategy.name} is expected to end {within}.")
    if epochs >= SHORTEST:
        shorter = float(f"{epochs:.2g}")
        strategy = strategy.with_stage(main, epochs=shorter, steps=None)
        note = f"To end {within}, fine-tuning has {shorter:g} epochs, not {planned:.3g}."
        return _decided(plan, strategy, note)
    if alone:
        return _head_alone(plan, alone, speed, left)
    least = math.ceil(config.budget_seconds + MARGIN * (SHORTEST - epochs) * _epoch(plan, speed))
    raise ConfigError(
        f"time for {SHORTEST:g} epochs of fine-tuning of {strategy.name}, about {least}s",
        config.budget,
        "Give more time, or use the default strategy, which can do with less.",
    )


def _left(plan: TrainingPlan, began: float) -> float:
    return plan.config.budget_seconds - (time.perf_counter() - began)


def _head_alone(
    plan: TrainingPlan, stages: tuple[Stage, ...], speed: Speed, left: float
) -> TrainingPlan:
    """Leave a head at its optimum on the frozen model, and warn where even that takes longer."""
    config, seconds = plan.config, MARGIN * (_scoring(plan, speed) + _solving(plan, speed))
    if seconds > left:
        end = math.ceil(config.budget_seconds - left + seconds)
        late = f"The run is not expected to end within {config.budget}, but after about {end}s."
        plan = replace(plan, warnings=(*plan.warnings, late))
    if stages == plan.strategy.stages:
        return _decided(plan, plan.strategy, f"{plan.strategy.name} has no steps to be shortened.")
    note = f"Within {config.budget} there is no time for more than a head on the frozen model."
    # What was said of the strategy speaks of stages that are gone.
    strategy = Strategy(stages, plan.strategy.line)
    return _decided(replace(plan, strategy_note=""), strategy, note)


def _decided(plan: TrainingPlan, strategy: Strategy, note: str) -> TrainingPlan:
    """Return the plan of a strategy, with settings that need no clock to be repeated or resumed."""
    changed: dict[str, object] = {"budget": None}
    if strategy != plan.strategy:
        changed |= {"strategy": strategy.name, "epochs": None}
    config = plan.config.model_copy(update=changed)
    settings = RunSettings(config, plan.task, strategy, plan.hyperparameters)
    return replace(with_settings(plan, settings), notes=(*plan.notes, note))


def glance(plan: TrainingPlan) -> Speed:
    """Estimate the speed from the evaluation of a few rows, without any training."""
    train = ExamplesLoader(plan.encoded.train, plan.runtime.device)
    count = min(SAMPLE, len(train.lengths))
    rows = SubsetLoader(train, np.linspace(0, len(train.lengths) - 1, count).astype(np.int64))
    model = plan.model.model.to(plan.runtime.device)
    for _ in range(2):  # the first time loads and compiles
        began = time.perf_counter()
        predict_logits(model, rows, plan.runtime, plan.splits.kind.outputs)
        row = (time.perf_counter() - began) / count
    batch = plan.hyperparameters.preset.batch_size
    return Speed(TRAINING * batch * row, row, EVALUATIONS * (OVERHEAD + _one_evaluation(plan)))


def _one_evaluation(plan: TrainingPlan) -> float:
    """Time the arithmetic of a head's loss and gradient: two products of its size with all rows."""
    examples, device = plan.encoded.train, plan.runtime.device
    rows = len(examples) if examples.units is None else int(examples.units.sum())
    weights = max(
        (p for p in plan.model.head.values() if p.ndim > 1), key=torch.numel, default=None
    )
    if weights is None:
        return 0.0
    matrix = weights.detach().flatten(1).to(device)
    features = torch.zeros(min(rows, 4096), matrix.shape[1], device=device)
    for _ in range(2):
        began = time.perf_counter()
        float(((features @ matrix.T).T @ features).sum())
        seconds = time.perf_counter() - began
    return seconds * max(1.0, rows / 4096)


def measure(plan: TrainingPlan) -> Speed:
    """Time a few steps of the main stage, and evaluations; the model is then as it was."""
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
    row = max(0.0, timer.points[-1] - timer.steps[-1]) / len(plan.encoded.validation)
    return Speed(step, row)


def epochs_within(plan: TrainingPlan, speed: Speed, seconds: float) -> float:
    """Return the epochs of the main stage for which the time suffices.

    It is 0 or less if there is no time for any.
    """
    main, spent = plan.strategy.main, _scoring(plan, speed)
    rows = len(plan.encoded.train) + len(plan.encoded.validation)
    for index, stage in enumerate(plan.stages):
        if stage.length.until == "optimum":
            spent += _solving(plan, speed) if index != main else 0.0
        elif index < main:
            spent += stage.length.expected * speed.step + rows * speed.row
    return (seconds / MARGIN - spent) / _epoch(plan, speed)


def _scoring(plan: TrainingPlan, speed: Speed) -> float:
    """Return the seconds of evaluation before the first step, and for scores."""
    return 2 * len(plan.encoded.validation) * speed.row


def _solving(plan: TrainingPlan, speed: Speed) -> float:
    """Return the seconds of a head's fit to its optimum, the pass over the frozen model first."""
    return (len(plan.encoded.train) + len(plan.encoded.validation)) * speed.row + speed.fit


def _epoch(plan: TrainingPlan, speed: Speed) -> float:
    """Return the seconds that an epoch of the main stage takes, its evaluation included."""
    steps = math.ceil(len(plan.encoded.train) / plan.hyperparameters.preset.batch_size)
    return max(1e-9, steps * speed.step + len(plan.encoded.validation) * speed.row)


def _planned_epochs(plan: TrainingPlan) -> float:
    steps = math.ceil(len(plan.encoded.train) / plan.hyperparameters.preset.batch_size)
    return plan.stages[plan.strategy.main].length.steps / steps
