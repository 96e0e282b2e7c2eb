"""Share: how much of training stage 1 should take, with the total fixed and with stage 2 fixed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from headstart.analysis._base import Analysis, Case, Option, Side, Variant
from headstart.analysis._options import (
    FULL,
    Rule,
    before_full,
    read_numbers,
    read_open_stage,
)
from headstart.analysis.shared.scores import (
    CaseFindings,
    Line,
    by_case,
    mean_of,
    mean_steps_before,
    plain,
    plain_values,
    score_figure,
    score_table,
    steps_before,
)
from headstart.analysis.shared.verdicts import Verdict, against, seeds_for, verdict
from headstart.errors import ConfigError, HeadstartError, raise_all
from headstart.report.curves import kept
from headstart.report.figures import Figure
from headstart.report.read import Run
from headstart.study.outcome.tables import short_name

RULE = Rule("--shares", "numbers from 0 to below 1", lambda share: 0 <= share < 1, "0,0.1,0.5")
DEFAULT = "0,0.1,0.25,0.5,0.75,0.9"
TOTAL, SECOND = "total fixed", "stage 2 fixed"

HOW = (
    "Total fixed: stage 1 takes its share of the steps and leaves the rest to stage 2. Stage 2 "
    "fixed: stage 1 is as long, and comes on top of all the epochs. Both run to their end: "
    "neither a head that has learned nor the guard ends stage 1."
)
"""What one must know to read the page."""


def variants(options: Mapping[str, Any]) -> list[Variant]:
    """Compare shares of stage 1, each with the total fixed and with stage 2 fixed.

    A stage that carries a length runs all of it, and a share divides the epochs that fine-tuning
    would take otherwise, to the step. With stage 2 fixed, stage 1 is as long as with the total
    fixed, and comes on top. Plain fine-tuning, share 0, belongs to both.
    """
    faults: list[HeadstartError] = []
    stage = read_open_stage(options["tuner"], faults)
    shares = read_numbers(options["shares"], RULE, faults)
    epochs = options["epochs"]
    if not (math.isfinite(epochs) and epochs > 0):
        faults.append(ConfigError("a number above 0 for --epochs", f"{epochs:g}", "Change it."))
    raise_all(faults)
    whole = {"epochs": epochs}
    made = [Variant(FULL, short_name(FULL), whole, facts={"plain": True, "share": 0})]
    for share in filter(None, shares):
        for fixed in (TOTAL, SECOND):
            if fixed == TOTAL:
                line = before_full(replace(stage, share=share))
            else:
                line = before_full(replace(stage, epochs=round(share * epochs, 9)))
            facts = {"share": share, "fixed": fixed}
            made.append(Variant(line, line, whole, facts=facts))
    return made


def _case_findings(number: int, name: str, case: Case) -> CaseFindings:
    total, second = (_with_fixed(number, name, case, fixed) for fixed in (TOTAL, SECOND))
    return CaseFindings(
        [*total.verdicts, *second.verdicts],
        [*total.sentences, *second.sentences, _budget(name, case)],
        [*total.tables, *second.tables], [*total.figures, *second.figures],
        [*total.values, *second.values],
    )  # fmt: skip


def _with_fixed(number: int, name: str, case: Case, fixed: str) -> CaseFindings:
    base = plain(case)
    others = [side for side in case.finished if side.variant.facts.get("fixed") == fixed]
    sides, found = [base, *others], against(others, base)
    said = verdict(
        found, "scores higher than plain fine-tuning", "scores lower than plain fine-tuning"
    )
    table = score_table(
        f"{name}, {fixed}: scores, and differences from {base.variant.name} in points",
        sides, found, COLUMNS,
    )  # fmt: skip
    values = [
        plain_values(name, side, found, fixed=fixed, share=side.variant.facts["share"],
                     stage_1_steps=mean_of(side, steps_before), steps=mean_of(side, _steps))
        for side in sides if side.runs
    ]  # fmt: skip
    figure = _figure(number, fixed, name, sides, said)
    return CaseFindings([said], [f"{name}, {fixed}: {said.text}."], [table], [figure], values)


def _steps(run: Run) -> float:
    return float(sum(stage.steps for stage in kept(run)))


def _last_steps(run: Run) -> float:
    return float(kept(run)[-1].steps)


def _budget(name: str, case: Case) -> str:
    """Describe the steps that the runs have taken, beside those that were asked for."""
    base, sides = plain(case), case.finished
    wanted = {_steps(run) for run in base.runs.values()}
    if len(wanted) != 1:
        return f"{name}: no run of plain fine-tuning tells how many steps the total is."
    total = wanted.pop()
    odd = [
        side.variant.name for side in sides for run in side.runs.values()
        if total != (_last_steps if side.variant.facts.get("fixed") == SECOND else _steps)(run)
    ]  # fmt: skip
    if odd:
        names = ", ".join(dict.fromkeys(odd))
        return (
            f"{name}: these runs have other steps than the {total:,.0f} that were asked: {names}."
        )
    return (
        f"{name}: by the records, every run with the total fixed has taken {total:,.0f} optimizer "
        f"steps, and every stage 2 that was fixed as well."
    )


COLUMNS = (
    (">share %", lambda side: f"{100 * side.variant.facts['share']:.4g}"),
    (">steps of stage 1", mean_steps_before),
    (">steps of stage 2", lambda side: f"{mean_of(side, _last_steps):,.0f}"),
)


def _figure(number: int, fixed: str, name: str, sides: Sequence[Side], said: Verdict) -> Figure:
    places = [(100 * side.variant.facts["share"], side) for side in sides]
    return score_figure(
        (f"share-{number}-{'total' if fixed == TOTAL else 'second'}", f"{name}, {fixed}"),
        [Line(fixed, places, "%")], "length of stage 1 in % of the epochs",
        caption=f"0 is plain fine-tuning. Against it: {said.text}.",
    )  # fmt: skip


ANALYSIS = Analysis(
    title="Share of stage 1",
    question="How does the score depend on the share of epochs that stage 1 takes?",
    variants=variants,
    findings=by_case(_case_findings, HOW),
    options=(
        Option("tuner", "bitfit", "What trains in stage 1 beside the head; lora(r=4) will do."),
        Option("shares", DEFAULT, "Shares of the epochs, split at commas.", "N,N"),
        Option("epochs", 6.0, "Epochs of all stages together, or of stage 2 alone.", "N"),
    ),
    seeds=seeds_for(len(DEFAULT.split(",")) - 1),
    settings={"guard": False},
    example="--task rte --data rte/ --model roberta-base --shares 0,0.25,0.5 --out studies/share",
)
