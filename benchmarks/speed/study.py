"""What a run of a study costs beside its training: runs of two steps, in a study and by ``fit``.

200 short rows, 100 to validate on, the demo's encoder. ``s_run`` is the wall time of one more run:
that of many less that of two, by the number between. It holds what every run has beside its steps
(the backbone is loaded, the rows judged, the result written); what the study itself adds, planning,
locks and records, is the difference of the sides. ``s_two`` holds the imports.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from _rows import model, rows
from _turns import parser, run

STRATEGY, TRAIN, VALIDATION = "full(steps=2)", 200, 100


def study(folder: Path, settings: dict[str, Any], seeds: range) -> None:
    """Carry out one study."""
    import headstart as hs

    files = {name: settings.pop(name) for name in ("train", "validation", "text", "model")}
    hs.run_study(
        out=folder / "study", strategies=STRATEGY, seeds=list(seeds), settings=settings, **files
    )


def fits(folder: Path, settings: dict[str, Any], seeds: range) -> None:
    """Carry out the same runs without one."""
    import headstart as hs

    for seed in seeds:
        hs.fit(strategy=STRATEGY, seed=seed, out=folder / str(seed), **settings)


def measure(side: Any, arguments: argparse.Namespace) -> dict[str, float]:
    """Time two runs and then many."""
    table = rows("short", TRAIN + VALIDATION, tiny=arguments.tiny)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        files = {name: f"{folder}/{name}.csv" for name in ("train", "validation")}
        table.head(TRAIN).to_csv(files["train"], index=False)
        table.tail(VALIDATION).to_csv(files["validation"], index=False)
        for count in (2, arguments.runs):
            settings = {**files, "text": "text", "model": model(tiny=arguments.tiny)}
            began = time.perf_counter()
            side(Path(folder) / str(count), {**settings, "guard": False}, range(count))
            found.append(time.perf_counter() - began)
    return {"s_run": (found[1] - found[0]) / (arguments.runs - 2), "s_two": found[0]}


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=12)
    arguments = options.parse_args()
    arguments.runs = 6 if arguments.tiny else max(3, arguments.runs)
    sides = {
        "study": lambda a: measure(study, a),
        "fit": lambda a: measure(fits, a),
    }
    run(arguments, sides, "study", "s_run")


if __name__ == "__main__":
    main()
