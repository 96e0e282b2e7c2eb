"""Task, precision and labels of a saved model, as its run's folder records them."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import PositiveInt

from headstart.errors import ConfigError, RunError
from headstart.files.schema import as_record
from headstart.inputs import INPUTS
from headstart.inputs._model import kind_of_model
from headstart.models.checkpoints.source import find_model
from headstart.models.head_choice import Target
from headstart.results import RunResult
from headstart.steps.output.folder import MODEL, RESULT
from headstart.targets._model import kind_of
from headstart.tasks.metrics import DEFAULTS
from headstart.tasks.spec import TaskSpec
from headstart.training.machine.runtime import Runtime

log = logging.getLogger("headstart")
PRECISIONS = ("fp32", "bf16", "fp16")
SPANS_BY_FILE = (
    "Give a task file with spans as --task; `headstart tasks --help` says what it holds."
)


def task_record(task: TaskSpec) -> dict[str, Any]:
    """Return a task as plain data, from which ``saved_task`` makes it again."""
    return asdict(task)


def saved_task(source: str) -> tuple[TaskSpec | None, int | None]:
    """Return by what task a run's model was trained, and its longest input.

    Both come from the record alone, so that they survive the task's file, and the run's move. They
    are ``None`` where no record can be read.
    """
    record = _record(source)
    try:
        about = RunResult.read(record).task if record else None
        if about is None:
            return None, None
        task = as_record(TaskSpec, about["spec"])
        longest = about["max_length"]
        return task, None if longest is None else as_record(PositiveInt, longest)
    except (RunError, KeyError, TypeError, ValueError) as error:
        reason = error.found if isinstance(error, RunError) else f"{record}: no task in it"
        log.warning(
            "The record of the run cannot be read, so its columns and its longest input are not "
            "known; the model is used without it. %s",
            reason,
        )
        return None, None


def saved_precision(source: str) -> str:
    """Return the precision in which a run was evaluated, so that its scores come out again.

    It is ``auto`` where no record says.
    """
    record = _record(source)
    if record is None:
        return "auto"
    try:
        told = RunResult.read(record).machine.get("precision")
    except RunError:
        return "auto"
    return told if isinstance(told, str) and told in PRECISIONS else "auto"


def _record(source: str) -> Path | None:
    """Return the record that stands beside a run's model, if the model is a run's."""
    model = Path(find_model(source)).resolve()
    record = model.parent / RESULT
    return record if model.name == MODEL and record.is_file() else None


def fit_to_model(task: TaskSpec, target: Target) -> TaskSpec:
    """Settle what the saved model knows and the columns alone do not.

    Raises ``ConfigError`` if the model wants other input than the task gives.
    """
    kind, wanted = INPUTS.get(task.shape), kind_of_model(target.kind)
    if kind.model != target.kind:
        raise ConfigError(
            f"a task of {wanted.noun}, as this model reads it",
            f"one of {kind.noun}, shape {task.shape}",
            f"Use another task, or a model for {kind.noun}. {wanted.advice}",
        )
    if target.spans and len(task.spans) != target.spans:
        raise ConfigError(
            f"{target.spans} target spans, which the model's head reads",
            str(len(task.spans) or "none"),
            SPANS_BY_FILE,
        )
    task = replace(task, span_use="vectors" if target.spans else "mark")
    name = kind_of(target.problem_type).name
    metrics = task.metrics if task.target == name else DEFAULTS[name]
    labels = task.labels if target.labels or task.choices else None
    return replace(task, target=name, metrics=metrics, labels=labels)


def saved_runtime(device: str, precision: str, *, asked: bool) -> Runtime:
    """Return a runtime; one of another precision where the machine has not the run's own.

    Where the user has ``asked`` for the precision there is no other. Raises ``ConfigError`` if the
    machine has not what was asked for.
    """
    try:
        return Runtime(device, precision)
    except ConfigError:
        if asked or precision == "auto":
            raise
        own = Runtime(device)
        log.warning("The run was evaluated in %s, here it is %s.", precision, own.precision)
        return own
