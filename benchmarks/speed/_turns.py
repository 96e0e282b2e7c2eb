"""Measurements in turn: A B A B ..., each in a process of its own, in one run.

With ``--tiny`` all happen in one process, on one thread: its figures mean nothing, imports take
longest, and steps so small take many times as long where two threads wait for each other on a
machine that is in use.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

PACKAGES = ("headstart", "torch", "transformers", "accelerate", "peft", "numpy")
Measure = Callable[[argparse.Namespace], dict[str, float]]


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--rounds", type=int, default=3, help="How often each side is measured.")
    made.add_argument("--out", type=Path, help="Where the figures go, as JSON.")
    made.add_argument("--tiny", action="store_true", help="A random model: does it work at all?")
    made.add_argument("--sides", nargs="+", help="Measure these sides only.")
    made.add_argument("--only", help="Measure this side once, in this process.")
    return made


def run(
    arguments: argparse.Namespace, sides: dict[str, Measure], ours: str, figure: str
) -> dict[str, dict[str, float]]:
    """Measure every side in turn and print medians, and ratios to ``ours``.

    One call of a side makes one measurement; ``figure`` is the time of which ratios are printed.
    The medians of each side are returned; nothing if only one was to be measured in this process.
    """
    asked = {*(arguments.sides or ()), *([arguments.only] if arguments.only else [])}
    if asked - sides.keys():
        known, found = ", ".join(sides), ", ".join(sorted(asked - sides.keys()))
        raise SystemExit(f"error: expected sides out of: {known}; found {found}")
    if arguments.tiny:
        os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported, which no script has yet
    if arguments.only:
        print(json.dumps(_once(sides[arguments.only], arguments)))
        return {}
    sides = {n: side for n, side in sides.items() if not arguments.sides or n in arguments.sides}
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for number in range(arguments.rounds):
        for name, side in sides.items():
            measured[name].append(_once(side, arguments) if arguments.tiny else _child(name))
            print(f"round {number + 1}: {name}: {_show(measured[name][-1])}", flush=True)
    medians = {name: _median(values) for name, values in measured.items()}
    print("\n" + table(medians, ours, figure))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        options = {k: v for k, v in vars(arguments).items() if k not in ("out", "only")}
        record = {
            "command": Path(sys.argv[0]).name,
            "options": options,
            "machine": machine(),
            "medians": medians,
            "measured": measured,
        }
        arguments.out.write_text(json.dumps(record, indent=1, default=str) + "\n")
    return medians


def table(medians: dict[str, dict[str, float]], ours: str, figure: str) -> str:
    """Return the medians as a Markdown table, with each side's time over ours."""
    columns = list(dict.fromkeys(key for values in medians.values() for key in values))
    lines = [f"| | {' | '.join(columns)} | {figure} / {ours} |"]
    lines.append("|" + "---|" * (len(columns) + 2))
    for name, values in medians.items():
        cells = [f"{values[key]:.3g}" if key in values else "" for key in columns]
        ratio = values[figure] / medians[ours][figure] if figure in values else None
        lines.append(f"| {name} | {' | '.join(cells)} | {f'{ratio:.2f}' if ratio else ''} |")
    return "\n".join(lines)


def native() -> str:
    """Return the type in which the processor multiplies fastest: ``bf16`` or ``fp32``.

    headstart takes it if not told, and so does a tuned peer. Where bf16 is only emulated it is some
    nine times slower than fp32, and to be faster than that would show nothing.
    """
    from headstart.training.machine.runtime import native_precision

    return native_precision("cpu")[0]


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    info = Path("/proc/cpuinfo")
    names = info.read_text().splitlines() if info.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in names if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "precision": native(),
        "when": time.strftime("%Y-%m-%d"),
        **{package: version(package) for package in PACKAGES},
    }


def _once(side: Measure, arguments: argparse.Namespace) -> dict[str, float]:
    with mock.patch.dict(os.environ):
        found = side(arguments)
    return {**found, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _child(name: str) -> dict[str, float]:
    command = [sys.executable, *sys.argv, "--only", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _median(values: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(v[key] for v in values) for key in values[0]}


def _show(values: dict[str, float]) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in values.items())
