"""Calibration: how far probabilities can be believed, before and after temperature scaling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from headstart.analysis._base import Analysis, Case, Findings, Side, Table, measured_in_all
from headstart.analysis.shared.fallen_back import without_head
from headstart.analysis.shared.numbers import (
    against,
    least_and_most,
    names,
    score_column,
    scored,
    scores,
    with_sd,
)
from headstart.report.figures import COLOURS, Figure, layout

WHEN = ("before", "after")
MEASURES = {"log_loss": "log loss", "brier": "Brier", "ece": "ECE"}
WORDS = {1: "greater than that of", 0: "not told apart from that of", -1: "smaller than that of"}
Numbers = list[float]


def findings(cases: Sequence[Case]) -> Findings:
    """Describe how far the probabilities can be believed."""
    named = list(zip(names(cases), cases, strict=True))
    done = [(name, case, side) for name, case in named for side in case.finished]
    values = [
        {"case": name, "model": case.model, "strategy": side.variant.strategy,
         "seeds": sorted(side.runs), "runs": [side.runs[s].measured for s in sorted(side.runs)]}
        for name, case, side in done
    ]  # fmt: skip
    tables = [
        Table(f"{name}: before → after temperature scaling, means over the seeds",
              ("strategy", ">seeds", score_column(case.metrics), ">temperature",
               *(f">{name}" for name in MEASURES.values())),
              [_row(side) for side in case.finished])
        for name, case in named
    ]  # fmt: skip
    first = next(iter(done[0][2].runs.values())).measured
    judged = (
        "each half of the validation rows is judged by the temperature of the other half"
        if first["same"]
        else "the temperature is fitted on carved rows and judged on the validation rows"
    )
    sentences = [
        *(_answer(name, case) for name, case in named),
        *(sentence for name, case in named for sentence in _compared(name, case)),
        *without_head(named),
        *(_scaled(name, side) for name, _, side in done),
        f"Over {first['rows']:,} rows; {judged}. Of these measures lower is better. ECE: mean gap "
        "between confidence and accuracy in 15 bins; log loss and Brier score also reward telling "
        "classes apart. A temperature above 1 means that the model was too sure of itself.",
        *scored(cases),
    ]
    figures = [
        _diagram(f"calibration-{i}", name if len(cases) > 1 else "", side)
        for i, (name, _, side) in enumerate(done)
    ]
    return Findings(sentences, tables, figures, values)


def _by_seed(side: Side, when: str, name: str) -> dict[int, float]:
    return {seed: float(side.runs[seed].measured[when][name]) for seed in sorted(side.runs)}


def _mean(side: Side, when: str, name: str) -> float:
    return float(np.mean([*_by_seed(side, when, name).values()]))


def _row(side: Side) -> list[str]:
    found = [run.measured["temperature"] for run in side.runs.values()]
    cells = [" → ".join(f"{_mean(side, when, name):.3f}" for when in WHEN) for name in MEASURES]
    temperature = with_sd([t for t in found if t is not None], ".2f")
    return [
        side.variant.name, str(len(side.runs)), with_sd(scores(side), ".1f"), temperature, *cells
    ]  # fmt: skip


def _answer(name: str, case: Case) -> str:
    low, high, over = least_and_most(case, lambda side: _by_seed(side, "before", "ece").values())
    least, most = (f"{100 * _mean(side, 'before', 'ece'):.1f}" for side in (low, high))
    if low is high:
        return (
            f"{name}: confidence and accuracy of {low.variant.name} are {least} points apart "
            f"({over})."
        )
    return (
        f"{name}: confidence and accuracy are least apart under {low.variant.name}, by {least} "
        f"points, and most under {high.variant.name}, by {most} (means over {over})."
    )


def _compared(name: str, case: Case) -> Iterator[str]:
    for side, base in case.against_first:
        ours, theirs = (
            {seed: 100 * ece for seed, ece in _by_seed(each, "before", "ece").items()}
            for each in (side, base)
        )
        sign, difference = against(ours, theirs, ".1f", " points")
        yield (
            f"{name}: the gap of {side.variant.name} is {WORDS[sign]} {base.variant.name} "
            f"({difference})."
        )


def _scaled(name: str, side: Side) -> str:
    losses = [_by_seed(side, when, "log_loss") for when in ("after", "before")]
    _, change = against(losses[0], losses[1], ".3f")
    old, new = (f"{_mean(side, when, 'ece'):.3f}" for when in WHEN)
    return (
        f"{name}, {side.variant.name}: a temperature changes the log loss by {change}, and ECE "
        f"from {old} to {new}."
    )


def _diagram(identity: str, where: str, side: Side) -> Figure:
    """Draw confidence against accuracy, the rows of all seeds together."""
    data: list[dict[str, Any]] = [{
        "x": [0, 100], "y": [0, 100], "mode": "lines", "name": "as sure as right",
        "line": {"dash": "dot", "width": 1.5}, "meta": "ink", "hoverinfo": "skip",
    }]  # fmt: skip
    told = []
    for when, colour, marker, dash in (
        ("before", COLOURS[1], "circle", "solid"), ("after", COLOURS[0], "diamond", "dash"),
    ):  # fmt: skip
        count, confidence, accuracy = _pooled(side, when)
        shown = count > 0
        sizes = 6 + 18 * np.sqrt(count[shown] / count.sum())
        data.append({
            "x": _percent(confidence[shown]), "y": _percent(accuracy[shown]),
            "mode": "lines+markers", "name": f"{when} scaling",
            "line": {"color": colour, "dash": dash, "width": 2},
            "marker": {"symbol": marker, "color": colour, "size": sizes.round(1).tolist()},
            "hoverinfo": "text",
            "hovertext": [f"{when}: {n:,} guesses, {c:.0f} % sure, {a:.0f} % right"
                          for n, c, a in zip(count[shown], _percent(confidence[shown]),
                                             _percent(accuracy[shown]), strict=True)],
        })  # fmt: skip
        gap = float(np.sum(count[shown] * (confidence - accuracy)[shown]) / count.sum())
        told.append(f"{when} scaling {100 * abs(gap):.1f} points {'too' if gap > 0 else 'less'} "
                    f"sure{'' if gap > 0 else ' than right'}")  # fmt: skip
    return Figure(
        identity, f"{side.variant.name}{f', {where}' if where else ''}",
        f"Share of right guesses against confidence, in 15 bins over all seeds; larger marks hold "
        f"more rows. On average {', '.join(told)}.",
        data, layout("confidence in %", "right in %", 340), small=True,
    )  # fmt: skip


def _pooled(side: Side, when: str) -> tuple[Any, Any, Any]:
    found = [run.measured[when] for run in side.runs.values()]
    count = np.array([m["count"] for m in found], float)
    means = (
        np.array([[v or 0.0 for v in m[name]] for m in found])
        for name in ("confidence", "accuracy")
    )
    total = count.sum(0)
    confidence, accuracy = ((count * m).sum(0) / np.maximum(total, 1) for m in means)
    return total.astype(int), confidence, accuracy


def _percent(values: Any) -> Numbers:
    return [round(100 * float(v), 1) for v in values]


ANALYSIS = Analysis(
    title="Calibration",
    question="How far can probabilities be believed, before and after temperature scaling?",
    variants=partial(measured_in_all, measure={"name": "calibration"}),
    findings=findings,
    strategies="ft, lp-ft, eh-ft",
    example="--task mrpc --data mrpc/ --model roberta-base --seeds 3 --out studies/calibration",
)
