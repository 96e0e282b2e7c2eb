"""From a run that could start to one that has trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from headstart.results import RunResult
from headstart.run.callback import Listener
from headstart.run.model import pristine_backbone
from headstart.run.plan import Ready
from headstart.run.settings import stage_options
from headstart.run.stages.runner import Save, StrategyRunner
from headstart.run.stages.types import Materials
from headstart.training.evaluate import Judge
from headstart.training.loader import EncodedFeed
from headstart.training.step_reports import Pause
from headstart.training.stopping import chance_loss


def never() -> int:
    """Ask for no pause."""
    return Pause.NO


def nowhere(state: dict[str, Any], tensors: dict[str, torch.Tensor], stop: bool) -> None:
    """Save no checkpoint."""


def stage_runner(
    ready: Ready, listener: Listener, pause: Callable[[], int] = never, save: Save = nowhere
) -> StrategyRunner:
    """Put together what trains the stages of a run.

    Args:
        ready: The run.
        listener: Hears what happens.
        pause: Asked in each step, gives a ``Pause``.
        save: Writes a checkpoint.

    Returns:
        The runner; nothing has trained yet.
    """
    prepared, runtime = ready.prepared, ready.runtime
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
        lambda: pristine_backbone(ready.config, ready.choices, prepared),
    )
    options = stage_options(ready.config, ready.choices, ready.stages)
    return StrategyRunner(
        ready.strategy, ready.stages, materials, options, runtime, listener, pause, save
    )


def train(
    runner: StrategyRunner,
    result: RunResult,
    resumed: tuple[dict[str, Any], dict[str, torch.Tensor]] | None = None,
) -> None:
    """Train the stages; the record holds those that are done even after an error.

    Args:
        runner: From ``stage_runner``.
        result: The record.
        resumed: A checkpoint to go on from.
    """
    result.stages, result.guard = runner.results, runner.guard_notes
    runner.run(resumed)
    result.stages, result.guard = runner.results, runner.guard_notes
