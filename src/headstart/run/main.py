"""One run: ``run(config) -> RunResult``."""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.config import FitConfig
from headstart.errors import RunError, raise_all
from headstart.models.headfile import Head
from headstart.models.rescale import rescale_output
from headstart.results import RunResult
from headstart.run.folder import CHECKPOINTS, LOG, RESULT, RunFolder, require_space, told_when_full
from headstart.run.interrupt import Pauser
from headstart.run.listener import Listener
from headstart.run.logfile import logging_to
from headstart.run.parts import Materials, StagePlan
from headstart.run.plan import Plan, make_plan
from headstart.run.prepare import Prepared, prepare
from headstart.run.save import save_run
from headstart.run.saved import task_record
from headstart.run.settings import (
    Choices,
    choose,
    plan_stages,
    require_use,
    resolved,
    stage_options,
    total_steps,
    unused_settings,
)
from headstart.run.splits import Frames, data_record, find_task, source_name
from headstart.run.stages import StrategyRunner
from headstart.run.versions import versions
from headstart.strategies.plan import lengths
from headstart.strategies.stages import Strategy
from headstart.tasks.spec import TaskSpec
from headstart.training.checkpoint import load_checkpoint, replace_text, save_checkpoint
from headstart.training.evaluate import Judge, predict_logits
from headstart.training.feed import EncodedFeed
from headstart.training.recompute import require_recomputable
from headstart.training.runtime import Runtime
from headstart.training.skill import skill
from headstart.training.stopping import chance_loss
from headstart.tuners._bind import read_strategy

_UNSEEN = "no score was looked at to choose it"
Checkpoint = tuple[dict[str, Any], dict[str, torch.Tensor]]


@dataclass
class Ready:
    """A run that could start: everything checked, nothing trained or written yet.

    Args:
        config: The settings.
        task: The task.
        choices: The numbers of the run.
        strategy: The stages that will run.
        runtime: Device and precision.
        prepared: Rows, model, tokens.
        stages: The stages, decided.
        fingerprint: The pretrained backbone's.
        notes: What was decided and may surprise.
    """

    config: FitConfig
    task: TaskSpec
    choices: Choices
    strategy: Strategy
    runtime: Runtime
    prepared: Prepared
    stages: tuple[StagePlan, ...]
    fingerprint: str
    notes: list[str]

    @property
    def settings(self) -> FitConfig:
        """The settings with everything decided, for the run's folder."""
        return resolved(self.config, self.choices, self.strategy, self.prepared.max_length)

    @property
    def plan(self) -> Plan:
        """The plan, for people."""
        size = sum(p.numel() for p in self.prepared.split.backbone.values())
        facts = {
            "task": f"{self.task.name} ({self.task.shape}, {self.task.target})",
            "model": f"{self.config.model}, {size:,} backbone parameters",
            "head": self.choices.head + (f", from {self.config.head}" if self.config.head else ""),
            "device": f"{self.runtime.device}, {self.runtime.precision} ({self.runtime.reason})",
            "batch": f"{self.choices.preset.batch_size} rows a step, seed {self.config.seed}",
        }
        total = total_steps(self.choices, self.stages)
        if total and any(plan.length.until != "end" for plan in self.stages[:-1]):
            facts["budget"] = f"{total:,} steps in all; the last stage takes what is left"
        return make_plan(self.strategy.name, self.stages, self.prepared, facts, self.notes)


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
        folder.check(config)
        config = folder.settle(config)
    return _make_ready(config, _runtime(config), frames).plan


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
    read_strategy(config.strategy)
    if config.out is None:
        config = config.model_copy(update={"out": default_out(config)})
    folder = RunFolder(Path(str(config.out)))
    folder.check(config)
    config = folder.settle(config)
    runtime = _runtime(config)
    ready = _make_ready(config, runtime, frames)
    plan = ready.plan
    size = sum(p.nbytes for p in ready.prepared.split.model.parameters())
    # Two checkpoints with moments and best state stand side by side while one replaces the other.
    require_space(folder.work, 8 * size)
    runtime.wait()
    with told_when_full(folder.out):
        if runtime.is_main:
            folder.open(ready.settings)
        runtime.wait()
        try:
            with logging_to(folder.work / LOG, active=runtime.is_main):
                listener.plan(plan)
                result = _carry_out(ready, folder, listener, began)
        except BaseException as error:
            folder.release()
            if runtime.is_main and isinstance(error, KeyboardInterrupt):
                folder.abandon()
            raise
        if runtime.is_main:
            folder.close()
    runtime.wait()
    return result


def _runtime(config: FitConfig) -> Runtime:
    return Runtime(config.device, config.precision, config.threads)


def _make_ready(config: FitConfig, runtime: Runtime, frames: Frames | None) -> Ready:
    strategy = read_strategy(config.strategy)
    task = find_task(config)
    choices = choose(config, task)
    notes = []
    if config.head and strategy.hands_on_a_head:
        strategy = Strategy(strategy.stages[-1:], str(strategy.stages[-1]))
        notes.append(f"The head is given, so only the last stage runs: {strategy.name}.")
    raise_all(unused_settings(config, strategy))
    require_use(config, strategy)
    prepared = prepare(config, task, choices, frames)
    if config.gradient_checkpointing:
        require_recomputable(prepared.split)
    task = prepared.splits.task
    fingerprint = prepared.split.fingerprint()
    unused = prepared.split.unused_head
    if unused and not config.head:
        notes.append(
            f"The checkpoint's own head is not used; give --head {unused} to start from it."
        )
    if config.head:
        head = Head.from_pretrained(config.head)
        ignore = config.ignore_backbone_mismatch
        head.apply(prepared.split, prepared.splits.label_names, ignore_backbone=ignore)
        if prepared.splits.labels is None:
            mean, scale = prepared.splits.mean, prepared.splits.scale
            rescale_output(prepared.split, -mean / scale, 1 / scale)
    decides = config.select == "best" or any(s.until == "plateau" for s in strategy.stages)
    if config.selection == "carve" and not decides:
        notes.append(
            "--selection carve takes rows from training, though no score selects anything here; "
            "add --select best, or drop it."
        )
    size = sum(p.numel() for p in prepared.split.backbone.values())
    numbers = lengths(
        strategy,
        rows=len(prepared.splits.train),
        batch_size=choices.preset.batch_size,
        epochs=choices.epochs,
        total_epochs=choices.total_epochs,
        share=choices.share,
    )
    stages = plan_stages(strategy, numbers, config, choices.preset, size)
    return Ready(config, task, choices, strategy, runtime, prepared, stages, fingerprint, notes)


def _carry_out(ready: Ready, folder: RunFolder, listener: Listener, began: float) -> RunResult:
    result = _record(ready)
    resumed = _checkpoint(ready, folder, result)
    for warning in result.warnings:
        listener.warning(warning)
    try:
        # Ctrl-C while the result is being saved waits until it is: that takes seconds.
        minutes, steps = ready.config.checkpoint_minutes, ready.config.checkpoint_steps
        with Pauser(minutes, steps) as pauser:
            runner = _train(ready, folder, listener, result, pauser, resumed)
            _finish(ready, runner, result, listener)
            result.seconds = time.perf_counter() - began
            if ready.runtime.is_main:
                save_run(ready, runner, result, folder.work)
    except RunError as error:
        result.status, result.error = "failed", str(error)
        result.seconds = time.perf_counter() - began
        if ready.runtime.is_main:
            replace_text(folder.work / RESULT, result.to_json())
        raise
    return result


def _record(ready: Ready) -> RunResult:
    task, splits, config = ready.task, ready.prepared.splits, ready.config
    return RunResult(
        strategy=ready.strategy.name,
        seed=config.seed,
        task={
            "name": source_name(config, task), "version": task.version, "shape": task.shape,
            "target": task.target, "metrics": list(task.metrics),
            "labels": list(splits.label_names), "max_length": ready.prepared.max_length,
            "spec": task_record(task),
        },
        settings=ready.settings.plain(),
        data=data_record(splits),
        backbone={
            "source": config.model, "fingerprint": ready.fingerprint,
            "parameters": sum(p.numel() for p in ready.prepared.split.backbone.values()),
            "head": ready.choices.head, "head_from": config.head,
        },
        machine=ready.runtime.describe(),
        versions=versions(),
        selected=config.select,
        rule=_rule(config, ready.strategy),
        warnings=[*ready.notes, *splits.warnings],
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


def _rule(config: FitConfig, strategy: Strategy) -> str:
    if config.select == "last":
        rows = "carved rows" if config.selection == "carve" else "validation rows"
        stopped = [stage.trains for stage in strategy.stages if stage.until == "plateau"]
        looked = f"the length of {' and '.join(stopped)} was chosen by the score on the {rows}"
        return f"the state after the last step; {looked if stopped else _UNSEEN}"
    if config.selection == "carve":
        return "the highest score on rows carved from the training rows"
    return "the highest score on the validation rows, the same rows that the score is reported on"


def _train(
    ready: Ready,
    folder: RunFolder,
    listener: Listener,
    result: RunResult,
    pauser: Pauser,
    resumed: Checkpoint | None,
) -> StrategyRunner:
    prepared, config, runtime = ready.prepared, ready.config, ready.runtime
    splits = prepared.splits
    train_labels, labels = prepared.train.labels, prepared.validation.labels
    if train_labels is None or labels is None:
        raise RuntimeError("rows for training carry labels")
    classes = 0 if splits.labels is None else len(splits.label_names)
    materials = Materials(
        prepared.split,
        EncodedFeed(prepared.train, runtime.device),
        EncodedFeed(prepared.validation, runtime.device),
        train_labels,
        Judge(labels, ready.task.metrics, splits.mean, splits.scale),
        max(1, classes),
        chance_loss(train_labels, classes),
    )
    options = stage_options(config, ready.choices, ready.stages)
    if resumed:
        stage, step = resumed[0]["stage"] + 1, resumed[0]["loop"]["step"]
        listener.message(f"Resuming in stage {stage} after step {step}.")

    def save(state: dict[str, Any], tensors: dict[str, torch.Tensor], stop: bool) -> None:
        if runtime.is_main:
            name = f"stage{state['stage'] + 1}-{state['attempt']}-{state['loop']['step']}"
            state = {**state, "origin": _origin(ready, result)}
            save_checkpoint(folder.work / CHECKPOINTS, name, state, tensors)
        if stop:
            raise KeyboardInterrupt

    runner = StrategyRunner(
        ready.strategy, ready.stages, materials, options, runtime, listener, pauser, save
    )
    result.stages = runner.results
    result.guard = runner.guard_notes
    runner.run(resumed)
    result.stages, result.guard = runner.results, runner.guard_notes
    return runner


def _origin(ready: Ready, result: RunResult) -> dict[str, Any]:
    """Return what must be the same when a run is resumed, for its bits to be the same."""
    return {"rows": result.data, "backbone": ready.fingerprint}


def _checkpoint(ready: Ready, folder: RunFolder, result: RunResult) -> Checkpoint | None:
    """Load what a resumed run goes on from, refusing other rows or another backbone."""
    found = load_checkpoint(folder.work / CHECKPOINTS) if ready.config.resume else None
    if found is None:
        return None
    before, now = found[0]["origin"], _origin(ready, result)
    changed = [name for name in now if before[name] != now[name]]
    if changed:
        raise RunError(
            "the rows and the backbone with which the run was started",
            f"another {' and another '.join(changed)}".replace("another rows", "other rows"),
            "Put back what has changed, or start again with --overwrite.",
        )
    return found


def _finish(ready: Ready, runner: StrategyRunner, result: RunResult, listener: Listener) -> None:
    """Put scores and what is suspicious about them into the record."""
    final, splits, told = result.stages[-1], ready.prepared.splits, len(result.warnings)
    result.last, result.best = final.end, final.best
    for stage in result.stages:
        if stage.learned is False and stage.handed_on != "nothing":
            result.warnings.append(f"{stage.stage} ended no better than chance on its rows.")
    if splits.labels is not None:
        guesses = np.unique(runner.last_logits.argmax(axis=1))
        gold = ready.prepared.validation.labels
        if len(guesses) == 1 and gold is not None and len(np.unique(gold)) > 1:
            only = splits.label_names[int(guesses[0])]
            result.warnings.append(f"The model predicts one class only: {only}.")
        elif gold is not None and skill(runner.last_logits, gold) < 0.02:
            result.warnings.append("The model is no better than chance on the validation rows.")
    untouched = ready.prepared.untouched
    if untouched is not None and untouched.labels is not None:
        feed = EncodedFeed(untouched, ready.runtime.device)
        outputs = max(1, len(splits.label_names))
        judge = Judge(untouched.labels, ready.task.metrics, splits.mean, splits.scale)
        logits = predict_logits(ready.prepared.split.model, feed, ready.runtime, outputs)
        result.untouched = judge(logits)
    for warning in result.warnings[told:]:
        listener.warning(warning)
