"""Rank: whether the score depends on LoRA's rank in stage 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.analysis._base import Analysis, Case, Option, Side, Variant
from headstart.analysis._options import FULL, Rule, before_full, read_numbers
from headstart.analysis.shared.scores import (
    CaseFindings,
    Line,
    by_case,
    difference_values,
    mean_of,
    mean_steps_before,
    plain,
    plain_values,
    score_figure,
    score_table,
    steps_before,
)
from headstart.analysis.shared.verdicts import (
    Verdict,
    against,
    score,
    seeds_for,
    verdict,
)
from headstart.errors import HeadstartError, raise_all
from headstart.report.figures import Figure
from headstart.strategies.stages import Stage
from headstart.study.outcome.comparison import Found, compare, corrected
from headstart.study.outcome.tables import short_name

SCALE = 2
"""alpha / r, as in the runs of the paper (alpha 16, r 8) and in LoRA's own defaults here.

The change of a weight is ``alpha / r * B A``. Were alpha the same for all ranks, rank 1 would be
scaled 32 times as much as rank 32, and what is taken for an effect of the rank would be one of the
scale, which acts like a learning rate.
"""
RULE = Rule("--ranks", "whole numbers from 1 up", lambda r: r >= 1, "1,2,4,8", whole=True)
DEFAULT = "1,2,4,8,16,32"

HOW = (
    f"alpha is {SCALE} r, so that the change, which is multiplied by alpha / r, has the same "
    "scale at every rank. Stage 1 ends when its head has learned, which may take other numbers "
    "of steps at other ranks. The score for each doubling is the slope of a straight line "
    "through the scores of a seed over log2 of the rank, then the mean over the seeds."
)
"""What one must know to read the page."""


def variants(options: Mapping[str, Any]) -> list[Variant]:
    """Compare ranks, beside plain fine-tuning."""
    faults: list[HeadstartError] = []
    ranks = read_numbers(options["ranks"], RULE, faults)
    raise_all(faults)
    made = [Variant(FULL, short_name(FULL), facts={"plain": True})]
    for rank in map(int, ranks):
        line = before_full(Stage("lora", knobs={"r": rank, "alpha": SCALE * rank}))
        made.append(Variant(line, f"rank {rank}", facts={"rank": rank}))
    return made


def _case_findings(number: int, name: str, case: Case) -> CaseFindings:
    base, ranked = plain(case), _ranked(case)
    trend, with_plain = _trend(ranked), against(ranked, base)
    rising = verdict(trend, "raises the score", "lowers the score")
    beside = verdict(with_plain, "scores higher", "scores lower")
    sentences = [
        f"{name}: {_trend_sentence(rising)}.",
        f"{name}: against plain fine-tuning, {beside.text}.",
    ]
    table = score_table(
        f"{name}: scores by LoRA's rank in stage 1, and differences from {base.variant.name} in "
        "points", case.sides, with_plain,
        [(">numbers that train in stage 1", _trained), (">steps of stage 1", mean_steps_before)],
    )  # fmt: skip
    slope = difference_values(trend[0].comparison) if trend else None
    values = [
        plain_values(name, side, with_plain, rank=side.variant.facts.get("rank"),
                     stage_1_steps=mean_of(side, steps_before), per_doubling=slope)
        for side in case.finished
    ]  # fmt: skip
    figure = _figure(number, name, case, f"Each doubling of the rank: {rising.text}.")
    return CaseFindings([rising, beside], sentences, [table], [figure], values)


def _ranked(case: Case) -> list[Side]:
    return [side for side in case.finished if "rank" in side.variant.facts]


def _trend(sides: Sequence[Side]) -> list[Found]:
    """Compare each seed's slope over log2 of the rank with none, over the seeds of all ranks."""
    if len(sides) < 2:
        return []
    seeds = sorted(set.intersection(*(set(side.runs) for side in sides)))
    places = np.log2([side.variant.facts["rank"] for side in sides])
    slopes = [
        float(np.polyfit(places, [score(side.runs[seed]) for side in sides], 1)[0])
        for seed in seeds
    ]
    # Rounded: where all scores are equal, the fit leaves nothing but its errors.
    comparison = compare([round(slope, 12) for slope in slopes], [0.0] * len(slopes))
    return corrected({"each doubling of the rank": comparison} if comparison else {})


def _trend_sentence(found: Verdict) -> str:
    if found.certain:
        return f"the rank matters: {found.text}"
    return f"it is not certain that the rank matters: {found.text}"


def _trained(side: Side) -> str:
    run = next(iter(side.runs.values()))
    first = run.result.stages[:-1]
    return f"{first[0].trainable.get('tuner', 0):,}" if first else "-"


def _figure(number: int, name: str, case: Case, caption: str) -> Figure:
    ranked = [(side.variant.facts["rank"], side) for side in _ranked(case)]
    ticks = {rank: str(rank) for rank, _ in ranked}
    return score_figure(
        (f"rank-{number}", name), [Line("LoRA in stage 1, then full", ranked, "as rank")],
        "rank (logarithmic)", level=plain(case), ticks=ticks, caption=caption, type="log",
    )  # fmt: skip


ANALYSIS = Analysis(
    title="LoRA's rank in stage 1",
    question="Does the score depend on LoRA's rank in stage 1?",
    variants=variants,
    findings=by_case(_case_findings, HOW),
    options=(Option("ranks", DEFAULT, "Ranks, split at commas; alpha is twice the rank.", "N,N"),),
    seeds=seeds_for(len(DEFAULT.split(","))),
    settings={"guard": False},
    example="--task rte --data rte/ --model roberta-base --ranks 2,8,32 --out studies/rank",
)
