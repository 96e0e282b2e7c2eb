"""One run, from settings to a saved model, in six steps.

::

    settings   what the user left open is decided        steps/settings.py
    rows       are read, checked and split               steps/rows.py
    model      is loaded, with a head; rows to tokens    steps/model.py
    plan       the stages, each with everything decided  steps/plan.py
    training   the stages, one after the other           steps/train.py
    saving     the model, the head, the record           steps/save.py

No step imports another. What they hand on is in ``steps/types.py``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.config import FitConfig
from headstart.errors import ConfigError, RunError
from headstart.files.writing import write_text
from headstart.models.checkpoints.folders import looking
from headstart.results import RunResult
from headstart.steps.budget import fit_to_budget
from headstart.steps.callback import Callback, Observer
from headstart.steps.model import load_model
from headstart.steps.output.folder import LOG, RESULT, RunFolder, explain_disk_errors, require_space
from headstart.steps.output.logfile import logging_to
from headstart.steps.output.record import finish, make_record
from headstart.steps.output.summary import PlanSummary, summarise
from headstart.steps.plan import make_plan
from headstart.steps.rows import Frames, read_rows
from headstart.steps.save import save_run
from headstart.steps.settings import decide_settings, default_out, with_task
from headstart.steps.stages.interrupt import Pauser
from headstart.steps.train import stage_runner, train, train_with_checkpoints
from headstart.steps.types import TrainingPlan
from headstart.steps.undefined import require_score
from headstart.targets._base import Floats
from headstart.training.machine.runtime import Runtime
from headstart.training.machine.threads import Threads
from headstart.tuners._bind import read_strategy


def prepare_run(config: FitConfig, runtime: Runtime, frames: Frames | None = None) -> TrainingPlan:
    """Check everything about a run and load what it needs: its first four steps.

    ``frames`` are rows that are already there, by split. Raises ``HeadstartError`` if the input is
    at fault.
    """
    settings = decide_settings(config)
    splits = read_rows(config, settings.task, frames)
    settings = with_task(settings, splits.task)
    loaded = load_model(settings, splits)
    return make_plan(settings, splits, loaded, runtime)


def run(
    config: FitConfig, callback: Callback | None = None, frames: Frames | None = None
) -> RunResult:
    """Train, evaluate and save one run.

    ``frames`` are rows that are already there, by split. The record is also written to
    ``<out>/result.json``. Raises ``HeadstartError`` if the input is at fault, the loss is no longer
    a number, or the result cannot be saved, and ``KeyboardInterrupt`` if the user interrupts; a
    checkpoint is then written first.
    """
    began = time.perf_counter()
    callback = callback or Callback()
    read_strategy(config.strategy)
    folder = RunFolder(Path(config.out) if config.out else default_out(config))
    config = config.model_copy(update={"out": folder.out})
    folder.check(config)
    config = folder.settle(config)
    runtime = _runtime(config)
    plan = fit_to_budget(prepare_run(config, runtime, frames), began)
    # Two checkpoints with moments and best state stand side by side while one replaces the other.
    require_space(folder.work, 8 * sum(p.nbytes for p in plan.model.model.parameters()))
    runtime.wait()
    with explain_disk_errors(folder.out):
        if runtime.is_main:
            folder.open(plan.resolved)
        runtime.wait()
        try:
            with logging_to(folder.work / LOG, active=runtime.is_main):
                callback.planned(summarise(plan))
                result = _train_and_save(plan, folder, callback, began)
        except BaseException as error:
            folder.release()
            if runtime.is_main and isinstance(error, KeyboardInterrupt | ConfigError):
                folder.abandon()
            raise
        if runtime.is_main:
            folder.close()
    runtime.wait()
    return result


def _train_and_save(
    plan: TrainingPlan, folder: RunFolder, callback: Callback, began: float
) -> RunResult:
    """Train, evaluate and save: the last two steps."""
    result = make_record(plan)
    try:
        # Ctrl-C while the result is being saved waits until it is: that takes seconds.
        with Pauser(plan.config.checkpoint_minutes, plan.config.checkpoint_steps) as pauser:
            runner = train_with_checkpoints(plan, folder, callback, result, pauser)
            finish(plan, runner, result, callback)
            result.seconds = time.perf_counter() - began
            if plan.runtime.is_main:
                save_run(plan, runner, result, folder.work)
    except RunError as error:
        result.status, result.error = "failed", str(error)
        result.seconds = time.perf_counter() - began
        if plan.runtime.is_main:
            write_text(folder.work / RESULT, result.to_json())
        raise
    return result


def plan_run(config: FitConfig, frames: Frames | None = None) -> PlanSummary:
    """Check everything and say what a run would do; nothing is trained or written.

    For a budget of time a few steps are timed, as in the run; the plan is what fits into it now.
    """
    began = time.perf_counter()
    if config.out is not None:
        folder = RunFolder(config.out)
        folder.check(config, look=True)
        config = folder.settle(config)
    with looking():
        plan = fit_to_budget(prepare_run(config, _runtime(config), frames), began)
    if config.budget:
        plan = replace(plan, notes=(*plan.notes, _AGAIN))
    return summarise(plan)


_AGAIN = "The run itself looks at the clock again, so what fits into its time may differ a little."


@dataclass
class UnsavedRun:
    """The result of a run that was not saved, with its logits and measurements.

    Args:
        result: The record.
        logits: Of the final state on the rows that ``result.scores`` are about, (n, outputs).
        measured: What an observer has found, as plain data.
    """

    result: RunResult
    logits: Floats
    measured: dict[str, Any]


def run_in_memory(
    config: FitConfig,
    callback: Callback | None = None,
    frames: Frames | None = None,
    observer: Observer | None = None,
    threads: Threads | None = None,
) -> UnsavedRun:
    """Train and evaluate one run, and write nothing.

    Settings about the folder and about checkpoints are not used. ``frames`` are rows that are
    already there, by split; ``observer`` looks at the model, and hears what happens in place of a
    callback; ``threads`` take the place of those in the settings. Raises ``HeadstartError`` if the
    input is at fault, or the loss is no longer a number.
    """
    began = time.perf_counter()
    callback = observer or callback or Callback()
    plan = prepare_run(config, _runtime(config, threads), frames)
    require_score(plan.splits, "runs that are compared by it")
    callback.planned(summarise(plan))
    if observer:
        observer.begin(plan)
    result = make_record(plan)
    runner = stage_runner(plan, callback)
    train(runner, result)
    logits = finish(plan, runner, result, callback)
    result.seconds = time.perf_counter() - began
    return UnsavedRun(result, logits, observer.end() if observer else {})


def _runtime(config: FitConfig, threads: Threads | None = None) -> Runtime:
    return Runtime(config.device, config.precision, threads or config.threads)
