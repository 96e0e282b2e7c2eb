"""The figures about scores: by seed, by training size, by cost; plain data for plotly.js."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.report.read import Evidence
from headstart.study.outcome.statistics import Description
from headstart.study.outcome.summary import Entry, Group, Key, Summary
from headstart.study.outcome.tables import score_scale, short_name, show_interval
from headstart.untrusted import one_line, shortened

COLOURS = ("#4f86d6", "#d07a2d", "#2f9e77", "#c25a9c", "#8b73d6", "#8f8a3a", "#c9504f", "#4b98a8")
"""Each has a contrast of at least 3 to 1 with the light and with the dark page."""
MARKERS = (
    "circle", "diamond", "square", "triangle-up", "x", "star", "triangle-down", "cross", "pentagon",
)  # fmt: skip
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
LONGEST_NAME = 34
LONGEST_LABEL = 400


@dataclass(frozen=True)
class Figure:
    """One figure.

    Args:
        id: Its identity on the page.
        title: What it shows, in a line.
        caption: What is to be seen in it, as text; also for those who do not see it.
        data: Traces of plotly.
        layout: Layout of plotly, without colours of the page.
        small: Whether several stand side by side.
    """

    id: str
    title: str
    caption: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    small: bool = False


@dataclass(frozen=True)
class Look:
    """Colour, shape of the markers and line of a strategy; no two differ by colour alone."""

    colour: str
    marker: str
    dash: str


def looks(summary: Summary) -> dict[str, Look]:
    """Choose the look of every strategy of a study, the same in all figures."""
    names = {e.strategy: None for g in summary.groups for e in g.entries}
    return {name: look_of(i) for i, name in enumerate(names)}


def look_of(place: int) -> Look:
    """Return the look of what stands at a place, from 0, in a figure."""
    return Look(*(kinds[place % len(kinds)] for kinds in (COLOURS, MARKERS, DASHES)))


def label(text: str, longest: int = LONGEST_NAME) -> str:
    """Return text as plotly shows it as it is, in lines that fit a telephone."""
    lines = [""]
    for word in one_line(shortened(text, LONGEST_LABEL)).split(" "):
        parts = [word[i : i + longest] for i in range(0, len(word), longest)] or [""]
        for part in parts:
            if lines[-1] and len(lines[-1]) + len(part) + 1 > longest:
                lines.append(part)
            else:
                lines[-1] = f"{lines[-1]} {part}" if lines[-1] else part
    return "<br>".join(
        line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in lines
    )


def points(value: float) -> float:
    """Return a score times 100, short enough for a page. For example 73.25."""
    return round(100 * float(value), 3)


def layout(x: str, y: str, height: int = 380, **more: Any) -> dict[str, Any]:
    """Return the layout that the figures share, with the axes' titles and the height in pixels."""
    made: dict[str, Any] = {
        "height": height,
        # page.js makes room for the legend, whose height depends on the width of the page.
        "margin": {"l": 58, "r": 14, "t": 10, "b": 90, "autoexpand": False},
        "xaxis": {"title": {"text": label(x, LONGEST_LABEL)}, "zeroline": False},
        "yaxis": {"title": {"text": label(y, LONGEST_LABEL)}, "zeroline": False},
        "legend": {"orientation": "h", "y": -0.22, "yanchor": "top", "x": 0, "maxheight": 2000},
        "showlegend": True,
        "hovermode": "closest",
        "dragmode": False,
    }
    for name, value in more.items():
        made[name] = {**made.get(name, {}), **value} if isinstance(value, dict) else value
    return made


def by_seed(summary: Summary) -> Iterator[Figure]:
    """Draw each seed as a line from the baseline to a strategy."""
    for number, group in enumerate(summary.groups):
        base = next((e for e in group.entries if e.strategy == summary.baseline), None)
        if base is None:
            continue
        pairs = [(e, sorted(e.runs.keys() & base.runs.keys())) for e in group.entries]
        shown = [(e, seeds) for e, seeds in pairs if e is not base and seeds]
        scores = [points(side.runs[s].score) for e, seeds in shown for s in seeds
                  for side in (e, base)]  # fmt: skip
        for place, (entry, seeds) in enumerate(shown):
            yield _pairs(f"seeds-{number}-{place}", group, summary, entry, base, seeds, scores)


def _pairs(
    name: str, group: Group, summary: Summary, entry: Entry, base: Entry,
    seeds: Sequence[int], scores: Sequence[float],
) -> Figure:  # fmt: skip
    both = {s: (points(base.runs[s].score), points(entry.runs[s].score)) for s in seeds}
    better = [s for s, (old, new) in both.items() if new > old]
    worse = [s for s, (old, new) in both.items() if new < old]
    same = [s for s in seeds if s not in better and s not in worse]
    kinds = ((better, "better", 0, "solid"), (worse, "worse", 1, "dash"), (same, "same", 5, "dot"))
    data = [
        _slopes({s: both[s] for s in chosen}, kind, COLOURS[colour], dash)
        for chosen, kind, colour, dash in kinds
        if chosen
    ]
    means = [float(np.mean(side)) for side in zip(*both.values(), strict=True)]
    told = [f"mean: {mean:.1f}" for mean in means]
    data.append({
        "x": [0, 1], "y": means, "mode": "lines+markers", "name": "mean", "hoverinfo": "text",
        "hovertext": told, "line": {"width": 5}, "marker": {"symbol": "square", "size": 11},
        "meta": "ink",
    })  # fmt: skip
    difference = entry.comparison.difference if entry.comparison else None
    shown = f"; mean difference {show_interval(difference)} points" if difference else ""
    ours, theirs = short_name(entry.strategy), short_name(summary.baseline)
    room = max(0.06 * (max(scores) - min(scores)), 0.2)
    axes = {
        "xaxis": {"tickvals": [0, 1], "ticktext": ["baseline", "strategy"], "range": [-0.2, 1.2]},
        "yaxis": {"range": [min(scores) - room, max(scores) + room]},
        "legend": {"y": -0.14},
    }
    return Figure(
        name,
        f"{ours} against {theirs}{where(group, summary)}",
        f"{len(better)} of {len(seeds)} seeds are better than the baseline, {len(worse)} worse"
        f"{shown}.",
        data, layout("", score_scale(group.metrics), 320, **axes), small=True,
    )  # fmt: skip


def _slopes(
    both: Mapping[int, tuple[float, float]], kind: str, colour: str, dash: str
) -> dict[str, Any]:
    x: list[float | None] = []
    y: list[float | None] = []
    told, symbols = [], []
    for seed, (old, new) in both.items():
        x += [0, 1, None]
        y += [old, new, None]
        symbols += ["circle-open", "diamond", "circle"]
        told += [f"seed {seed}: {old:.1f} to {new:.1f}"] * 2 + [""]
    return {
        "x": x, "y": y, "mode": "lines+markers", "name": f"{kind} ({len(both)})",
        "line": {"color": colour, "dash": dash, "width": 1.5},
        "marker": {"symbol": symbols, "size": 8, "color": colour},
        "hovertext": told, "hoverinfo": "text",
    }  # fmt: skip


def by_size(evidence: Evidence) -> Iterator[Figure]:
    """Draw the score against the number of training rows.

    There is one for each task, model and setting that has several sizes.
    """
    look = looks(evidence.summary)
    sizes = {run.group: int(run.result.data.get("train_rows") or 0) for run in evidence.runs}
    families: dict[Key, list[tuple[float, Group]]] = defaultdict(list)
    for group in evidence.summary.groups:
        if used := sizes.get(group.key):
            task, model, _, *settings = group.key
            families[task, model, *settings].append((used, group))
    several = [sorted(found, key=lambda f: f[0]) for found in families.values() if len(found) > 1]
    for number, found in enumerate(several):
        first = found[0][1]
        scale = score_scale(first.metrics)
        lines: dict[str, list[tuple[float, Entry]]] = defaultdict(list)
        for rows, group in found:
            for entry in group.entries:
                if entry.scores:
                    lines[entry.strategy].append((rows, entry))
        data = [_with_spread(s, look[s], places, "rows") for s, places in lines.items()]
        told = "; ".join(
            f"{short_name(s)} from {points(at[0][1].scores.mean):.1f} with {at[0][0]:,} rows to "  # type: ignore[union-attr]
            f"{points(at[-1][1].scores.mean):.1f} with {at[-1][0]:,}"  # type: ignore[union-attr]
            for s, at in lines.items()
        )
        ticks = [rows for rows, _ in found]
        axis = {"type": "log", "tickvals": ticks, "ticktext": [f"{t:,}" for t in ticks]}
        yield Figure(
            f"sizes-{number}", f"{first.task}{_settings(first, evidence.summary)}",
            f"Mean {scale}, with bars of one standard deviation over the seeds: {told}.",
            data, layout("training rows", scale, xaxis=axis),
        )  # fmt: skip


def by_cost(summary: Summary) -> Iterator[Figure]:
    """Draw the score against the time of a run."""
    look = looks(summary)
    for number, group in enumerate(summary.groups):
        done = [e for e in group.entries if e.scores and e.seconds is not None]
        if not done:
            continue
        scale = score_scale(group.metrics)
        data = [_with_spread(e.strategy, look[e.strategy], [(e.seconds or 0, e)], "s")
                | {"mode": "markers"} for e in done]  # fmt: skip
        told = "; ".join(
            f"{short_name(e.strategy)}: {points(e.scores.mean):.1f} in {e.seconds:,.1f} s"  # type: ignore[union-attr]
            for e in done
        )
        yield Figure(
            f"cost-{number}", group_name(group, summary),
            f"Mean {scale} and mean wall time of a run, with bars of one standard deviation over "
            f"the seeds. {told}.",
            data, layout("seconds for a run", scale, 340, xaxis={"rangemode": "tozero"}),
        )  # fmt: skip


def _with_spread(
    strategy: str, look: Look, places: Sequence[tuple[float, Entry]], unit: str
) -> dict[str, Any]:
    found = [(at, e.scores) for at, e in places if e.scores]
    return with_bars(short_name(strategy), look, found, unit)


def with_bars(
    name: str, look: Look, found: Sequence[tuple[float, Description]], unit: str
) -> dict[str, Any]:
    """Draw mean scores as a line, with bars of one standard deviation.

    ``found`` are places on the horizontal axis, in ``unit``, and the scores there.
    """
    return {
        "x": [round(at, 2) for at, _ in found],
        "y": [points(s.mean) for _, s in found],
        "error_y": {"array": [points(s.sd or 0) for _, s in found], "color": look.colour,
                    "thickness": 1.2},
        "mode": "lines+markers", "name": label(name),
        "line": {"color": look.colour, "dash": look.dash, "width": 2},
        "marker": {"symbol": look.marker, "size": 11, "color": look.colour},
        "hoverinfo": "text",
        "hovertext": [
            f"{label(name)}<br>{points(s.mean):.1f} at {round(at, 1):,.10g} {unit}, {s.n} seeds"
            for at, s in found
        ],
    }  # fmt: skip


def group_name(group: Group, summary: Summary) -> str:
    """Return what a group is called, with its model where the study has several."""
    models = {g.model for g in summary.groups}
    return f"{group.name}, {group.model}" if len(models) > 1 else group.name


def where(group: Group, summary: Summary) -> str:
    """Return a comma and the group's name where the study has several groups."""
    return f", {group_name(group, summary)}" if len(summary.groups) > 1 else ""


def _settings(group: Group, summary: Summary) -> str:
    several = len({g.model for g in summary.groups}) > 1
    extra = "".join(f", {k} {v}" for k, v in group.settings.items())
    return f"{f', {group.model}' if several else ''}{extra}"
