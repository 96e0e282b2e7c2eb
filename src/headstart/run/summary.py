"""What a run is going to do, told before it does it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.models.backbone import ParameterCount, SplitModel
from headstart.models.headfile import describe_pooling
from headstart.run.model import Prepared
from headstart.run.stages.types import StagePlan
from headstart.tuners._bind import bind, bind_techniques
from headstart.untrusted import shown


@dataclass(frozen=True)
class Plan:
    """A run's plan.

    Args:
        strategy: The canonical line.
        stages: Its stages, decided.
        counts: Trainable and frozen numbers, one for each stage.
        facts: Everything else worth knowing beforehand, as (name, value).
        notes: What was decided or found and may surprise.
    """

    strategy: str
    stages: tuple[StagePlan, ...]
    counts: tuple[ParameterCount, ...]
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, ...]]:
        """Return one row a stage: stage, steps, ends, rate, head rate, trainable, frozen."""
        return [
            (
                str(plan.stage),
                plan.length.shown,
                plan.length.until,
                *_rates(plan),
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
        ]


def _rates(plan: StagePlan) -> tuple[str, str]:
    """Return the learning rates for a table; a head fitted to its optimum has none."""
    if plan.length.until == "optimum":
        return "none", "none"
    return f"{plan.optimizer.lr:g}", f"{plan.optimizer.head_lr:g}"


def make_plan(
    strategy: str,
    stages: tuple[StagePlan, ...],
    prepared: Prepared,
    facts: dict[str, str],
    notes: list[str],
) -> Plan:
    """Count parameters and describe the data.

    Args:
        strategy: The canonical line.
        stages: Its stages, decided.
        prepared: Rows, model, tokens.
        facts: Facts that go first, by name.
        notes: What was decided and may surprise.

    Returns:
        The plan. The model is left as it was.
    """
    counts = tuple(_count(prepared.split, plan, last=plan is stages[-1]) for plan in stages)
    told = {**facts, **_data_facts(prepared), "head input": describe_pooling(prepared.split)}
    found = (*notes, *prepared.splits.warnings)
    return Plan(strategy, stages, counts, tuple(told.items()), found)


def _count(split: SplitModel, plan: StagePlan, *, last: bool) -> ParameterCount:
    for technique in bind_techniques(plan.stage):
        technique.check(split)
    tuner = bind(plan.stage)
    count = split.train_only(tuner.attach(split, reversible=tuner.installs))
    try:
        if last or plan.stage.reserve:
            tuner.require_merge(split)
    finally:
        if tuner.installs:
            tuner.detach(split)
    return count


def _data_facts(prepared: Prepared) -> dict[str, str]:
    splits, train = prepared.splits, prepared.train
    facts = {
        "rows": f"{len(splits.train):,} training, {len(splits.validation):,} validation "
        f"({splits.origin})"
        + (f", {len(splits.untouched):,} for the final score" if splits.untouched else ""),
        "tokens a row": f"median {np.median(train.lengths):.0f}, "
        f"95 % {np.percentile(train.lengths, 95):.0f}, longest {train.lengths.max()}, "
        f"cut at {prepared.max_length}",
        "rows cut": f"{int(train.truncated.sum()):,} training, "
        f"{int(prepared.validation.truncated.sum()):,} validation",
    }
    if splits.labels is None:
        facts["target"] = f"a number, mean {splits.mean:g}, sd {splits.scale:g}"
    else:
        names = splits.label_names
        facts["labels"] = ", ".join(f"{i} = {shown(name)}" for i, name in enumerate(names))
        counts = np.bincount(splits.train.labels, minlength=len(names))  # type: ignore[arg-type]
        shares = counts / max(1, counts.sum())
        facts["class balance"] = ", ".join(
            f"{shown(name)} {count:,} ({share:.0%})"
            for name, count, share in zip(names, counts, shares, strict=True)
        )
    facts["metrics"] = " + ".join(splits.task.metrics)
    return facts
