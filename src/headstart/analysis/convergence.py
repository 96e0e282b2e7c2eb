"""Convergence: stage 2 step by step against plain fine-tuning, for several lengths of stage 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from headstart.analysis._base import Analysis, Case, Option, Side, Table, Variant
from headstart.analysis._options import (
    FULL,
    Rule,
    before_full,
    read_numbers,
    read_open_stage,
)
from headstart.analysis.shared.scores import (
    CaseFindings,
    by_case,
    mean_of,
    mean_steps_before,
    plain,
    plain_values,
    score_table,
    steps_before,
    values_of,
)
from headstart.analysis.shared.verdicts import against, seeds_for, verdict
from headstart.errors import HeadstartError, raise_all
from headstart.report.curves import band, drawn, kept
from headstart.report.figures import Figure, layout, look_of
from headstart.report.read import Run
from headstart.study.outcome.tables import UNKNOWN, score_scale, short_name

RULE = Rule("--lengths", "numbers of epochs above 0", lambda epochs: epochs > 0, "1,2,4")
DEFAULT = "1,2,4"
GOALS = (0.90, 0.95)
"""Shares of plain fine-tuning's final score whose first reaching is told."""
EVERY = 5
"""Steps between evaluations: a few hundred rows make some tens of steps."""

HOW = (
    "The mean along a stage is the area under its curve from step 0 to its last step, divided "
    "by its steps: it rises if the same scores are reached earlier. Each length of stage 1 "
    "runs to its end, and stage 2 then has all the epochs that plain fine-tuning has."
)
"""What one must know to read the page."""


def variants(options: Mapping[str, Any]) -> list[Variant]:
    """Compare lengths of stage 1, beside plain fine-tuning."""
    faults: list[HeadstartError] = []
    stage = read_open_stage(options["tuner"], faults)
    lengths = read_numbers(options["lengths"], RULE, faults)
    raise_all(faults)
    made = [Variant(FULL, short_name(FULL), facts={"plain": True})]
    for epochs in lengths:
        line = before_full(replace(stage, epochs=epochs))
        made.append(Variant(line, line, facts={"epochs": epochs}))
    return made


def _case_findings(number: int, name: str, case: Case) -> CaseFindings:
    base = plain(case)
    others = [side for side in case.finished if side is not base]
    along, final = against(others, base, _along), against(others, base, _final)
    said = verdict(
        along,
        "converges faster than plain fine-tuning",
        "converges more slowly than plain fine-tuning",
    )
    ends = verdict(final, "ends higher", "ends lower")
    sentences = [
        f"{name}: by the mean score along stage 2, {said.text}.",
        f"{name}: at the end of stage 2, {ends.text}.",
        _cost(name, others),
        *_met_at_once(name, case),
    ]
    caption = f"differences from {base.variant.name} in points"
    tables = [
        _steps_table(name, case),
        score_table(f"{name}: mean score along the last stage, and {caption}", case.sides,
                    along, value=("mean along it", _along)),
        score_table(f"{name}: score at its end, and {caption}", case.sides, final,
                    value=("final score", _final)),
    ]  # fmt: skip
    figure = _figure(number, name, case, said.text)
    return CaseFindings([said], sentences, tables, [figure], _values(name, case, along))


def _curve(run: Run) -> tuple[list[int], list[float]]:
    """Return steps and scores of the last stage; the first evaluation is before any step."""
    curve = kept(run)[-1].curve
    return [point.step for point in curve], [point.scores["score"] for point in curve]


def _along(run: Run) -> float:
    """Return the mean score along the last stage: the area under its curve by its length."""
    steps, scores = _curve(run)
    length = steps[-1] - steps[0]
    return float(np.trapezoid(scores, steps) / length) if length else scores[-1]


def _final(run: Run) -> float:
    return _curve(run)[1][-1]


def _until(run: Run, goal: float) -> int | None:
    """Return the step of the first evaluation at which a score is reached."""
    return next((step for step, score in zip(*_curve(run), strict=True) if score >= goal), None)


def _reached(side: Side, goal: float) -> list[int | None]:
    return [_until(side.runs[seed], goal) for seed in sorted(side.runs)]


def _goals(case: Case) -> list[float]:
    """Return the scores to reach; none if plain fine-tuning ends at nothing to take a share of."""
    base = plain(case)
    end = mean_of(base, _final) if base.runs else 0.0
    return [share * end for share in GOALS] if end > 0 else []


def _seconds_before(run: Run) -> float:
    return sum(stage.training_seconds for stage in kept(run)[:-1])


def _cost(name: str, sides: Sequence[Side]) -> str:
    costs = [
        f"{side.variant.name} {mean_of(side, steps_before):,.0f} steps in "
        f"{mean_of(side, _seconds_before):,.1f} s" for side in sides
    ]  # fmt: skip
    told = "; ".join(costs) or "unknown"
    return f"{name}: stage 1 costs, before that and evaluation apart: {told}."


def _met_at_once(name: str, case: Case) -> Iterator[str]:
    """Warn of a goal that an untrained head meets, as where one class is most of the rows."""
    for share, goal in zip(GOALS, _goals(case), strict=False):
        at_once = [_reached(side, goal).count(0) for side in case.finished]
        if any(at_once):
            runs = sum(len(side.runs) for side in case.finished)
            yield (
                f"{name}: {sum(at_once)} of {runs} runs are at {share:.0%} of plain fine-tuning's "
                "end before stage 2 has begun, so that steps to it say little there."
            )


def _steps_table(name: str, case: Case) -> Table:
    goals = _goals(case)
    head = ("strategy", ">runs", ">steps 1", ">seconds 1", ">steps 2", ">seconds 2",
            *(f">to {share:.0%}" for share in GOALS[: len(goals)]))  # fmt: skip
    rows = [
        [
            side.variant.name, str(len(side.runs)), mean_steps_before(side),
            f"{mean_of(side, _seconds_before):,.1f}",
            f"{mean_of(side, lambda run: kept(run)[-1].steps):,.0f}",
            f"{mean_of(side, lambda run: kept(run)[-1].training_seconds):,.1f}",
            *(_arrival(side, goal) for goal in goals),
        ]
        for side in case.finished
    ]  # fmt: skip
    caption = f"{name}: steps and training time of stage 1 (1) and of the last stage (2)"
    if goals:
        told = " and ".join(f"{100 * goal:.1f}" for goal in goals)
        shares = " and ".join(f"{share:.0%}" for share in GOALS)
        caption += (
            f"; steps of the last stage to {shares} of plain fine-tuning's end ({told}), and how "
            "many runs get there"
        )
    return Table(caption, head, rows)


def _arrival(side: Side, goal: float) -> str:
    found = _reached(side, goal)
    steps = [step for step in found if step is not None]
    share = f"({len(steps)} of {len(found)})"
    return f"{np.mean(steps):,.0f} {share}" if steps else f"{UNKNOWN} {share}"


def _figure(number: int, name: str, case: Case, said: str) -> Figure:
    data: list[dict[str, Any]] = []
    told = []
    for place, side in enumerate(case.finished):
        found = band([kept(run)[-1] for run in side.runs.values()])
        thick = side.variant.facts.get("plain", False)
        data += drawn(found, side.variant.name, look_of(place), 0, thick=thick)
        told.append(f"{side.variant.name} {found.mean[0]:.1f} to {found.mean[-1]:.1f}")
    goals = [round(100 * goal, 3) for goal in _goals(case)]
    shapes = [
        {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": y, "y1": y,
         "line": {"dash": "dot", "width": 1, "color": "#888888"}} for y in goals
    ]  # fmt: skip
    lines = " The dotted lines are 90 and 95 % of where the thick one ends." if goals else ""
    scale = score_scale(case.metrics)
    caption = (
        f"Mean {scale} by optimizer step of the last stage, bands of one standard deviation; "
        f"plain fine-tuning is the thick line: {'; '.join(told)}. By the mean along the stage, "
        f"{said}.{lines}"
    )
    return Figure(
        f"convergence-{number}", name, caption, data,
        layout("step of the last stage", scale, shapes=shapes),
    )  # fmt: skip


def _values(name: str, case: Case, along: Sequence[Any]) -> list[dict[str, Any]]:
    goals = _goals(case)
    made = []
    for side in case.finished:
        found = band([kept(run)[-1] for run in side.runs.values()])
        steps = {f"{share:g}": _reached(side, goal)
                 for share, goal in zip(GOALS, goals, strict=False)}  # fmt: skip
        made.append(plain_values(
            name, side, along, mean_along=values_of(side, _along),
            stage_1_steps=mean_of(side, steps_before),
            stage_1_seconds=mean_of(side, _seconds_before), steps_to_share=steps,
            curve={"steps": found.steps, "mean": found.mean, "sd": found.sd},
        ))  # fmt: skip
    return made


ANALYSIS = Analysis(
    title="Convergence of stage 2",
    question="Does stage 2 converge faster than plain fine-tuning, and what does stage 1 cost?",
    variants=variants,
    findings=by_case(_case_findings, HOW),
    options=(
        Option("tuner", "bitfit", "What trains in stage 1 beside the head; lora(r=4) will do."),
        Option("lengths", DEFAULT, "Epochs of stage 1, split at commas.", "N,N"),
    ),
    seeds=seeds_for(len(DEFAULT.split(","))),
    settings={"guard": False, "eval_every": EVERY},
    example="--task rte --data rte/ --model roberta-base --set eval_every=10 "
    "--out studies/convergence",
)
