"""Finished runs of analyses that nobody has run, with scores and steps set by hand."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tiny_records as made
from headstart.analysis import ANALYSES
from headstart.analysis._base import Case, Side, Variant
from headstart.report.read import Run
from headstart.results import RunResult

NAMES = ("convergence", "rank", "reserve", "share")
OPTIONS: dict[str, dict[str, Any]] = {
    "convergence": {"tuner": "bitfit", "lengths": "1,2"},
    "rank": {"ranks": "2,8"},
    "reserve": {"tuners": "bitfit,lora"},
    "share": {"tuner": "bitfit", "shares": "0,0.25,0.5", "epochs": 4.0},
}
Score = Callable[[Variant, int], float]
Change = Callable[[Variant, RunResult], None]


def variants(name: str, **options: Any) -> Sequence[Variant]:
    """Return the variants of an analysis."""
    return ANALYSES.get(name).variants({**OPTIONS[name], **options})


def case(
    compared: Sequence[Variant], score: Score, seeds: int = 8, task: str = "reviews",
    change: Change = lambda _variant, _result: None,
) -> Case:  # fmt: skip
    """Return a case in which every run has ended with the score that it is given."""
    sides = []
    for variant in compared:
        runs = {}
        for seed in range(seeds):
            axes = made.axes(variant.strategy.replace(" >> ", " > "), seed, task)
            result = made.result(axes, score(variant, seed))
            change(variant, result)
            runs[seed] = Run(made.identity(axes), axes, result)
        sides.append(Side(variant, runs))
    return Case(task, "tiny-model", None, {}, sides)


def with_gains(gains: Mapping[str, float], noise: float = 0.004) -> Score:
    """Return scores around 0.7 with a gain for variants whose name holds a word."""

    def score(variant: Variant, seed: int) -> float:
        gain = sum(value for word, value in gains.items() if word in variant.name)
        # Differs by variant and seed, and is the same whenever it is asked for.
        wobble = random.Random(f"{variant.name}{seed}").uniform(-1, 1)  # noqa: S311
        return 0.7 + seed / 100 + gain + noise * wobble

    return score


def level(_variant: Variant, seed: int) -> float:
    """Return the same score for all variants."""
    return 0.7 + seed / 100


def from_one_start(_variant: Variant, result: RunResult) -> None:
    """Give the last stage the curve that plain fine-tuning has."""
    end = result.stages[-1].curve[-1].scores["score"]
    result.stages[-1].curve = made.curve(0.5, end, 120)
