"""Records of studies that nobody has run: plausible in shape, with scores set by hand."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.report.read import Evidence, evidence_of
from headstart.results import Point, RunResult, StageResult
from headstart.study.outcome.read import Records
from headstart.study.store import PlannedRun, Store

FULL, BITFIT, PROBED = "full", "bitfit > full", "head > full"
NASTY = "<script>alert(1)</script>"
Score = Callable[[str, int], float]


def curve(start: float, end: float, steps: int, points: int = 9) -> list[Point]:
    """Return a curve that rises fast at first."""
    made = []
    for i in range(points):
        score = start + (end - start) * (1 - math.exp(-4 * i / (points - 1))) / (1 - math.exp(-4))
        loss = None if i == 0 else 1 - score
        made.append(Point(i * steps // (points - 1), loss, {"score": score, "loss": 1 - score}))
    return made


def result(
    axes: Mapping[str, Any], score: float, points: int = 9, metric: str = "accuracy"
) -> RunResult:
    """Return the record of a run that ends at a score."""
    lines, start, stages = axes["strategy"].split(" > "), 0.5, []
    for i, line in enumerate(lines):
        end = score if i == len(lines) - 1 else (score + 0.5) / 2
        points_of_it = curve(start, end, 40 if i < len(lines) - 1 else 120, points)
        tuner, steps = re.split(r"[(+]", line)[0], points_of_it[-1].step
        stages.append(StageResult(
            line, tuner, 1, steps, 1e-4, 1e-3, {"head": 2, "tuner": 3, "frozen": 0}, steps=steps,
            seconds=9.0 + len(line) / 4 + axes["seed"] / 10, start={"score": start},
            end={"score": end}, curve=points_of_it,
            handed_on="model" if i == len(lines) - 1 else "head",
        ))  # fmt: skip
        start = end
    rows = axes["train_rows"] or 5000
    return RunResult(
        axes["strategy"], axes["seed"],
        {"name": axes["task"], "metrics": [metric], "labels": ["no", "yes"]},
        {"lr": 1e-4, "epochs": 3.0, "batch_size": 32, "strategy": axes["strategy"], "out": None},
        {"train_rows": rows, "validation_rows": 400, "untouched_rows": 0,
         "train_fingerprint": f"sha256:{rows:08x}"},
        {"source": axes["model"], "parameters": 22_713_216},
        {"device": "cpu", "precision": "fp32", "threads": 1},
        {"headstart": "0.1.0", "python": "3.11.7", "torch": "2.8.0"},
        stages, {metric: score, "score": score}, {metric: score, "score": score},
    )  # fmt: skip


def record(
    axes: Mapping[str, Any], score: float, points: int = 9, metric: str = "accuracy"
) -> dict[str, Any]:
    """Return a finished run as it stands in ``results/``."""
    plain = result(axes, score, points, metric).to_plain()
    return {"id": identity(axes), "axes": dict(axes), "result": plain, "measured": {}}


def failure(axes: Mapping[str, Any], error: str = "the loss is not a number") -> dict[str, Any]:
    """Return a failed run as it stands in ``failures/``."""
    kind = "TrainingError"
    return {"id": identity(axes), "axes": dict(axes), "kind": kind, "error": error, "trace": ""}


def identity(axes: Mapping[str, Any]) -> str:
    """Return a name for a run that a file can have."""
    return f"{abs(hash(tuple(map(str, axes.values())))):x}"


def axes(
    strategy: str, seed: int, task: str = "reviews", rows: int | None = None
) -> dict[str, Any]:
    """Return what tells a run from others."""
    return {"task": task, "model": "tiny-model", "strategy": strategy, "train_rows": rows,
            "seed": seed}  # fmt: skip


def gather(
    address: str,
    results: Sequence[dict[str, Any]],
    lost: Sequence[dict[str, Any]],
    baseline: str,
    strategies: Sequence[str],
    planned: Sequence[PlannedRun] = (),
    asked: Sequence[dict[str, Any]] = (),
    damaged: Sequence[str] = (),
) -> Evidence:
    """Return what records tell that stand in no folder."""
    shown, failed = (
        [r for r in records if r["axes"]["strategy"] in strategies] for records in (results, lost)
    )
    return evidence_of(address, Records(
        shown, failed, baseline, list(strategies), list(planned), list(asked), list(damaged),
        lambda _: None,
    ))  # fmt: skip


def evidence(
    score: Score,
    strategies: Sequence[str] = (FULL, BITFIT),
    seeds: int = 8,
    tasks: Sequence[str] = ("reviews",),
    sizes: Sequence[int | None] = (None,),
    lost: Sequence[dict[str, Any]] = (),
    points: int = 9,
    metric: str = "accuracy",
    **more: Any,
) -> Evidence:
    """Return a whole study with a score for each strategy and seed."""
    runs = [axes(s, seed, task, rows) for seed in range(seeds) for task in tasks for rows in sizes
            for s in strategies]  # fmt: skip
    planned = [
        PlannedRun(identity(a), a, {**a, "epochs": 3}) for a in [*runs, *(f["axes"] for f in lost)]
    ]
    records = [record(a, score(a["strategy"], a["seed"]), points, metric) for a in runs]
    return gather("studies/x", records, lost, strategies[0], strategies, planned=planned, **more)


def noisy(gains: Mapping[str, float], spread: float = 0.01) -> Score:
    """Return scores that differ by strategy and a little by chance."""
    chance = random.Random(0)  # noqa: S311
    return lambda strategy, _: 0.7 + gains.get(strategy, 0.0) + chance.gauss(0, spread)


def write(study: Evidence, records: Sequence[dict[str, Any]], folder: Path) -> None:
    """Write a study's folder."""
    store = Store(folder).open(create=True)
    names = list(dict.fromkeys(run.axes["strategy"] for run in study.planned))
    store.add_plan(study.planned, {"baseline": names[0], "strategies": names})
    for run, each in zip(study.planned, records, strict=True):
        store.put(run, each["result"], np.zeros((4, 2), np.float32))
