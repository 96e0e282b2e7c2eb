"""Heat maps of parameter change: kinds of tensor by layers, one for each strategy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from headstart.analysis._base import Case, Side
from headstart.analysis.shared.change_tensors import (
    Tensor,
    absolute,
    by_seed,
    kinds,
    only,
    parts,
    relative,
    shortest,
    tensors,
)
from headstart.analysis.shared.numbers import with_sd
from headstart.report.figures import Figure, label, layout

Measure = Callable[[Iterable[Tensor]], float | None]
MEASURES: tuple[tuple[str, Measure, float, str], ...] = (
    ("relative change", relative, 100, "%"),
    ("absolute change", absolute, 1e6, "millionths"),
)
TICKS = 8
STEPS = (0, 0.25, 0.5, 0.75, 1)
"""Shades at which the colour bar is labelled."""
ROW = 30
LONGEST = 17
"""Characters in a line of the names beside a heat map, for which a telephone has room."""


def heat_maps(number: int, name: str, case: Case) -> Iterator[Figure]:
    """Draw a case: weights and biases apart, the strategies beside one another in one scale."""
    done = case.finished
    for sort, bias in (("weights", False), ("biases", True)):
        chosen = tensors(case, bias)
        if not chosen:
            continue
        for title, measure, factor, unit in MEASURES:
            grids = [_Grid(side, chosen, bias, measure, factor, unit) for side in done]
            most = max((grid.most for grid in grids), default=0.0) or 1.0
            for place, (side, grid) in enumerate(zip(done, grids, strict=True)):
                yield Figure(
                    f"change-{number}-{sort}-{title.split(' ')[0]}-{place}",
                    f"{side.variant.name}: {title} of {sort}, {name}",
                    grid.caption(sort, title),
                    [grid.trace(most, f"{title} in {unit}")], grid.layout(),
                    small=True,
                )  # fmt: skip


class _Grid:
    """One measure of one side, by kind and part, as a mean over the seeds."""

    def __init__(
        self, side: Side, chosen: Sequence[Tensor], bias: bool,
        measure: Measure, factor: float, unit: str,
    ) -> None:  # fmt: skip
        self.parts, self.kinds = parts(chosen), kinds(chosen)
        self.unit = unit
        self.found: dict[tuple[str, str], list[float]] = {}
        for each in chosen:
            values = by_seed(side, only(bias, each["part"], each["kind"]), measure)
            if values:
                self.found[each["kind"], each["part"]] = [factor * v for v in values.values()]

    @property
    def most(self) -> float:
        """The greatest mean."""
        return max((float(np.mean(values)) for values in self.found.values()), default=0.0)

    def caption(self, sort: str, title: str) -> str:
        """Say in words where the heat map is darkest."""
        if not self.most:
            return f"No change of {sort}."
        (kind, part), values = max(self.found.items(), key=lambda item: float(np.mean(item[1])))
        (low_kind, low_part), low = min(self.found.items(), key=lambda i: float(np.mean(i[1])))
        return (
            f"Greatest {title}: {kind}, {part}, {with_sd(values)} {self.unit}; smallest: "
            f"{low_kind}, {low_part}, {with_sd(low)} {self.unit}."
        )

    def trace(self, most: float, title: str) -> dict[str, Any]:
        """Return the trace; page.js gives it the colours of the page."""
        every = [[self.found.get((kind, part)) for part in self.parts] for kind in self.kinds]
        return {
            "type": "heatmap", "meta": "heat", "zmin": 0, "zmax": 1, "xgap": 1, "ygap": 1,
            "x": [*range(len(self.parts))], "y": [*range(len(self.kinds))],
            "z": [[_shade(v, most) for v in row] for row in every],
            "hoverongaps": False, "hoverinfo": "text",
            "text": [
                [f"{label(kind)}<br>{part}: {with_sd(v)} {self.unit}" if v else ""
                 for part, v in zip(self.parts, row, strict=True)]
                for kind, row in zip(self.kinds, every, strict=True)
            ],
            "colorbar": {
                "orientation": "h", "thickness": 10, "x": 0, "xanchor": "left", "len": 1,
                "y": 1, "yanchor": "bottom", "ypad": 4, "xpad": 0, "outlinewidth": 0,
                "tickvals": STEPS, "ticktext": [_short(most * step**2) for step in STEPS],
                "title": {"text": title, "side": "top", "font": {"size": 12}},
                "tickfont": {"size": 11},
            },
        }  # fmt: skip

    def layout(self) -> dict[str, Any]:
        """Return the layout; its height is that of the rows."""
        short = shortest(self.kinds)
        told = [_in_two(label(short[kind], 40)) for kind in self.kinds]
        ticks = [*range(len(self.parts))]
        inner = [i for i in ticks if self.parts[i].startswith("layer ")]
        step = -(-len(inner) // TICKS)
        shown = [i for i in ticks if i not in inner] + inner[::step]
        short_parts = [p.removeprefix("layer ").replace("embeddings", "emb") for p in self.parts]
        longest = max(len(line) for text in told for line in text.split("<br>"))
        axes = {
            "xaxis": {"tickvals": shown, "ticktext": [short_parts[i] for i in shown],
                      "tickangle": 0, "showgrid": False, "tickfont": {"size": 11}},
            "yaxis": {"tickvals": [*range(len(self.kinds))], "ticktext": told, "showgrid": False,
                      "range": [len(self.kinds) - 0.5, -0.5], "tickfont": {"size": 11}},
            "margin": {"l": 20 + round(6.6 * longest), "t": 66, "r": 24},
            "showlegend": False,
        }  # fmt: skip
        return layout("layer", "", 66 + 90 + ROW * len(self.kinds), **axes)


def _short(number: float) -> str:
    return f"{number:.2g}" if number < 10 else f"{number:,.0f}"


def _shade(values: Sequence[float] | None, most: float) -> float | None:
    """Return how dark a mean is, from 0 to 1: by its root, since a few tensors change far more."""
    return math.sqrt(float(np.mean(values)) / most) if values else None


def _in_two(text: str) -> str:
    """Break a long name after the last dot or stroke that lets its first line fit."""
    if len(text) <= LONGEST:
        return text
    at = max(text.rfind(sign, 0, LONGEST) for sign in "._")
    return text if at < 0 else f"{text[: at + 1]}<br>{text[at + 1 :]}"
