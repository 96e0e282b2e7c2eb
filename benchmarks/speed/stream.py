"""Peak memory of ``headstart predict`` on files of growing length, and whether order is kept.

A tiny random encoder, so that it is the handling of rows that is seen. Peak memory shall not grow
with the file.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _rows import model, rows
from _turns import parser, run

WORDS = "a dull film with no plot and some great acting that moves you".split()  # noqa: SIM905


def predict(arguments: argparse.Namespace, count: int) -> dict[str, float]:
    """Generate rows, predict them by the command line, and compare the order."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _finished_run(folder / "run", arguments)
        with (folder / "rows.csv").open("w") as file:
            file.write("number,text\n")
            for n in range(count):
                file.write(f"{n},{' '.join(WORDS[(n + i) % 13] for i in range(1 + n * 7 % 30))}\n")
        began = time.perf_counter()
        command = ["predict", folder / "run", "--data", folder / "rows.csv"]
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "headstart", *command, "--out", folder / "out.csv"], check=False
        )
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        with (folder / "out.csv").open() as file:
            next(file)
            kept = sum(line.split(",", 1)[0] == f'"{n}"' for n, line in enumerate(file))
        if done.returncode or kept != count:
            raise SystemExit(f"code {done.returncode}; {kept} of {count} rows in their place")
    return {"rows": count, "peak_of_predict_mb": peak, "us_row": 1e6 * seconds / count}


def _finished_run(out: Path, arguments: argparse.Namespace) -> None:
    import headstart as hs

    table = rows("short", 32, tiny=True)
    hs.fit(
        model=model(tiny=True), train=table, validation=table, text="text", out=str(out),
        strategy="full(steps=1)", guard=False, max_length=arguments.longest,
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--longest", type=int, default=32)
    arguments = options.parse_args()
    count = 2000 if arguments.tiny else arguments.rows
    shares = {"a hundredth": 100, "a tenth": 10, "all": 1}
    if arguments.tiny:
        del shares["a hundredth"]  # each starts a process, which takes longest
    sides = {name: lambda a, part=part: predict(a, count // part) for name, part in shares.items()}
    run(arguments, sides, "all", "us_row")


if __name__ == "__main__":
    main()
