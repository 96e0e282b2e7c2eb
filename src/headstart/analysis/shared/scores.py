"""Scores of the sides of an analysis: means, tables with paired differences, and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.analysis._base import Case, Findings, Side, Table
from headstart.analysis.shared.fallen_back import without_head
from headstart.analysis.shared.numbers import names, score_column, scored, with_sd
from headstart.analysis.shared.verdicts import Value, Verdict, answers, score
from headstart.report.answer import show_p
from headstart.report.curves import kept
from headstart.report.figures import Figure, layout, look_of, points, with_bars
from headstart.report.read import Run
from headstart.study.outcome.comparison import Comparison, Found
from headstart.study.outcome.statistics import describe
from headstart.study.outcome.tables import UNKNOWN, score_scale, show_interval

LEGEND = (
    "Every difference is the mean over the seeds that both sides have finished, in points, with "
    "its 95 % interval; p is that of the exact test of paired differences, Holm-corrected over the "
    "comparisons of a table; P(better) is the chance that a run beats one of the other side."
)


def values_of(side: Side, value: Value = score) -> list[float]:
    """Return a number of each run, by rising seed."""
    return [value(side.runs[seed]) for seed in sorted(side.runs)]


def mean_of(side: Side, value: Value) -> float:
    """Return the mean of a number over the runs."""
    return float(np.mean(values_of(side, value)))


def mean_steps_before(side: Side) -> str:
    """Write the mean of the optimizer steps before the last stage."""
    return f"{mean_of(side, steps_before):,.0f}"


def steps_before(run: Run) -> float:
    """Return the optimizer steps before the last stage."""
    return float(sum(stage.steps for stage in kept(run)[:-1]))


@dataclass(frozen=True)
class CaseFindings:
    """The findings in one case: what its comparisons say; the first sentence is the answer."""

    verdicts: Sequence[Verdict]
    sentences: Sequence[str]
    tables: Sequence[Table]
    figures: Sequence[Figure]
    values: Sequence[Any]


def by_case(
    about: Callable[[int, str, Case], CaseFindings], how: str
) -> Callable[[Sequence[Case]], Findings]:
    """Make findings that look at one case after the other.

    ``about`` gets place, name and runs of a case; ``how`` says what one must know of the analysis
    to read it.
    """

    def findings(cases: Sequence[Case]) -> Findings:
        named = list(zip(names(cases), cases, strict=True))
        found = [about(i, name, case) for i, (name, case) in enumerate(named)]
        told = answers(
            {name: each.verdicts for (name, _), each in zip(named, found, strict=True)},
            [sentence for each in found for sentence in each.sentences],
        )
        return Findings(
            [*told, how, *notes(cases), *without_head(named)],
            [table for each in found for table in each.tables],
            [figure for each in found for figure in each.figures],
            [value for each in found for value in each.values],
        )

    return findings


def plain(case: Case) -> Side:
    """Return plain fine-tuning, which every analysis of scores compares with."""
    return next(side for side in case.sides if side.variant.facts.get("plain"))


def percent(side: Side, value: Value = score) -> str:
    """Write the mean of a score over the runs times 100, with its standard deviation."""
    return with_sd([100 * each for each in values_of(side, value)], ".1f")


Column = tuple[str, Callable[[Side], str]]
"""Title of a column, and the cell of a side."""


def score_table(
    caption: str,
    sides: Sequence[Side],
    found: Sequence[Found],
    columns: Sequence[Column] = (),
    value: tuple[str, Value] = ("score", score),
) -> Table:
    """Write the scores of sides and their paired differences.

    Sides without a finished run are left out. ``found`` are comparisons by the name of the side,
    ``columns`` stand before the score, ``value`` is which score it is, and the number.
    """
    by_name = {each.name: each.comparison for each in found}
    column = score_column(_metrics(sides), value[0])
    head = ("strategy", ">runs", *(name for name, _ in columns), column, *DIFFERENCE)
    rows = [
        [side.variant.name, str(len(side.runs)), *(cell(side) for _, cell in columns),
         percent(side, value[1]), *_cells(by_name.get(side.variant.name))]
        for side in sides if side.runs
    ]  # fmt: skip
    return Table(caption, head, rows)


DIFFERENCE = (">pairs", ">difference [95 %]", ">p (Holm)", ">P(better)")
"""Titles of the columns of a comparison."""


def _cells(found: Comparison | None) -> list[str]:
    """Return the cells of a comparison, as ``DIFFERENCE`` says."""
    if found is None:
        return [UNKNOWN] * len(DIFFERENCE)
    p, better = found.adjusted, found.improvement
    return [
        str(found.seeds), show_interval(found.difference),
        UNKNOWN if p is None else show_p(p).removeprefix("p ").removeprefix("= "),
        UNKNOWN if better is None else f"{better.estimate:.0%}",
    ]  # fmt: skip


def difference_table(caption: str, found: Sequence[Found]) -> Table:
    """Write paired differences alone."""
    rows = [[each.name, *_cells(each.comparison)] for each in found]
    return Table(caption, ("compared", *DIFFERENCE), rows)


def notes(cases: Sequence[Case]) -> list[str]:
    """Write the notes below the scores: their scale, the tests, and runs that went wrong."""
    runs = [run for case in cases for side in case.sides for run in side.runs.values()]
    told = [*scored(cases), LEGEND]
    given_up = sum(len(kept(run)) < len(run.result.stages) for run in runs)
    if given_up:
        told.append(
            f"In {given_up:,} of {len(runs):,} runs the guard gave up an attempt at stage 1."
        )
    collapsed = sum(run.result.collapsed for run in runs)
    if collapsed:
        told.append(f"{collapsed:,} of {len(runs):,} runs ended at chance or predict one class.")
    return told


def plain_values(name: str, side: Side, found: Sequence[Found] = (), **more: Any) -> dict[str, Any]:
    """Return the numbers of a side as plain data."""
    own = next((each.comparison for each in found if each.name == side.variant.name), None)
    return {
        "case": name, "strategy": side.variant.strategy, "name": side.variant.name,
        "seeds": sorted(side.runs), "score": values_of(side), **more,
        "difference": own and difference_values(own),
    }  # fmt: skip


def difference_values(found: Comparison) -> dict[str, Any]:
    """Return a comparison as plain data; differences are parts of 1."""
    between = found.difference
    return {"pairs": found.seeds, "mean": between.estimate, "low": between.low,
            "high": between.high, "p": found.p,
            "p_holm": found.adjusted}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """Scores at places on the horizontal axis of a figure, in ``unit``."""

    name: str
    places: Sequence[tuple[float, Side]]
    unit: str = ""


def score_figure(
    about: tuple[str, str],
    lines: Sequence[Line],
    axis: str,
    *,
    level: Side | None = None,
    ticks: Mapping[float, str] | None = None,
    caption: str = "",
    **xaxis: Any,
) -> Figure:
    """Draw mean scores with bars of one standard deviation.

    Args:
        about: Its identity on the page, and its title.
        lines: What is drawn.
        axis: Title of the horizontal axis.
        level: A side that is drawn as a level line.
        ticks: Names of the places, where numbers do not say enough.
        caption: Further sentences of its caption.
        **xaxis: Further settings of the horizontal axis.

    Returns:
        The figure.
    """
    data, told = [], []
    if level and level.runs:
        edges = sorted(at for line in lines for at, side in line.places if side.runs)
        data.append(_level(level, edges or [0, 1], logarithmic=xaxis.get("type") == "log"))
        told.append(f"{level.variant.name} {percent(level)}")
    for place, line in enumerate(lines, start=len(data)):
        own_places = [(at, describe(values_of(s))) for at, s in line.places if s.runs]
        if own_places:
            data.append(with_bars(line.name, look_of(place), own_places, line.unit))
        told += [f"{side.variant.name} {percent(side)}" for _, side in line.places if side.runs]
    if ticks:
        xaxis |= {"tickvals": list(ticks), "ticktext": list(ticks.values())}
    scale = score_scale(_metrics([side for line in lines for _, side in line.places]))
    text = f"Mean {scale}, bars of one standard deviation over the seeds: {'; '.join(told)}."
    return Figure(*about, f"{text} {caption}".strip(), data, layout(axis, scale, xaxis=xaxis))


def _metrics(sides: Sequence[Side]) -> list[str]:
    return next((side.metrics for side in sides if side.metrics), [])


def _level(side: Side, edges: Sequence[float], *, logarithmic: bool) -> dict[str, Any]:
    """Draw a side as a level line; its bar stands where no other does, after the first place."""
    found, (first, second) = describe(values_of(side)), (edges[0], edges[min(1, len(edges) - 1)])
    bar = float(np.sqrt(first * second)) if logarithmic else (first + second) / 2
    made = with_bars(side.variant.name, look_of(0), [(at, found) for at in (first, bar, edges[-1])],
                     "")  # fmt: skip
    made["error_y"]["array"] = [0, made["error_y"]["array"][1], 0]
    return made | {
        "mode": "lines",
        "hovertext": [f"{made['name']}<br>{points(found.mean):.1f}"] * 3,
    }
