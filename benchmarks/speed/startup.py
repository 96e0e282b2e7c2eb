"""Start-up: ``headstart --help``, and ``fit`` up to its first optimizer step.

``seconds`` of ``help`` is the median of whole processes; of ``fit`` it begins when torch and
transformers are imported, whose time is ``s_imports``, and end with the first step, on 200 rows.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _rows import model, rows
from _turns import parser, run


def show_help(_: argparse.Namespace) -> dict[str, float]:
    """Ask for the help page."""
    times = []
    for _round in range(5):
        began = time.perf_counter()
        command = [sys.executable, "-m", "headstart", "--help"]
        subprocess.run(command, capture_output=True, check=True)  # noqa: S603
        times.append(time.perf_counter() - began)
    return {"seconds": statistics.median(times)}


def fit(arguments: argparse.Namespace) -> dict[str, float]:
    """Train two steps from a CSV file."""
    folder, table = model(tiny=arguments.tiny), rows("short", 200, tiny=arguments.tiny)
    with tempfile.TemporaryDirectory() as place:
        table.to_csv(Path(place) / "train.csv", index=False)
        # In another process, so that nothing is there beforehand.
        command = [sys.executable, "-c", _FIT, folder, place]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    imports, seconds = map(float, done.stdout.splitlines()[-1].split())
    return {"seconds": seconds, "s_imports": imports}


_FIT = """
import sys, time
import headstart as hs
began = time.perf_counter()
import torch, transformers
imported, first = time.perf_counter(), []

class Clock(hs.Listener):
    def step(self, step, loss):
        first.append(time.perf_counter())

folder, place = sys.argv[1:]
hs.fit(model=folder, train=place + "/train.csv", text="text", strategy="full(steps=2)",
       out=place + "/run", listener=Clock())
print(imported - began, first[0] - imported)
"""


def main() -> None:
    """Measure and print."""
    run(parser(__doc__).parse_args(), {"fit": fit, "help": show_help}, "fit", "seconds")


if __name__ == "__main__":
    main()
