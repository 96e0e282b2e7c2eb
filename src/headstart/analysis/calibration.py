"""Calibration: how far probabilities can be believed, before and after temperature scaling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.analysis._base import Analysis, Case, Findings, Side, Table, Variant
from headstart.report.figures import COLOURS, Figure, layout
from headstart.study.read import canonical
from headstart.study.statistics import Interval, mean_difference
from headstart.study.tables import short_name

WHEN = ("before", "after")
MEASURES = {"log_loss": "log loss", "brier": "Brier", "ece": "ECE"}
Numbers = list[float]


def variants(options: Mapping[str, Any]) -> list[Variant]:
    """Compare the strategies, each with the calibration observer.

    Args:
        options: ``strategies``.

    Returns:
        The variants.
    """
    lines = [canonical(line) for line in options["strategies"]]
    return [Variant(line, short_name(line), measure={"name": "calibration"}) for line in lines]


def findings(cases: Sequence[Case]) -> Findings:
    """Say how far the probabilities can be believed.

    Args:
        cases: The finished runs.

    Returns:
        What was found.
    """
    done = [(case, side) for case in cases for side in case.sides if side.runs]
    values = [
        {"case": case.name, "model": case.model, "strategy": side.variant.strategy,
         "seeds": sorted(side.runs), "runs": [side.runs[s].measured for s in sorted(side.runs)]}
        for case, side in done
    ]  # fmt: skip
    head = ("strategy", ">seeds", ">score %", ">temperature",
            *(f">{name}" for name in MEASURES.values()))  # fmt: skip
    tables = [
        Table(f"{case.name}: before → after temperature scaling, means over the seeds", head,
              [_row(side) for side in case.sides if side.runs])
        for case in cases
    ]  # fmt: skip
    first = next(iter(done[0][1].runs.values())).measured
    judged = (
        "each half of the validation rows is judged by the temperature of the other half"
        if first["same"]
        else "the temperature is fitted on carved rows and judged on the validation rows"
    )
    sentences = [
        *(sentence for case in cases for sentence in _sentences(case)),
        f"Over {first['rows']:,} rows; {judged}. Lower is better throughout. ECE: mean gap between "
        "confidence and accuracy in 15 bins; log loss and Brier score also reward telling classes "
        "apart. A temperature above 1 means that the model was too sure of itself.",
    ]
    figures = [
        _diagram(f"calibration-{i}", case, side, several=len(cases) > 1)
        for i, (case, side) in enumerate(done)
    ]
    return Findings(sentences, tables, figures, values)


def _measured(side: Side, when: str, name: str) -> Numbers:
    return [float(side.runs[s].measured[when][name]) for s in sorted(side.runs)]


def _row(side: Side) -> list[str]:
    runs = [side.runs[s] for s in sorted(side.runs)]
    found = [r.measured["temperature"] for r in runs if r.measured["temperature"]]
    scores = [100 * r.result.scores["score"] for r in runs]
    means = ((np.mean(_measured(side, when, name)) for when in WHEN) for name in MEASURES)
    cells = [" → ".join(f"{mean:.3f}" for mean in pair) for pair in means]
    temperature = _with_sd(found, 2) if found else "none"
    return [side.variant.name, str(len(runs)), _with_sd(scores, 1), temperature, *cells]


def _with_sd(values: Sequence[float], digits: int) -> str:
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def _sentences(case: Case) -> Iterator[str]:
    sides = [side for side in case.sides if side.runs]
    ece = {s.variant.name: float(np.mean(_measured(s, "before", "ece"))) for s in sides}
    best, worst = min(ece, key=lambda n: ece[n]), max(ece, key=lambda n: ece[n])
    if best == worst:
        apart = f"{100 * ece[best]:.1f} points apart"
        yield f"{case.name}: confidence and accuracy of {best} are {apart}."
    else:
        yield (
            f"{case.name}: confidence and accuracy are {100 * ece[best]:.1f} points apart under "
            f"{best}, the best calibrated, and {100 * ece[worst]:.1f} under {worst}, the worst."
        )
    for side in sides:
        old, new = (_measured(side, when, "log_loss") for when in WHEN)
        change = mean_difference(new, old) if len(old) > 1 else None
        sure = "" if change is None else f" (by {_signed(change)})"
        yield (
            f"{case.name}, {side.variant.name}: a temperature changes the log loss from "
            f"{np.mean(old):.3f} to {np.mean(new):.3f}{sure}, and ECE from "
            f"{np.mean(_measured(side, 'before', 'ece')):.3f} to "
            f"{np.mean(_measured(side, 'after', 'ece')):.3f}."
        )


def _signed(change: Interval) -> str:
    limits = "" if change.low is None else f" [{change.low:+.3f}, {change.high:+.3f}]"
    return f"{change.estimate:+.3f}{limits}"


def _diagram(name: str, case: Case, side: Side, *, several: bool) -> Figure:
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
    where = f", {case.name}" if several else ""
    return Figure(
        name, f"{side.variant.name}{where}",
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
    variants=variants,
    findings=findings,
    strategies="ft, lp-ft, eh-ft",
    example="--task mrpc --data mrpc/ --model roberta-base --seeds 3 --out studies/calibration",
)
