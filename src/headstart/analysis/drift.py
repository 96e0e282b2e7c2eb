"""Feature drift: how far final-layer features move in training, strategy by strategy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.analysis._base import (
    Analysis,
    Case,
    Findings,
    Option,
    Side,
    Table,
    Variant,
    measured_in_all,
)
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
from headstart.errors import ConfigError
from headstart.report.figures import Figure, label, layout, look_of
from headstart.study.outcome.tables import score_scale

FIRST = "first token"
BESIDE = 0.28
"""How far below their mean the runs are drawn, of the distance between two strategies."""
WORDS = {
    1: "farther than under",
    -1: "less far than under",
    0: "by an amount that cannot be told from that under",
}


def variants(options: Mapping[str, Any]) -> list[Variant]:
    """Compare the strategies, each with the drift observer.

    Raises ``ConfigError`` if there are too few rows to compare.
    """
    if options["rows"] < 2:
        raise ConfigError("--rows of at least 2", str(options["rows"]), "Give more.")
    return measured_in_all(options, {"name": "drift", "rows": options["rows"]})


def findings(cases: Sequence[Case]) -> Findings:
    """Describe how far the features have moved."""
    named = list(zip(names(cases), cases, strict=True))
    values = [
        {"case": name, "model": case.model, "strategy": side.variant.strategy,
         "seeds": sorted(side.runs), "l2": list(_by_seed(side, "l2").values()),
         "relative": list(_relative(side).values()), "cka": list(_by_seed(side, "cka").values()),
         "score": scores(side), "measured": [_last(side, seed) for seed in sorted(side.runs)]}
        for name, case in named for side in case.finished
    ]  # fmt: skip
    tables = [
        Table(
            f"{name}: features at the first token, before and after training, mean ± sd",
            (
                "strategy",
                ">seeds",
                ">rows",
                ">L2",
                ">L2, relative %",
                ">CKA",
                score_column(case.metrics),
            ),
            [_row(side) for side in case.finished],
        )
        for name, case in named
    ]
    told = [sentence for name, case in named for sentence in _compared(name, case)]
    sentences = [*(_answer(name, case) for name, case in named), *told, *without_head(named),
        "L2: mean Euclidean distance between the final-layer features of a training row in the "
        "pretrained backbone and after training, at the first token, without dropout; relative: "
        "divided by the mean norm of the features before. CKA: linear centred kernel alignment, 1 "
        "where features are the same up to rotation, scale and shift.", *scored(cases),
    ]  # fmt: skip
    return Findings(sentences, tables, [*_figures(named)], values)


def _last(side: Side, seed: int) -> Mapping[str, Any]:
    read_at: Mapping[str, Any] = side.runs[seed].measured["stages"][-1]["read_at"]
    return read_at


def _by_seed(side: Side, name: str) -> dict[int, float]:
    return {seed: _last(side, seed)[FIRST][name] for seed in sorted(side.runs)}


def _alignment(side: Side) -> dict[int, float]:
    """Return CKA by seed, where there is one: features that are all the same have none."""
    return {seed: cka for seed, cka in _by_seed(side, "cka").items() if cka is not None}


def _relative(side: Side) -> dict[int, float]:
    norms = _by_seed(side, "norm")
    return {seed: far / norms[seed] for seed, far in _by_seed(side, "l2").items()}


def _row(side: Side) -> list[str]:
    counts = sorted({run.measured["rows"] for run in side.runs.values()})
    return [
        side.variant.name, str(len(side.runs)), " or ".join(f"{n:,}" for n in counts),
        with_sd([*_by_seed(side, "l2").values()]),
        with_sd([100 * r for r in _relative(side).values()], ".0f"),
        with_sd([*_alignment(side).values()]),
        with_sd(scores(side), ".1f"),
    ]  # fmt: skip


def _answer(name: str, case: Case) -> str:
    low, high, over = least_and_most(case, lambda side: _by_seed(side, "l2").values())
    least, most = (with_sd([*_by_seed(side, "l2").values()]) for side in (low, high))
    if low is high:
        return (
            f"{name}: features move by {least} (mean L2 distance) under {low.variant.name}, {over}."
        )
    return (
        f"{name}: features move least under {low.variant.name}, by {least}, and most under "
        f"{high.variant.name}, by {most} (mean L2 distance ± sd over {over})."
    )


def _compared(name: str, case: Case) -> Iterator[str]:
    for side, base in case.against_first:
        sign, difference = against(_by_seed(side, "l2"), _by_seed(base, "l2"))
        likeness = against(_alignment(side), _alignment(base), ".3f")[1]
        yield (
            f"{name}: under {side.variant.name} features move {WORDS[sign]} "
            f"{base.variant.name} ({difference}); CKA: {likeness}."
        )


def _figures(named: Sequence[tuple[str, Case]]) -> Iterator[Figure]:
    for number, (name, case) in enumerate(named):
        done = [(place, side) for place, side in enumerate(case.sides) if side.runs]
        yield _by_strategy(
            f"drift-{number}", f"{name}: how far features move", "mean L2 distance of features",
            [(place, side, _by_seed(side, "l2")) for place, side in done], {"rangemode": "tozero"},
        )  # fmt: skip
        yield _by_strategy(
            f"drift-cka-{number}", f"{name}: how alike features stay",
            "CKA of features before and after; 1 is alike",
            [(place, side, _alignment(side)) for place, side in done], {"range": [0, 1.03]},
        )  # fmt: skip
        yield _against_scores(f"drift-score-{number}", name, done)


def _by_strategy(
    identity: str,
    title: str,
    axis: str,
    done: Sequence[tuple[int, Side, Mapping[int, float]]],
    xaxis: Mapping[str, Any],
) -> Figure:
    """Draw a measure of every strategy (arXiv 2210.16771, figure 1)."""
    data: list[dict[str, Any]] = []
    labels = [label(side.variant.name, 18) for _, side, _ in done]
    for at, (place, _, found) in enumerate(done):
        if not found:
            continue
        look = look_of(place)
        mean = float(np.mean([*found.values()]))
        spread = float(np.std([*found.values()], ddof=1)) if len(found) > 1 else 0.0
        data += [{
            "x": [*found.values()], "y": [at + BESIDE] * len(found), "mode": "markers",
            "hoverinfo": "text",
            "marker": {"symbol": f"{look.marker}-open", "size": 9, "color": look.colour},
            "hovertext": [f"seed {seed}: {x:.3g}" for seed, x in found.items()],
        }, {
            "x": [mean], "y": [at], "mode": "markers", "hoverinfo": "text",
            "marker": {"symbol": "line-ns", "size": 26, "line": {"width": 4, "color": look.colour}},
            "error_x": {"array": [spread], "color": look.colour, "thickness": 2, "width": 7},
            "hovertext": [f"mean: {with_sd([*found.values()])}"],
        }]  # fmt: skip
    longest = max(len(line) for text in labels for line in text.split("<br>"))
    told = "; ".join(f"{side.variant.name}: {with_sd([*v.values()])}" for _, side, v in done)
    axes = {
        "xaxis": xaxis, "showlegend": False, "margin": {"l": 14 + 7 * longest},
        "yaxis": {"tickvals": [*range(len(done))], "ticktext": labels,
                  "range": [len(done) - 0.4, -0.6]},
    }  # fmt: skip
    return Figure(
        identity, title,
        "Each open mark is a run, the stroke the mean over the seeds with a bar of one standard "
        f"deviation. {told}.",
        data, layout(axis, "", 120 + 56 * len(done), **axes),
    )  # fmt: skip


def _against_scores(identity: str, name: str, done: Sequence[tuple[int, Side]]) -> Figure:
    data = []
    for place, side in done:
        look, far = look_of(place), _by_seed(side, "l2")
        data.append({
            "x": [*far.values()], "y": scores(side), "mode": "markers",
            "name": label(side.variant.name), "hoverinfo": "text",
            "marker": {"symbol": look.marker, "size": 11, "color": look.colour},
            "hovertext": [
                f"{label(side.variant.name)}<br>seed {seed}: distance {x:.3g}, score {y:.1f}"
                for (seed, x), y in zip(far.items(), scores(side), strict=True)
            ],
        })  # fmt: skip
    scale = score_scale(done[0][1].metrics)
    told = "; ".join(
        f"{side.variant.name}: distance {with_sd([*_by_seed(side, 'l2').values()])}, "
        f"score {with_sd(scores(side), '.1f')}"
        for _, side in done
    )
    return Figure(
        identity, f"{name}: distance and score", f"Each mark is a run; score: {scale}. {told}.",
        data, layout("mean L2 distance of features", scale, xaxis={"rangemode": "tozero"}),
    )  # fmt: skip


ANALYSIS = Analysis(
    title="Feature drift",
    question="How far do final-layer features move in training, strategy by strategy?",
    variants=variants,
    findings=findings,
    strategies="ft, lp-ft, eh-ft",
    options=(Option("rows", 1000, "Training rows to compare features on, at most.", "N"),),
    example="--task rte --data rte/ --model roberta-base --seeds 3 --out studies/drift",
)
