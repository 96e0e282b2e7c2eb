"""A run that could start: everything checked, nothing trained or written yet."""

from __future__ import annotations

from dataclasses import dataclass, replace

from headstart.config import FitConfig
from headstart.errors import NotationError, raise_all
from headstart.models.head_init import initialise_head
from headstart.models.headfile import Head
from headstart.models.rescale import rescale_output
from headstart.run.model import Prepared, prepare, require_calibratable
from headstart.run.rows import Frames, find_task
from headstart.run.settings import (
    Choices,
    choose,
    plan_stages,
    require_use,
    resolved,
    total_steps,
    unused_settings,
    with_enough_steps,
)
from headstart.run.stages.types import StagePlan
from headstart.run.summary import Plan, make_plan
from headstart.strategies.plan import lengths
from headstart.strategies.stages import Strategy
from headstart.tasks.spec import TaskSpec
from headstart.techniques import TECHNIQUES
from headstart.training.loader import EncodedFeed
from headstart.training.precision import settle_precision
from headstart.training.recompute import require_recomputable
from headstart.training.runtime import Runtime
from headstart.tuners._bind import read_strategy

_SENTENCE = (
    "linear, on what the checkpoint pools for sentence vectors; loads with headstart or "
    "sentence-transformers (--head-type native: a plain classifier, at a price)"
)


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
            "head": (_SENTENCE if self.choices.sentence else self.choices.head)
            + _start(self.config),
            "device": f"{self.runtime.device}, {self.runtime.precision} ({self.runtime.reason})",
            "threads": str(self.runtime.threads),
            "batch": f"{self.choices.preset.batch_size} rows a step, seed {self.config.seed}",
        }
        if self.config.calibrate:
            rows = self.prepared.splits.validation
            both = "" if self.prepared.splits.untouched else ", which also carry the scores"
            facts["calibration"] = f"a temperature, fitted on {len(rows):,} held-out rows{both}"
        last = self.stages[-1]
        if self.choices.epochs > self.choices.preset.epochs and not last.stage.has_length:
            few = f"{self.choices.preset.epochs:g} would be few steps for so few rows"
            facts["length"] = f"{self.choices.epochs:g} epochs of fine-tuning: {few}"
        total = total_steps(self.choices, self.stages)
        if total and any(plan.length.until != "end" for plan in self.stages[:-1]):
            facts["budget"] = f"{total:,} steps in all; the last stage takes what is left"
        return make_plan(self.strategy.name, self.stages, self.prepared, facts, self.notes)


def make_ready(config: FitConfig, runtime: Runtime, frames: Frames | None = None) -> Ready:
    """Check everything about a run and load what it needs.

    Args:
        config: The settings.
        runtime: Device and precision.
        frames: Rows that are already there, by split.

    Returns:
        What can start.

    Raises:
        HeadstartError: If the input is at fault.
    """
    strategy = read_strategy(config.strategy)
    task = find_task(config)
    choices = choose(config, task, look=True)
    notes = []
    if config.takes_whole_head and strategy.hands_on_a_head:
        strategy = Strategy(strategy.stages[-1:], str(strategy.stages[-1]))
        notes.append(f"The head is given, so only the last stage runs: {strategy.name}.")
    raise_all(unused_settings(config, strategy))
    require_use(config, strategy)
    prepared = prepare(config, task, choices, frames)
    if config.gradient_checkpointing:
        require_recomputable(prepared.split)
    if config.calibrate:
        require_calibratable(config, prepared)
    task = prepared.splits.task
    choices = with_enough_steps(choices, config, len(prepared.splits.train))
    fingerprint = prepared.split.fingerprint()
    unused = prepared.split.unused_head
    if unused and not config.head:
        notes.append(
            f"The checkpoint's own head is not used; give --head {unused} to start from it."
        )
    _start_head(config, prepared)
    decides = config.select == "best" or any(s.until == "plateau" for s in strategy.stages)
    if config.selection == "carve" and not (decides or config.calibrate):
        notes.append(
            "--selection carve takes rows from training, though no score selects anything here; "
            "add --select best or --calibrate, or drop it."
        )
    feeds = [EncodedFeed(rows, runtime.device) for rows in (prepared.train, prepared.validation)]
    if slower := settle_precision(prepared.split, feeds, runtime):
        notes.append(slower)
    stages = _stages(config, choices, strategy, prepared)
    return Ready(config, task, choices, strategy, runtime, prepared, stages, fingerprint, notes)


def _start_head(config: FitConfig, prepared: Prepared) -> None:
    """Put what the user gave for the head onto the one that was drawn."""
    split, splits, ignore = prepared.split, prepared.splits, config.ignore_backbone_mismatch
    head = Head.from_pretrained(config.head) if config.head else None
    if head is not None and config.takes_whole_head:
        head.apply(split, splits.label_names, ignore_backbone=ignore)
        if splits.labels is None:
            rescale_output(split, -splits.mean / splits.scale, 1 / splits.scale)
        return
    if head is not None:
        head.apply_hidden(split, splits.target.outputs, ignore_backbone=ignore)
    # After the hidden layers, which label names go through.
    initialise_head(split, config.head_init, splits.target, prepared.tokenizer)


def _start(config: FitConfig) -> str:
    """Say where the head starts, behind its kind."""
    part = "" if config.head_part == "all" else ", but for its last map"
    given = f", from {config.head}{part}" if config.head else ""
    init = {"normal": "", "zero": ", starting at zero", "labels": ", starting from the label names"}
    return given + init[config.head_init]


def with_settings(ready: Ready, config: FitConfig) -> Ready:
    """Plan other training on the rows and the model that a run has.

    Args:
        ready: The run.
        config: Its settings, changed in seed, strategy or rates. Another seed does not draw the
            rows and the head again.

    Returns:
        What can start; it shares the model.
    """
    strategy, rows = read_strategy(config.strategy), len(ready.prepared.splits.train)
    choices = with_enough_steps(choose(config, ready.task, look=True), config, rows)
    stages = _stages(config, choices, strategy, ready.prepared)
    return replace(ready, config=config, choices=choices, strategy=strategy, stages=stages)


def _stages(
    config: FitConfig, choices: Choices, strategy: Strategy, prepared: Prepared
) -> tuple[StagePlan, ...]:
    if prepared.splits.labels is None:
        _require_numbers(config.strategy)
    numbers = lengths(
        strategy,
        rows=len(prepared.splits.train),
        batch_size=choices.preset.batch_size,
        epochs=choices.epochs,
        total_epochs=choices.total_epochs,
        share=choices.share,
    )
    size = sum(p.numel() for p in prepared.split.backbone.values())
    return plan_stages(strategy, numbers, config, choices.preset, size)


def _require_numbers(line: str) -> None:
    """Refuse techniques that have a meaning for classes only.

    Args:
        line: The strategy line of a run whose target is a number.

    Raises:
        HeadstartError: If there are any; each points at its place.
    """
    raise_all(
        NotationError(
            line, *addition.place, "a technique that has a meaning for numbers", addition.name,
            "It changes or compares the probabilities of classes, and the target is a number; "
            "drop it, or make the target classes.",
        )
        for stage in read_strategy(line).stages
        for addition in stage.techniques
        if TECHNIQUES.get(addition.name).classes
    )  # fmt: skip
