"""Pictures of the comparison of heads: final scores, and the head along stage 2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from headstart.analysis._base import Case
from headstart.analysis.shared.controls import Compared
from headstart.report.figures import Figure, label, layout, look_of, points
from headstart.study.outcome.tables import score_scale


def figures(case: Case, found: Sequence[Compared], number: int) -> Iterator[Figure]:
    """Draw a case: final scores by seed; norm and turn of the last weight over the steps."""
    yield _scores(case, found, number)
    told = "; ".join(
        f"{c.name} from {np.mean(c.first('norm')):.2f} to {np.mean(c.at_end('norm')):.2f}"
        for c in found
    )
    yield _over_steps(
        f"head-norm-{number}", f"Norm of the head's last weight, {case.name}",
        f"Frobenius norm, mean over the seeds: {told}.", found, "norm", "norm",
    )  # fmt: skip
    told = "; ".join(f"{c.name} {np.mean(c.angle):.3g}" for c in found)
    yield _over_steps(
        f"head-turn-{number}", f"How far the head turns, {case.name}",
        "Degrees between the last weight and what it was at step 0, mean over the seeds; 90 would "
        f"be a direction that has nothing to do with it. At the end: {told}.",
        found, "angle", "degrees from step 0",
    )  # fmt: skip


def _scores(case: Case, found: Sequence[Compared], number: int) -> Figure:
    names = [label(c.name) for c in found]
    data: list[dict[str, Any]] = []
    for place, side in enumerate(found):
        look, seeds = look_of(place), side.seeds
        data.append({
            "y": [names[place]] * len(seeds), "x": [points(v) for v in side.final],
            "mode": "markers", "name": names[place], "showlegend": False, "hoverinfo": "text",
            "hovertext": [f"{names[place]}<br>seed {s}: {points(v):.1f}"
                          for s, v in zip(seeds, side.final, strict=True)],
            "marker": {"symbol": look.marker, "size": 8, "color": look.colour, "opacity": 0.75},
        })  # fmt: skip
    means = [points(float(np.mean(side.final))) for side in found]
    data.append({
        "y": names, "x": means, "mode": "markers", "name": "mean", "meta": "ink",
        "marker": {"symbol": "line-ns-open", "size": 24, "line": {"width": 3}},
        "hoverinfo": "text", "hovertext": [f"mean: {mean:.1f}" for mean in means],
    })  # fmt: skip
    told = "; ".join(f"{c.name} {mean:.1f}" for c, mean in zip(found, means, strict=True))
    scale = score_scale(case.metrics)
    longest = max(len(line) for name in names for line in name.split("<br>"))
    return Figure(
        f"head-scores-{number}", f"Final score after each head, {case.name}",
        f"{scale}; each mark is a seed, the bar their mean: {told}.", data,
        layout(
            scale, "", 420, yaxis={"type": "category", "autorange": "reversed"},
            margin={"l": 24 + 7 * longest},
        ),
    )  # fmt: skip


def _over_steps(
    name: str, title: str, caption: str, found: Sequence[Compared], what: str, axis: str
) -> Figure:
    data = []
    for place, side in enumerate(found):
        look, (steps, values) = look_of(place), side.curve(what)
        data.append({
            "x": steps, "y": [round(v, 5) for v in values], "mode": "lines+markers",
            "name": label(side.name),
            "line": {"color": look.colour, "dash": look.dash, "width": 2},
            "marker": {"symbol": look.marker, "size": 7, "color": look.colour},
            "hoverinfo": "text",
            "hovertext": [f"{label(side.name)}<br>step {s}: {v:.3f}"
                          for s, v in zip(steps, values, strict=True)],
        })  # fmt: skip
    return Figure(name, title, caption, data, layout("step of stage 2", axis, margin={"l": 82}))
