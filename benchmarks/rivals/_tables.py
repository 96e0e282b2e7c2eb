"""Results as Markdown tables."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any


def show(records: list[dict[str, Any]]) -> str:
    """Return a table of mean accuracies: a row a set and size, a column a contestant."""
    names = list(dict.fromkeys(r["name"] for r in records))
    cells: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for record in records:
        cells[record["set"], record["size"]][record["name"]].append(record)
    lines = [f"| set | rows a class | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for (name, size), row in sorted(cells.items(), key=lambda item: (item[0][1], item[0][0])):
        means = {n: statistics.mean(r["accuracy"] for r in row[n]) for n in names if row[n]}
        best = max(means.values())
        shown = [
            f"**{m:.3f}**" if (m := means.get(n)) == best else "" if m is None else f"{m:.3f}"
            for n in names
        ]
        lines.append(f"| {name} | {size} | {' | '.join(shown)} |")
    for label, what in (("mean", "accuracy"), ("log loss", "loss"), ("seconds", "seconds")):
        for size in sorted({size for _, size in cells}):
            shown = [_mean(cells, names, n, size, what) for n in names]
            lines.append(f"| **{label}** | {size} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _mean(cells: Any, names: list[str], name: str, size: str, what: str) -> str:
    """Return the mean over the sets on which every contestant has a result."""
    whole = [row for (_, s), row in cells.items() if s == size and all(row[n] for n in names)]
    if not whole:
        return ""
    if any(r[what] is None for row in whole for r in row[name]):
        return ""  # not timed
    value = statistics.mean(statistics.mean(r[what] for r in row[name]) for row in whole)
    return f"{value:.1f}" if what == "seconds" else f"{value:.3f}"
