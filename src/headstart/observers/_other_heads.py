"""Heads from another stage 1: of another seed, another tuner or another task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headstart.config import FitConfig
from headstart.errors import ConfigError
from headstart.observers._heads import Head
from headstart.run import prepare_run
from headstart.steps.callback import Callback
from headstart.steps.model import fresh_head
from headstart.steps.plan import with_settings
from headstart.steps.rows import read_rows
from headstart.steps.settings import decide_hyperparameters, find_task
from headstart.steps.train import stage_runner
from headstart.steps.types import RunSettings, Splits, TrainingPlan
from headstart.tuners._bind import read_strategy

_OF_A_TASK = (
    "task", "data", "train", "validation", "validation_share", "text", "image", "audio", "label",
    "label_columns", "label_separator", "choices", "span", "target", "metrics",
)  # fmt: skip


@dataclass(frozen=True)
class OtherHead:
    """The head of another stage 1, if it learned.

    It is ``None`` where the guard held it back; ``notes`` are what the guard has said of it.
    """

    head: Head | None
    notes: tuple[str, ...]


def head_of_another_run(plan: TrainingPlan, other: Mapping[str, Any]) -> OtherHead:
    """Carry out another stage 1 and take its head.

    ``other`` are settings in which the other run differs; unless they name a task, it has the same
    rows, even with another seed. The model of ``plan`` is left as it was.
    """
    own = settings_of_the_other(plan.config, other)
    if "task" in other:
        source = prepare_run(own, plan.runtime)
    else:
        hyperparameters = decide_hyperparameters(own, plan.task, look=True)
        strategy = read_strategy(own.strategy)
        source = with_settings(plan, RunSettings(own, plan.task, strategy, hyperparameters))
    model = source.model
    before = model.head_state()
    fresh_head(
        model, source.splits, source.preprocessor, source.config.head_init, source.config.seed
    )
    runner = stage_runner(source, Callback())
    runner.run(stages=len(source.stages) - 1)
    model.load_head(before)
    return OtherHead(runner.pretrained_head, tuple(runner.guard_notes))


def settings_of_the_other(config: FitConfig, other: Mapping[str, Any]) -> FitConfig:
    """Return the settings of the run whose stage 1 gives the head."""
    if "task" not in other:
        return config.model_copy(update=dict(other))
    kept = {name: value for name, value in config.plain().items() if name not in _OF_A_TASK}
    return FitConfig.build({**kept, **other})


def require_same_outputs(config: FitConfig, other: Mapping[str, Any]) -> None:
    """Refuse another task whose head would not fit.

    Raises ``ConfigError`` if its head has another number of outputs.
    """
    own, theirs = _splits(config), _splits(settings_of_the_other(config, other))
    if _outputs(own) != _outputs(theirs):
        raise ConfigError(
            f"another task with {_describe_outputs(own)}, as these rows have",
            f"{theirs.task.name} with {_describe_outputs(theirs)}",
            "Name a task that fits by --other-task, or leave it out.",
        )


def _splits(config: FitConfig) -> Splits:
    return read_rows(config, find_task(config))


def _outputs(splits: Splits) -> tuple[str, int, int]:
    target = splits.target
    return target.kind, target.outputs, target.spans


def _describe_outputs(splits: Splits) -> str:
    kind, outputs, spans = _outputs(splits)
    if kind == "choice":
        return "a score for each choice"
    names = ", ".join(splits.kind.names)
    told = f"{outputs} classes ({names})" if names else "a number"
    return f"{told} and {spans} marked words" if spans else told
