"""Reserve: whether what a tuner has learned in stage 1 should be dropped or kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.analysis._base import Analysis, Case, Option, Variant
from headstart.analysis._options import FULL, before_full, read_stages
from headstart.analysis.shared.scores import (
    CaseFindings,
    Line,
    by_case,
    difference_table,
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
    Pair,
    against,
    differences,
    seeds_for,
    verdict,
)
from headstart.errors import ConfigError, HeadstartError, raise_all
from headstart.report.figures import Figure, label
from headstart.study.outcome.comparison import Found
from headstart.study.outcome.tables import short_name
from headstart.tuners import TUNERS

KEPT, DROPPED = ">>", ">"

HOW = (
    "Both ways share stage 1: with the same seed its steps are the same ones. '>' goes back to "
    "the pretrained backbone and keeps the head, '>>' goes on from the tuned backbone."
)
"""What one must know to read the page."""


def variants(options: Mapping[str, Any]) -> list[Variant]:
    """Compare both ways of handing on for each tuner, beside plain fine-tuning."""
    from headstart.tuners._bind import bind  # imports torch

    faults: list[HeadstartError] = []
    stages = read_stages(options["tuners"], faults, DROPPED)
    faults += [
        ConfigError("tuners that can be kept, for --tuners", str(stage), reason)
        for stage in stages if (reason := bind(stage).no_merge)
    ]  # fmt: skip
    faults += [
        ConfigError("tuners that change the backbone, for --tuners", str(stage),
                    "Drop it: beside the head it has nothing to keep.")
        for stage in stages if TUNERS.get(stage.trains).frozen_features
    ]  # fmt: skip
    raise_all(faults)
    made = [Variant(FULL, short_name(FULL), facts={"plain": True})]
    for stage in stages:
        for arrow in (DROPPED, KEPT):
            line = before_full(stage, reserve=arrow == KEPT)
            facts = {"tuner": str(stage), "arrow": arrow}
            made.append(Variant(line, short_name(line), facts=facts))
    return made


def _case_findings(number: int, name: str, case: Case) -> CaseFindings:
    base = plain(case)
    kept_or_not = differences(_pairs(case))
    with_plain = against([side for side in case.finished if side is not base], base)
    said = verdict(kept_or_not, "scores higher kept than dropped", "scores lower kept")
    beside = verdict(with_plain, "scores higher", "scores lower")
    sentences = [
        f"{name}: kept minus dropped, {said.text}.",
        f"{name}: against plain fine-tuning, {beside.text}.",
    ]
    tables = [
        difference_table(f"{name}: tuner kept minus tuner dropped, in points", kept_or_not),
        score_table(
            f"{name}: scores, and differences from {base.variant.name} in points",
            case.sides, with_plain, [(">steps of stage 1", mean_steps_before)],
        ),
    ]  # fmt: skip
    figure = _figure(number, name, case, f"Kept minus dropped: {said.text}.")
    return CaseFindings(
        [said], sentences, tables, [figure], _values(name, case, kept_or_not, with_plain)
    )


def _pairs(case: Case) -> list[Pair]:
    by_way = {(s.variant.facts.get("tuner"), s.variant.facts.get("arrow")): s for s in case.sides}
    return [
        Pair(tuner, by_way[tuner, KEPT], by_way[tuner, DROPPED])
        for tuner in dict.fromkeys(str(t) for t, arrow in by_way if arrow)
    ]


def _figure(number: int, name: str, case: Case, caption: str) -> Figure:
    pairs = _pairs(case)
    lines = [
        Line("tuner dropped (>)", [(i - 0.1, pair.theirs) for i, pair in enumerate(pairs)]),
        Line("tuner kept (>>)", [(i + 0.1, pair.ours) for i, pair in enumerate(pairs)]),
    ]
    figure = score_figure(
        (f"reserve-{number}", name), lines, "tuner of stage 1", level=plain(case),
        ticks={i: label(pair.name) for i, pair in enumerate(pairs)}, caption=caption,
        range=[-0.5, len(pairs) - 0.5],
    )  # fmt: skip
    tuners = [label(pair.name) for pair in pairs]
    figure.data[:] = [_marked(t, tuners) if "markers" in t["mode"] else t for t in figure.data]
    return figure


def _marked(trace: Mapping[str, Any], tuners: Sequence[str]) -> dict[str, Any]:
    """Return a trace without a line; its places are no numbers to be told, but tuners."""
    told = [
        f"{trace['name']}<br>{tuners[round(at)]}: {mean:.1f}"
        for at, mean in zip(trace["x"], trace["y"], strict=True)
    ]
    return {**trace, "mode": "markers", "hovertext": told}


def _values(
    name: str, case: Case, kept_or_not: Sequence[Found], with_plain: Sequence[Found]
) -> list[dict[str, Any]]:
    between = {each.name: difference_values(each.comparison) for each in kept_or_not}
    return [
        plain_values(
            name, side, with_plain, stage_1_steps=mean_of(side, steps_before),
            kept_minus_dropped=between.get(side.variant.facts.get("tuner", "")),
        )
        for side in case.finished
    ]  # fmt: skip


ANALYSIS = Analysis(
    title="Tuner dropped or kept",
    question="Should stage 2 start from the pretrained backbone, or from the one that stage 1 has "
    "tuned?",
    variants=variants,
    findings=by_case(_case_findings, HOW),
    options=(
        Option("tuners", "bitfit,lora", "Tuners of stage 1, split at commas; lora(r=4) will do."),
    ),
    seeds=seeds_for(2),
    settings={"guard": False},
    example="--task rte --data rte/ --model roberta-base --out studies/reserve",
)
