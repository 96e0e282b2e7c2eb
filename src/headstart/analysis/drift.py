"""Feature drift: how far final-layer features move in training, strategy by strategy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.analysis._base import Analysis, Case, Findings, Option, Side, Table, Variant
from headstart.report.figures import Figure, label, layout, look_of
from headstart.study.read import canonical
from headstart.study.tables import short_name

FIRST = "first token"


def variants(options: Mapping[str, Any]) -> list[Variant]:
    """Compare the strategies, each with the drift observer.

    Args:
        options: ``strategies`` and ``rows``.

    Returns:
        The variants.
    """
    measure = {"name": "drift", "rows": options["rows"]}
    lines = [canonical(line) for line in options["strategies"]]
    return [Variant(line, short_name(line), measure=measure) for line in lines]


def findings(cases: Sequence[Case]) -> Findings:
    """Say how far the features have moved.

    Args:
        cases: The finished runs.

    Returns:
        What was found.
    """
    values = [
        {"case": case.name, "model": case.model, "strategy": side.variant.strategy,
         "seeds": sorted(side.runs), "l2": _measures(side, "l2"), "cka": _measures(side, "cka"),
         "score": _scores(side)}
        for case in cases for side in case.sides if side.runs
    ]  # fmt: skip
    tables = [
        Table(
            f"{case.name}: distance of final-layer features before and after training",
            ("strategy", ">seeds", ">L2", ">L2, relative", ">CKA", ">score %"),
            [_row(side) for side in case.sides if side.runs],
        )
        for case in cases
    ]
    rows = next(run.measured["rows"] for c in cases for s in c.sides for run in s.runs.values())
    sentences = [*map(_sentence, cases),
        f"L2: mean Euclidean distance at the first token over {rows:,} training rows, without "
        "dropout; relative: divided by the mean norm of the features before. CKA: linear centred "
        "kernel alignment, 1 where features are the same up to rotation and scale.",
    ]  # fmt: skip
    return Findings(sentences, tables, [*_figures(cases)], values)


def _measures(side: Side, name: str) -> list[float]:
    found = [side.runs[s].measured["stages"][-1]["read_at"][FIRST] for s in sorted(side.runs)]
    return [float(at[name]) for at in found]


def _relative(side: Side) -> list[float]:
    return [d / n for d, n in zip(_measures(side, "l2"), _measures(side, "norm"), strict=True)]


def _scores(side: Side) -> list[float]:
    return [side.runs[s].result.scores["score"] for s in sorted(side.runs)]


def _row(side: Side) -> list[str]:
    relative = 100 * float(np.mean(_relative(side)))
    return [
        side.variant.name, str(len(side.runs)), _with_sd(_measures(side, "l2")),
        f"{relative:.0f} %", _with_sd(_measures(side, "cka")),
        _with_sd([100 * s for s in _scores(side)]),
    ]  # fmt: skip


def _with_sd(values: Sequence[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{spread}"


def _sentence(case: Case) -> str:
    means = {s.variant.name: float(np.mean(_measures(s, "l2"))) for s in case.sides if s.runs}
    least, most = min(means, key=lambda n: means[n]), max(means, key=lambda n: means[n])
    if least == most:
        return f"{case.name}: features move by {means[least]:.2f} under {least}."
    return (
        f"{case.name}: features move least under {least} ({means[least]:.2f}) and most under "
        f"{most} ({means[most]:.2f})."
    )


def _figures(cases: Sequence[Case]) -> Iterator[Figure]:
    for number, case in enumerate(cases):
        data = []
        for place, side in enumerate(case.sides):
            look = look_of(place)
            seeds = sorted(side.runs)
            data.append({
                "x": _measures(side, "l2"), "y": [100 * s for s in _scores(side)],
                "mode": "markers", "name": label(side.variant.name),
                "marker": {"symbol": look.marker, "size": 11, "color": look.colour},
                "hoverinfo": "text",
                "hovertext": [f"{label(side.variant.name)}<br>seed {s}" for s in seeds],
            })  # fmt: skip
        yield Figure(
            f"drift-{number}", case.name,
            "Each mark is a run: how far its features have moved, and its score. "
            f"{_sentence(case)}",
            data, layout("mean L2 distance", "score in %", xaxis={"rangemode": "tozero"}),
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
