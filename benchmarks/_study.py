"""Runs through the command line, side by side, and their scores as a table."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """One run: a folder's name and the options of ``headstart fit``."""

    name: str
    options: tuple[str, ...]


def run_all(jobs: Iterable[Job], out: Path, workers: int) -> None:
    """Run what is not there yet, each run on its share of the processor."""
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda job: _run(job, out / job.name, threads), jobs))


def _run(job: Job, out: Path, threads: str) -> None:
    if (out / "result.json").is_file():
        return
    command = [sys.executable, "-m", "headstart", "fit", *job.options, "--out", str(out)]
    command += ["--threads", threads, "--overwrite", "--quiet"]
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    print(f"{job.name}: {done.stdout.strip() or done.stderr.strip()}", flush=True)
    for weights in out.glob("model/*.safetensors"):
        weights.unlink()


def results(out: Path, name: str, seeds: Sequence[int]) -> list[dict[str, object]]:
    """Read the records of one strategy's seeds, those that are there."""
    found = [out / name.format(seed=seed) / "result.json" for seed in seeds]
    return [json.loads(path.read_text(encoding="utf-8")) for path in found if path.is_file()]


def mean_sd(values: Sequence[float]) -> str:
    """Show a mean with its standard deviation."""
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"
