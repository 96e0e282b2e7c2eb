"""Step 5: the stages trained, with checkpoints from which an interrupted run goes on."""

from __future__ import annotations

from typing import Any

import torch

from headstart.errors import RunError
from headstart.results import RunResult
from headstart.steps.callback import Callback
from headstart.steps.output.folder import CHECKPOINTS, RunFolder
from headstart.steps.stages.interrupt import Pauser
from headstart.steps.stages.plan import stage_options
from headstart.steps.stages.runner import StrategyRunner
from headstart.steps.stages.types import TrainingData
from headstart.steps.types import TrainingPlan, data_record, gold_labels
from headstart.training.checkpoint import load_checkpoint, save_checkpoint
from headstart.training.evaluate import Judge
from headstart.training.loader import ExamplesLoader


def stage_runner(plan: TrainingPlan, callback: Callback) -> StrategyRunner:
    """Make the runner of a run's stages."""
    kind, encoded, runtime = plan.splits.kind, plan.encoded, plan.runtime
    labels = encoded.train.labels
    if labels is None:
        raise RuntimeError("rows for training carry labels")
    data = TrainingData(
        plan.model,
        ExamplesLoader(encoded.train, runtime.device),
        ExamplesLoader(encoded.validation, runtime.device),
        labels,
        Judge(kind, gold_labels(encoded.validation), plan.task.metrics, plan.config.tune_threshold),
        plan.pristine,
    )
    options = stage_options(plan.config, plan.hyperparameters, plan.stages)
    return StrategyRunner(plan.strategy, plan.stages, data, options, runtime, callback)


def train(
    runner: StrategyRunner,
    result: RunResult,
    resumed: tuple[dict[str, Any], dict[str, torch.Tensor]] | None = None,
) -> None:
    """Train the stages; the record holds those that are done even after an error."""
    result.stages, result.guard = runner.results, runner.guard_notes
    runner.run(resumed)


def train_with_checkpoints(
    plan: TrainingPlan, folder: RunFolder, callback: Callback, result: RunResult, pauser: Pauser
) -> StrategyRunner:
    """Train the stages; go on from a checkpoint where the run is resumed, and write others.

    The record holds the stages that are done even after an error; ``pauser`` says when a checkpoint
    is due, and when the user wants to stop. Raises ``RunError`` if the checkpoint is about other
    rows or another backbone, and ``KeyboardInterrupt`` if the user interrupts; a checkpoint is then
    written first.
    """
    origin = {"rows": data_record(plan.splits), "backbone": plan.fingerprint}
    resumed = load_checkpoint(folder.work / CHECKPOINTS) if plan.config.resume else None
    if resumed:
        _require_same(resumed[0]["origin"], origin)
    for warning in result.warnings:
        callback.warning(warning)
    if resumed:
        stage, step = resumed[0]["stage"] + 1, resumed[0]["loop"]["step"]
        callback.message(f"Resuming in stage {stage} after step {step}.")

    def save(state: dict[str, Any], tensors: dict[str, torch.Tensor], stop: bool) -> None:
        if plan.runtime.is_main:
            name = f"stage{state['stage'] + 1}-{state['attempt']}-{state['loop']['step']}"
            save_checkpoint(folder.work / CHECKPOINTS, name, {**state, "origin": origin}, tensors)
        if stop:
            raise KeyboardInterrupt

    runner = stage_runner(plan, callback)
    runner.pause, runner.save = pauser, save
    train(runner, result, resumed)
    return runner


def _require_same(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with other rows or another backbone: the bits would be others."""
    changed = [name for name in now if before[name] != now[name]]
    if changed:
        raise RunError(
            "the rows and the backbone with which the run was started",
            f"another {' and another '.join(changed)}".replace("another rows", "other rows"),
            "Put back what has changed, or start again with --overwrite.",
        )
