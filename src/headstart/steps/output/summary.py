"""A run's plan for people: tables and facts, shown before anything trains."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.config import FitConfig
from headstart.models.backbone import ParameterCount
from headstart.models.headfile import describe_pooling
from headstart.results import show_rate
from headstart.steps.stages.plan import total_steps
from headstart.steps.stages.types import StagePlan
from headstart.steps.types import TrainingPlan, gold_labels

_SENTENCE = (
    "linear, on what the checkpoint pools for sentence vectors; loads with headstart or "
    "sentence-transformers (--head-type native: a plain classifier, at a price)"
)


@dataclass(frozen=True)
class PlanSummary:
    """A run's plan as tables and facts.

    ``facts`` are all else worth knowing beforehand, ``notes`` what was decided and may surprise,
    ``warnings`` what was found and may spoil the result.
    """

    strategy: str
    stages: tuple[StagePlan, ...]
    counts: tuple[ParameterCount, ...]
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, ...]]:
        """Return one row a stage: stage, steps, ends, rate, head rate, trainable, frozen."""
        return [
            (
                str(plan.stage),
                plan.length.shown,
                plan.length.until,
                *_rates(plan, count),
                f"{count.tuner:,} + {count.head:,}",
                f"{count.frozen:,}",
            )
            for plan, count in zip(self.stages, self.counts, strict=True)
        ]

    def lines(self) -> list[str]:
        """Return the plan as plain text."""
        head = "stage | steps | until | lr | head lr | trainable (tuner + head) | frozen"
        return [
            f"strategy: {self.strategy}",
            *(f"{name}: {value}" for name, value in self.facts),
            head,
            *(" | ".join(row) for row in self.rows()),
            *(f"note: {note}" for note in self.notes),
        ]


def _rates(plan: StagePlan, count: ParameterCount) -> tuple[str, str]:
    """Return the learning rates for a table; a head fitted to its optimum has none."""
    rates = (None, None) if plan.length.until == "optimum" else plan.rates(count)
    return show_rate(rates[0]), show_rate(rates[1])


def summarise(plan: TrainingPlan) -> PlanSummary:
    """Describe model, data and stages."""
    config, numbers, stages = plan.config, plan.hyperparameters, plan.stages
    size = sum(p.numel() for p in plan.model.backbone.values())
    facts = {
        "task": f"{plan.task.name} ({plan.task.shape}, {plan.task.target})",
        "model": f"{config.model}, {size:,} backbone parameters",
        "head": (_SENTENCE if numbers.sentence else numbers.head) + _describe_start(config),
        "device": f"{plan.runtime.device}, {plan.runtime.precision} ({plan.runtime.reason})",
        "threads": str(plan.runtime.threads),
        "batch": f"{numbers.preset.batch_size} rows a step, seed {config.seed}",
    }
    if config.calibrate:
        rows = plan.splits.validation
        both = "" if plan.splits.untouched else ", which also carry the scores"
        facts["calibration"] = f"a temperature, fitted on {len(rows):,} held-out rows{both}"
    if config.tune_threshold:
        rows = plan.splits.validation
        facts["threshold"] = f"chosen by the score on {len(rows):,} held-out rows"
    main = stages[plan.strategy.main]
    told = config.epochs or main.stage.has_length or main.length.until == "optimum"
    if numbers.epochs > numbers.preset.epochs and not told:
        few = f"{numbers.preset.epochs:g} would be few steps for so few rows"
        facts["length"] = f"{numbers.epochs:g} epochs of fine-tuning: {few}"
    total = total_steps(numbers, stages)
    if total and any(stage.length.until != "end" for stage in stages[: plan.strategy.main]):
        facts["budget"] = f"{total:,} steps in all; fine-tuning takes what is left"
    facts |= {**_data_facts(plan), "head input": describe_pooling(plan.model)}
    return PlanSummary(
        plan.strategy.name,
        stages,
        plan.counts,
        tuple(facts.items()),
        tuple(plan.told),
        plan.warnings,
    )


def _describe_start(config: FitConfig) -> str:
    """Describe how the head is initialised, behind its kind."""
    part = "" if config.head_part == "all" else ", but for its last map"
    given = f", from {config.head}{part}" if config.head else ""
    init = {"normal": "", "zero": ", starting at zero", "labels": ", starting from the label names"}
    return given + init[config.head_init]


def _data_facts(plan: TrainingPlan) -> dict[str, str]:
    splits = plan.splits
    facts = {
        "rows": f"{len(splits.train):,} training, {len(splits.validation):,} validation "
        f"({splits.origin})"
        + (f", {len(splits.untouched):,} for the final score" if splits.untouched else ""),
        **plan.preprocessor.facts(plan.encoded.by_name()),
        **splits.kind.describe(gold_labels(splits.train)),
    }
    facts["metrics"] = " + ".join(splits.task.metrics)
    return facts
