"""The task of a run: built in, or made of the user's columns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from headstart.config import FitConfig
from headstart.errors import raise_all
from headstart.tasks.builtin import get_task
from headstart.tasks.metrics import canonical_names, metric_faults
from headstart.tasks.spec import TaskSpec
from headstart.tasks.userfile import from_columns


def find_task(config: FitConfig) -> TaskSpec:
    """Return the task that the settings describe, built in or made of the user's columns.

    Args:
        config: The settings.

    Returns:
        The task; the target of user columns may still be open.
    """
    if config.task:
        task = get_task(config.task)
        if config.label:
            task = replace(task, label=config.label, label_columns=())
        if config.metrics:
            chosen = canonical_names(config.metrics)
            raise_all(metric_faults(chosen, task.target))
            return replace(task, metrics=chosen)
        return task
    return from_columns(
        config.text,
        config.label or "label",
        choices=config.choices,
        span=config.span,
        target=config.target,
        label_columns=config.label_columns,
        label_separator=config.label_separator,
        metrics=config.metrics or None,
    )


def source_name(config: FitConfig, task: TaskSpec) -> str:
    """Return a short name for the data, for folders and cards.

    Args:
        config: The settings.
        task: The task.

    Returns:
        The task's name, or the training file's stem.
    """
    return Path(config.train).stem if config.train and not config.task else task.name
