"""What the folder of a run says of its model, beside the model itself."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from headstart.errors import ConfigError, RunError
from headstart.models.folders import PARTIAL
from headstart.models.loading import Target
from headstart.models.source import at_home, find_model
from headstart.results import RunResult
from headstart.run.folder import MODEL, RESULT
from headstart.tasks.metrics import default_metrics
from headstart.tasks.spec import TaskSpec

log = logging.getLogger("headstart")


def task_record(task: TaskSpec) -> dict[str, Any]:
    """Return a task as plain data, from which ``saved_task`` makes it again.

    Args:
        task: The task, its target and metrics decided.

    Returns:
        Its fields by name.
    """
    return asdict(task)


def saved_task(source: str) -> tuple[TaskSpec | None, int | None]:
    """Return by what task a run's model was trained, and its longest input.

    Both come from the record alone, so that they survive the task's file, and the run's move.

    Args:
        source: A run, its model folder, or another model.

    Returns:
        The task and a number of tokens; ``None`` for both where no record can be read.
    """
    record = _record(source)
    try:
        about = RunResult.read(record).task if record else None
        if about is None:
            return None, None
        task = TypeAdapter(TaskSpec).validate_python(about["spec"])
        return task, int(about["max_length"])
    except (RunError, KeyError, TypeError, ValidationError) as error:
        reason = error.found if isinstance(error, RunError) else f"{record}: no task in it"
        log.warning(
            "The record of the run cannot be read, so its columns and its longest input are not "
            "known; the model is used without it. %s",
            reason,
        )
        return None, None


def saved_precision(source: str) -> str:
    """Return the precision in which a run was evaluated, so that its scores come out again.

    Args:
        source: A run, its model folder, or another model.

    Returns:
        ``fp32``, ``bf16`` or ``fp16``; ``auto`` where no record says.
    """
    record = _record(source)
    if record is None:
        return "auto"
    try:
        return str(RunResult.read(record).machine["precision"])
    except (RunError, KeyError):
        return "auto"


def _record(source: str) -> Path | None:
    """Return the record that stands beside a run's model, if the model is a run's."""
    model = Path(find_model(source)).resolve()
    record = model.parent / RESULT
    return record if model.name == MODEL and record.is_file() else None


def fit_to_model(task: TaskSpec, target: Target) -> TaskSpec:
    """Settle what the saved model knows and the columns alone do not.

    Args:
        task: How the rows are read.
        target: What the model predicts.

    Returns:
        The task with the model's kind of target.

    Raises:
        ConfigError: If the model wants other input than the task gives.
    """
    if (task.shape == "choice") != (target.kind == "choice"):
        wants = target.kind == "choice"
        raise ConfigError(
            "candidates for a multiple-choice model" if wants else "no choice columns",
            f"a task of shape {task.shape}" if wants else "a model that gives each text its class",
            "Describe the rows in a task file with the key choices, and give it as --task."
            if wants
            else "Give the columns of the text alone.",
        )
    if target.spans and len(task.spans) != target.spans:
        raise ConfigError(
            f"{target.spans} target spans, which the model's head reads",
            str(len(task.spans) or "none"),
            "Describe them in a task file with the key spans, and give it as --task.",
        )
    task = replace(task, span_use="vectors" if target.spans else "mark")
    if target.labels or target.kind == "choice":
        return replace(task, target="classes")
    metrics = task.metrics if task.target == "number" else default_metrics("number")
    return replace(task, target="number", metrics=metrics, labels=None)


def require_finished(source: str) -> None:
    """Refuse the folder of a run that has not finished, and what is inside it.

    Args:
        source: What the user calls the model.

    Raises:
        RunError: If the run has not finished.
    """
    path = Path(at_home(source)).absolute()
    for folder in (path, path.parent):
        if folder.name.endswith(PARTIAL) and folder.is_dir():
            out = str(folder).removesuffix(PARTIAL)
            reason = _failure(folder)
            if reason:
                raise RunError(
                    "a finished run",
                    f"{folder}, a run that failed: {reason}",
                    f"Fit again with other settings: headstart fit --overwrite --out {out} …",
                )
            raise RunError(
                "a finished run",
                f"{folder}, a run that has not finished",
                f"Go on with it: headstart fit --resume --out {out}",
            )


def _failure(folder: Path) -> str:
    """Return why a run failed, empty if it did not."""
    try:
        record = RunResult.read(folder / RESULT)
    except RunError:
        return ""
    return (record.error or "without a reason").rstrip(".") if record.status == "failed" else ""
