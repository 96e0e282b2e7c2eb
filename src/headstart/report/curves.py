"""The figures about learning: scores along the stages, and the last stage of each strategy."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.report.figures import COLOURS, DASHES, Figure, Look, group_name, label, layout, where
from headstart.report.figures import looks as looks_of
from headstart.report.read import Evidence, Run
from headstart.results import StageResult
from headstart.study.outcome.summary import GIVEN_UP, Key
from headstart.study.outcome.tables import score_scale, short_name

_TECHNIQUE = re.compile(r"\+[A-Za-z_]")
"""What a stage's name holds where a technique acts in it; the ``+`` of 1e+06 is not one."""


@dataclass(frozen=True)
class Band:
    """Scores of several seeds by step, times 100.

    Args:
        steps: Steps at which at least half of the runs were evaluated.
        mean: Mean over the runs there.
        sd: Standard deviation; 0 for a single run.
        runs: How many runs at most.
    """

    steps: list[int]
    mean: list[float]
    sd: list[float]
    runs: int


def band(stages: Sequence[StageResult]) -> Band:
    """Summarise the curves of one stage over seeds."""
    scores: dict[int, list[float]] = defaultdict(list)
    for stage in stages:
        for point in stage.curve:
            score = point.scores.get("score")
            if score is not None:
                scores[point.step].append(100 * score)
    steps = [step for step in sorted(scores) if 2 * len(scores[step]) >= len(stages)]
    found = [scores[step] for step in steps]
    return Band(
        steps,
        [round(float(np.mean(values)), 3) for values in found],
        [round(float(np.std(values, ddof=1)), 3) if len(values) > 1 else 0.0 for values in found],
        len(stages),
    )


def kept(run: Run) -> list[StageResult]:
    """Return the stages of a run without the attempts that were given up."""
    return [stage for stage in run.result.stages if stage.handed_on != GIVEN_UP]


def learning(evidence: Evidence) -> Iterator[Figure]:
    """Draw the score along all stages of a strategy."""
    summary = evidence.summary
    found = _runs(evidence.runs)
    for number, group in enumerate(summary.groups):
        bands = {}
        for strategy, runs in found.get(group.key, {}).items():
            most = max(len(kept(run)) for run in runs)
            stages = [[kept(r)[i] for r in runs if len(kept(r)) > i] for i in range(most)]
            bands[strategy] = [(own[0].stage, band(own)) for own in stages if own]
        limits = _limits([b for parts in bands.values() for _, b in parts])
        for place, (strategy, parts) in enumerate(bands.items()):
            if any(part.steps for _, part in parts):
                title = f"{short_name(strategy)}{where(group, summary)}"
                scale = score_scale(group.metrics)
                yield _stages(f"curve-{number}-{place}", title, parts, limits, scale)


def _stages(
    name: str, title: str, parts: Sequence[tuple[str, Band]], limits: list[float], scale: str
) -> Figure:
    data: list[dict[str, Any]] = []
    told, begins = [], 0
    marks = []
    for place, (stage, found) in enumerate(parts):
        if not found.steps:
            continue
        look = Look(COLOURS[place % len(COLOURS)], "circle", DASHES[place % len(DASHES)])
        text = f"{place + 1}. {stage}"
        data += drawn(found, text, look, begins)
        told.append(f"stage {place + 1}, {stage}: {found.mean[0]:.1f} to {found.mean[-1]:.1f}"
                    f" in {found.steps[-1]:,} steps")  # fmt: skip
        begins += found.steps[-1]
        marks.append(begins)
    shapes = [
        {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper",
         "line": {"dash": "dot", "width": 1, "color": "#888888"}} for x in marks[:-1]
    ]  # fmt: skip
    return Figure(
        name, title, f"{scale}, mean over {parts[0][1].runs} seeds; {'; '.join(told)}.", data,
        layout("step", scale, 320, yaxis={"range": limits}, shapes=shapes,
               legend={"y": -0.24}),
        small=True,
    )  # fmt: skip


def convergence(evidence: Evidence) -> Iterator[Figure]:
    """Draw the last stage of each strategy against plain fine-tuning."""
    summary, looks = evidence.summary, looks_of(evidence.summary)
    found = _runs(evidence.runs)
    for number, group in enumerate(summary.groups):
        runs = found.get(group.key, {})
        bands = {name: band([kept(run)[-1] for run in own if kept(run)])
                 for name, own in runs.items()}  # fmt: skip
        bands = {name: own for name, own in bands.items() if own.steps}
        plain = _plain(runs, summary.baseline)
        if len(bands) < 2 or plain not in bands:
            continue
        data = []
        for name, own in bands.items():
            data += drawn(own, short_name(name), looks[name], 0, thick=name == plain)
        yield Figure(
            f"last-{number}", group_name(group, summary), _reached(bands, plain), data,
            layout("step of the last stage", score_scale(group.metrics)),
        )  # fmt: skip


def _reached(bands: Mapping[str, Band], plain: str) -> str:
    """Write when each strategy has reached the score that plain fine-tuning ends with."""
    goal, end = bands[plain].mean[-1], bands[plain].steps[-1]
    told = []
    for name, found in bands.items():
        if name == plain:
            continue
        places = zip(found.steps, found.mean, strict=True)
        step = next((step for step, mean in places if mean >= goal), None)
        when = "does not reach it" if step is None else f"is there at step {step:,}"
        told.append(f"{short_name(name)} {when}")
    return (
        f"{short_name(plain)} (thick line) ends at {goal:.1f} after {end:,} steps; "
        f"{'; '.join(told)}. Steps of the stages before are not counted."
    )


def _plain(runs: Mapping[str, Sequence[Run]], baseline: str) -> str:
    """Return the strategy that is plain fine-tuning; the baseline if there is none."""
    if baseline in runs and _is_plain(runs[baseline][0]):
        return baseline
    return next((name for name, own in runs.items() if _is_plain(own[0])), baseline)


def _is_plain(run: Run) -> bool:
    stages = kept(run)
    return [s.trains for s in stages] == ["full"] and not _TECHNIQUE.search(stages[0].stage)


def drawn(
    found: Band, name: str, look: Look, begins: int, *, thick: bool = False
) -> list[dict[str, Any]]:
    """Draw a band from a step on, as traces of plotly: its area, and the line of the mean."""
    x = [begins + step for step in found.steps]
    high = [round(m + s, 3) for m, s in zip(found.mean, found.sd, strict=True)]
    low = [round(m - s, 3) for m, s in zip(found.mean, found.sd, strict=True)]
    red, green, blue = (int(look.colour[i : i + 2], 16) for i in (1, 3, 5))
    area = {
        "x": [*x, *reversed(x)], "y": [*high, *reversed(low)], "fill": "toself", "mode": "lines",
        "fillcolor": f"rgba({red},{green},{blue},0.18)", "line": {"width": 0},
        "hoverinfo": "skip", "showlegend": False,
    }  # fmt: skip
    markers = {"symbol": look.marker, "size": 7, "color": look.colour, "maxdisplayed": 12}
    line = {
        "x": x, "y": found.mean, "mode": "lines+markers", "name": label(name),
        "line": {"color": look.colour, "dash": look.dash, "width": 4 if thick else 2},
        "marker": markers, "hoverinfo": "text",
        "hovertext": [f"{label(name)}<br>step {step:,}: {m:.1f} ± {s:.1f}"
                      for step, m, s in zip(found.steps, found.mean, found.sd, strict=True)],
    }  # fmt: skip
    return [area, line] if any(found.sd) else [line]


def _limits(bands: Sequence[Band]) -> list[float]:
    low = [m - s for b in bands for m, s in zip(b.mean, b.sd, strict=True)]
    high = [m + s for b in bands for m, s in zip(b.mean, b.sd, strict=True)]
    if not low:
        return [0.0, 100.0]
    room = max(0.04 * (max(high) - min(low)), 0.5)
    return [min(low) - room, max(high) + room]


def _runs(runs: Sequence[Run]) -> dict[Key, dict[str, list[Run]]]:
    found: dict[Key, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        found[run.group][run.axes["strategy"]].append(run)
    return found
