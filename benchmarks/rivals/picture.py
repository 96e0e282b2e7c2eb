"""The README's picture: mean accuracy on the report sets against seconds, from the stored results.

``python benchmarks/rivals/picture.py --size 8`` writes ``docs/pictures/rivals-8.svg``. It needs
matplotlib, which is no dependency of the project. Accuracy is the mean over the sets on which every
contestant has a result for every seed, with the standard error over sets of the difference from the
default; seconds are those of the runs that were timed, on one thread of a processor.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from _store import RESULTS, Store

mpl.use("svg")
from matplotlib import pyplot as plt

NAMES = {
    "default": "headstart's default", "lr": "logistic regression\non frozen features",
    "ft20": "plain fine-tuning, 20 epochs", "lp-ft": "LP-FT",
}  # fmt: skip
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"


def main() -> None:
    """Draw one size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="8", help="rows of each class (%(default)s)")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    store = Store(RESULTS / "rivals.jsonl")
    records = [
        r for r in store.records.values() if r["size"] == arguments.size and r["model"] == "demo"
    ]
    scores, seconds = by_set(records, arguments.seeds), timed(records)
    figure, axes = plt.subplots(figsize=(7, 3.6))
    for name, label in NAMES.items():
        mean = statistics.mean(s[name] for s in scores.values())
        differences = [s[name] - s["default"] for s in scores.values()]
        error = statistics.stdev(differences) / len(scores) ** 0.5
        axes.errorbar(
            seconds[name], mean, yerr=error or None, fmt="o", capsize=3,
            color="C3" if name == "default" else "C0",
        )  # fmt: skip
        axes.annotate(f"{label}: {mean:.3f}", (seconds[name], mean), xytext=(8, 6),
                      textcoords="offset points")  # fmt: skip
        print(f"{name}: {mean:.4f}, standard error of the difference {error:.4f}, "
              f"{seconds[name]:.1f} s, {len(scores)} sets")  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(0.3, 200)
    axes.margins(y=0.25)
    axes.set_xlabel("processor seconds, one thread (log scale)")
    axes.set_ylabel(f"mean accuracy, {len(scores)} report sets")
    axes.set_title(f"{arguments.size} rows of each class, {arguments.seeds} seeds")
    axes.spines[["top", "right"]].set_visible(False)
    PICTURES.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(PICTURES / f"rivals-{arguments.size}.svg", metadata={"Date": None})


def by_set(records: list[dict[str, Any]], seeds: int) -> dict[str, dict[str, float]]:
    """Return each contestant's mean over seeds on the sets for which all results are there."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record["name"] in NAMES and record["seed"] < seeds:
            found[record["set"]][record["name"]].append(record["accuracy"])
    return {
        name: {contestant: statistics.mean(values) for contestant, values in row.items()}
        for name, row in found.items()
        if len(row) == len(NAMES) and all(len(values) == seeds for values in row.values())
    }


def timed(records: list[dict[str, Any]]) -> dict[str, float]:
    """Return each contestant's mean seconds over the sets on which all of them were timed."""
    kept = [r for r in records if r["seconds"] is not None]
    named = {n: {r["set"] for r in kept if r["name"] == n} for n in NAMES}
    kept = [r for r in kept if r["set"] in set.intersection(*named.values())]
    return {n: statistics.mean(r["seconds"] for r in kept if r["name"] == n) for n in NAMES}


if __name__ == "__main__":
    main()
