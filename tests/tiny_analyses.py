"""Analyses of runs that nobody has carried out: measurements set by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import tiny_records
from headstart.analysis import ANALYSES
from headstart.analysis._base import Case, Findings, Side, Variant
from headstart.report.read import Run
from headstart.results import RunResult

Measured = Mapping[str, Any]
LAYERS = 3
KINDS = ("attention.self.query", "attention.output.LayerNorm", "intermediate.dense", "output.dense")


def drift(far: float, *, rows: int = 40, cka: float | None = 0.9) -> Measured:
    """Return what the drift observer finds where features move by a distance."""
    at = {
        place: {"l2": far, "norm": 8.0, "cka": cka} for place in ("first token", "mean of tokens")
    }
    return {"stages": [{"stage": "full", "read_at": at}], "rows": rows}


def tensor(part: str, kind: str, change: float, before: float, **more: Any) -> dict[str, Any]:
    """Return what the change observer says of a tensor; a weight of 10 elements if not told."""
    own = {"part": part, "kind": kind, "bias": False, "size": 10}
    return {**own, "change": change, "before": before, **more}


def change(much: float) -> Measured:
    """Return what the change observer finds in a small encoder, upper layers changing more."""
    found = [tensor("embeddings", "embeddings.word_embeddings", much / 20, 0.5, size=1000)]
    for layer in range(LAYERS):
        for n, kind in enumerate(KINDS):
            far = much * (1 + layer) * (1 + n / 4)
            found.append(tensor(f"layer {layer}", kind, far, 0.5, size=100))
            found.append(tensor(f"layer {layer}", kind, far / 2, 0.25 * n, bias=True))
    return {"tensors": [*found, tensor("above", "pooler.dense", much, 0.5, size=100)]}


def judged(log_loss: float, ece: float) -> Measured:
    """Return what is found of probabilities that are too sure in one bin and right in another."""
    return {
        "log_loss": log_loss, "brier": log_loss / 2, "ece": ece, "count": [10, 0, 30],
        "confidence": [0.6, None, 0.9], "accuracy": [0.6, None, 0.9 - ece],
    }  # fmt: skip


def calibration(ece: float) -> Measured:
    """Return what the calibration observer finds where a temperature halves the error."""
    before, after = judged(0.6, ece), judged(0.5, ece / 2)
    return {"before": before, "after": after, "temperature": 1.5, "rows": 40, "same": True}


def head(much: float) -> Measured:
    """Return what the head observer finds of a head whose norm grows."""
    points = [
        {"step": step, "norm": 1.0 + step * much, "cosine": 1.0 - step * much,
         "whole_norm": 2.0, "whole_cosine": 1.0}
        for step in (0, 50, 100)
    ]  # fmt: skip
    return {
        "pretrained": "sha256:0", "start": "sha256:1", "points": points, "values": [1.0, much],
        "cosine_to_pretrained": 0.5, "given_up": "", "notes": [],
    }  # fmt: skip


MEASURED: dict[str, Callable[[float], Measured]] = {
    "drift": drift,
    "change": lambda number: change(number / 1000),
    "calibration": lambda number: calibration(number / 100),
    "head": lambda number: head(number / 1000),
}
"""For each observer: what it finds in a run, greater for a greater number."""


def whole(
    name: str,
    lines: Sequence[str],
    tasks: Sequence[str] = ("reviews",),
    ended: Callable[[int, int], bool] = lambda _place, _seed: True,
    metric: str = "accuracy",
) -> Findings:
    """Return what an analysis says of three seeds of each of its variants, by its default options.

    ``lines`` are strategies, where it lets the user choose them. There is one case for each task.
    ``ended`` says whether the run of a variant, by its place, and of a seed has finished.
    """
    sides = [
        (v, {s: measured(v, place, s) for s in range(3) if ended(place, s)})
        for place, v in enumerate(variants(name, lines))
    ]
    return ANALYSES.get(name).findings([case(sides, task, metric) for task in tasks])


def variants(name: str, lines: Sequence[str]) -> Sequence[Variant]:
    """Return what an analysis compares by its default options.

    ``lines`` are strategies, where it lets the user choose them.
    """
    analysis = ANALYSES.get(name)
    options = {option.name: option.default for option in analysis.options}
    given = {"strategies": lines} if analysis.strategies else {}
    return analysis.variants({**options, **given})


def measured(variant: Variant, place: int, seed: int) -> Measured:
    """Return what is found in a run of a variant, by its place and the seed."""
    if not variant.measure:
        return {}
    return MEASURED[variant.measure["name"]](1 + place + seed / 10)


@cache
def _record(axes: str, score: float, metric: str) -> str:
    """Return the record of a run; many findings are made of the same ones."""
    return tiny_records.result(json.loads(axes), score, metric=metric).to_json()


def case(
    sides: Iterable[tuple[Variant, Mapping[int, Measured]]],
    task: str = "reviews",
    metric: str = "accuracy",
) -> Case:  # fmt: skip
    """Return a case with a run for each measurement, by seed."""
    made = []
    for place, (variant, measured) in enumerate(sides):
        runs = {}
        for seed, found in measured.items():
            axes = tiny_records.axes(variant.strategy.replace(" >> ", " > "), seed, task) | dict(
                variant.axes
            )
            score = 0.7 + place / 20 + seed / 100
            record = json.loads(_record(json.dumps(axes), score, metric))
            runs[seed] = Run(f"{place}-{seed}", axes, RunResult.from_dict(record), found)
        made.append(Side(variant, runs))
    return Case(task, "tiny-model", None, {}, made)
