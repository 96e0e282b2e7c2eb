"""One run: ``run(config) -> RunResult``."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from headstart.config import FitConfig
from headstart.errors import ConfigError, RunError
from headstart.results import RunResult
from headstart.run.callback import Listener
from headstart.run.observer import Observer
from headstart.run.output.folder import (
    CHECKPOINTS,
    LOG,
    RESULT,
    RunFolder,
    require_space,
    told_when_full,
)
from headstart.run.output.logfile import logging_to
from headstart.run.plan import Ready, make_ready, with_settings
from headstart.run.record import finish, make_record
from headstart.run.rows import Frames, data_record, find_task, source_name
from headstart.run.save import save_run
from headstart.run.stages.interrupt import Pauser
from headstart.run.stages.runner import StrategyRunner
from headstart.run.summary import Plan
from headstart.run.train import stage_runner, train
from headstart.search.auto import (
    Search,
    Searcher,
    check_search,
    first_settings,
    load_search,
    searching_plan,
)
from headstart.search.trial import Bench
from headstart.training.checkpoint import load_checkpoint, save_checkpoint
from headstart.training.evaluate import Floats
from headstart.training.runtime import Runtime
from headstart.training.step_reports import Pause
from headstart.training.threads import Threads
from headstart.tuners._bind import read_strategy
from headstart.writing import write_text

Checkpoint = tuple[dict[str, Any], dict[str, torch.Tensor]]


def default_out(config: FitConfig) -> Path:
    """Return the folder of a run whose user named none.

    Args:
        config: The settings.

    Returns:
        ``runs/<data>-<strategy>-seed<n>``.
    """
    name = f"{source_name(config, find_task(config))}-{config.strategy}-seed{config.seed}"
    clean = "".join(c if c.isalnum() or c in "-_.=" else "-" for c in name)
    while "--" in clean:
        clean = clean.replace("--", "-")
    return Path("runs") / clean.strip("-")


def plan_run(config: FitConfig, frames: Frames | None = None) -> Plan:
    """Check everything and say what a run would do, without training or writing.

    Args:
        config: The settings.
        frames: Rows that are already there, by split.

    Returns:
        The plan.
    """
    if config.out is not None:
        folder = RunFolder(config.out)
        folder.check(config, look=True)
        config = folder.settle(config)
    ready = make_ready(first_settings(config), _runtime(config), frames)
    check_search(ready)
    return searching_plan(ready.plan, ready)


def run(
    config: FitConfig, listener: Listener | None = None, frames: Frames | None = None
) -> RunResult:
    """Train, evaluate and save one run.

    Args:
        config: The settings.
        listener: Hears what happens.
        frames: Rows that are already there, by split.

    Returns:
        The record, also written to ``<out>/result.json``.

    Raises:
        HeadstartError: If the input is at fault, the loss is no longer a number, or the result
            cannot be saved.
        KeyboardInterrupt: If the user interrupts; a checkpoint is then written first.
    """
    began = time.perf_counter()
    listener = listener or Listener()
    read_strategy(first_settings(config).strategy)
    if config.out is None:
        config = config.model_copy(update={"out": default_out(config)})
    folder = RunFolder(Path(str(config.out)))
    folder.check(config)
    config = folder.settle(config)
    runtime = _runtime(config)
    ready = make_ready(first_settings(config), runtime, frames)
    check_search(ready)
    plan = searching_plan(ready.plan, ready)
    size = sum(p.nbytes for p in ready.prepared.split.model.parameters())
    # Two checkpoints with moments and best state stand side by side while one replaces the other.
    require_space(folder.work, 8 * size)
    runtime.wait()
    with told_when_full(folder.out):
        if runtime.is_main:
            folder.open(ready.settings.model_copy(update={"strategy": config.strategy}))
        runtime.wait()
        try:
            with logging_to(folder.work / LOG, active=runtime.is_main):
                listener.plan(plan)
                result = _carry_out(ready, folder, listener, began)
        except BaseException as error:
            folder.release()
            if runtime.is_main and isinstance(error, KeyboardInterrupt | ConfigError):
                folder.abandon()
            raise
        if runtime.is_main:
            folder.close()
    runtime.wait()
    return result


def _runtime(config: FitConfig, threads: Threads | None = None) -> Runtime:
    return Runtime(config.device, config.precision, threads or config.threads)


@dataclass
class Trained:
    """What a run leaves that was not saved.

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
    listener: Listener | None = None,
    frames: Frames | None = None,
    observer: Observer | None = None,
    threads: Threads | None = None,
) -> Trained:
    """Train and evaluate one run, and write nothing.

    Args:
        config: The settings; those about the folder and about checkpoints are not used.
        listener: Hears what happens.
        frames: Rows that are already there, by split.
        observer: Looks at the model, and hears what happens in place of a listener.
        threads: CPU threads that were chosen for it, in place of those in the settings.

    Returns:
        The record, without a folder, and the logits.

    Raises:
        HeadstartError: If the input is at fault, or the loss is no longer a number.
    """
    began = time.perf_counter()
    listener = observer or listener or Listener()
    ready = make_ready(config, _runtime(config, threads), frames)
    listener.plan(ready.plan)
    if observer:
        observer.begin(ready)
    result = make_record(ready)
    runner = stage_runner(ready, listener)
    train(runner, result)
    logits = finish(ready, runner, result, listener)
    result.seconds = time.perf_counter() - began
    return Trained(result, logits, observer.end() if observer else {})


def _carry_out(ready: Ready, folder: RunFolder, listener: Listener, began: float) -> RunResult:
    found = _search(ready, folder, listener, began) if ready.config.budget else None
    if found:
        chosen = {"strategy": found.chosen, "budget": None}
        ready = with_settings(ready, ready.config.model_copy(update=chosen))
    result = make_record(ready)
    if found:
        result.search = found.record()
        result.rule += "; the strategy was chosen on rows held out of the training rows"
    resumed = _checkpoint(ready, folder, result)
    for warning in result.warnings:
        listener.warning(warning)
    try:
        # Ctrl-C while the result is being saved waits until it is: that takes seconds.
        minutes, steps = ready.config.checkpoint_minutes, ready.config.checkpoint_steps
        with Pauser(minutes, steps) as pauser:
            runner = _train(ready, folder, listener, result, pauser, resumed)
            finish(ready, runner, result, listener)
            result.seconds = time.perf_counter() - began
            if ready.runtime.is_main:
                save_run(ready, runner, result, folder.work)
    except RunError as error:
        result.status, result.error = "failed", str(error)
        result.seconds = time.perf_counter() - began
        if ready.runtime.is_main:
            write_text(folder.work / RESULT, result.to_json())
        raise
    return result


def _search(ready: Ready, folder: RunFolder, listener: Listener, began: float) -> Search:
    """Find a strategy, or go on with finding one."""
    kept, now = folder.work / CHECKPOINTS, _origin(ready, data_record(ready.prepared.splits))
    search = load_search(kept) if ready.config.resume else None
    if search:
        _require_same(search.origin, now)
    search = search or Search(str(ready.config.budget), now)
    with Pauser(math.inf) as pauser:
        bench = Bench(ready, time.perf_counter, lambda: pauser() == Pause.STOP)
        Searcher(ready, search, kept, listener, bench, began).run()
        if pauser() == Pause.STOP:
            raise KeyboardInterrupt
    return search


def _train(
    ready: Ready,
    folder: RunFolder,
    listener: Listener,
    result: RunResult,
    pauser: Pauser,
    resumed: Checkpoint | None,
) -> StrategyRunner:
    if resumed:
        stage, step = resumed[0]["stage"] + 1, resumed[0]["loop"]["step"]
        listener.message(f"Resuming in stage {stage} after step {step}.")

    def save(state: dict[str, Any], tensors: dict[str, torch.Tensor], stop: bool) -> None:
        if ready.runtime.is_main:
            name = f"stage{state['stage'] + 1}-{state['attempt']}-{state['loop']['step']}"
            state = {**state, "origin": _origin(ready, result.data)}
            save_checkpoint(folder.work / CHECKPOINTS, name, state, tensors)
        if stop:
            raise KeyboardInterrupt

    runner = stage_runner(ready, listener, pauser, save)
    train(runner, result, resumed)
    return runner


def _origin(ready: Ready, rows: dict[str, Any]) -> dict[str, Any]:
    """Return what must be the same when a run is resumed, for its bits to be the same."""
    return {"rows": rows, "backbone": ready.fingerprint}


def _require_same(before: dict[str, Any], now: dict[str, Any]) -> None:
    changed = [name for name in now if before[name] != now[name]]
    if changed:
        raise RunError(
            "the rows and the backbone with which the run was started",
            f"another {' and another '.join(changed)}".replace("another rows", "other rows"),
            "Put back what has changed, or start again with --overwrite.",
        )


def _checkpoint(ready: Ready, folder: RunFolder, result: RunResult) -> Checkpoint | None:
    """Load what a resumed run goes on from, refusing other rows or another backbone."""
    found = load_checkpoint(folder.work / CHECKPOINTS) if ready.config.resume else None
    if found is None:
        return None
    _require_same(found[0]["origin"], _origin(ready, result.data))
    return found
