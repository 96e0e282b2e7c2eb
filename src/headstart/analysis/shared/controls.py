"""Heads of stage 2 compared, paired by seed, with plain fine-tuning and with the whole head."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from headstart.analysis._base import Case, Side
from headstart.report.answer import ALPHA
from headstart.report.read import Run
from headstart.study.outcome.statistics import Interval, holm, mean_difference, paired_test

FRESH, WHOLE = "fresh head", "whole head"
"""Names of the two sides that every other one is compared with."""


@dataclass(frozen=True)
class Pair:
    """Final scores of two sides, paired by the seeds that both have.

    ``p`` is of the sign-flip test, ``adjusted`` by Holm over the sides that one side is compared
    with.
    """

    seeds: int
    difference: Interval
    p: float
    adjusted: float = 1.0


@dataclass(frozen=True)
class Compared:
    """One head of stage 2.

    Args:
        name: What it is called.
        runs: Finished runs by seed, those left out that had no pretrained head.
        with_plain: Cosine of the final last weight with that of plain fine-tuning, by seed.
        against_plain: Against plain fine-tuning; ``None`` for itself and without pairs.
        against_whole: Against the whole head, likewise.
    """

    name: str
    runs: Mapping[int, Run]
    with_plain: Sequence[float]
    against_plain: Pair | None = None
    against_whole: Pair | None = None

    @property
    def seeds(self) -> list[int]:
        """The seeds in order."""
        return sorted(self.runs)

    @property
    def final(self) -> list[float]:
        """The final scores by seed."""
        return [self.runs[s].result.scores["score"] for s in self.seeds]

    @property
    def step0(self) -> list[float]:
        """The scores before the first step of the last stage, by seed."""
        return [self.runs[s].result.stages[-1].start["score"] for s in self.seeds]

    @property
    def likeness(self) -> list[float]:
        """Cosine of the last weight with the pretrained head's at step 0, by seed."""
        return [self.runs[s].measured["cosine_to_pretrained"] for s in self.seeds]

    @property
    def angle(self) -> list[float]:
        """Degrees between the last weight at step 0 and at the last evaluation, by seed."""
        return [degrees(cosine) for cosine in self.at_end("cosine")]

    def first(self, what: str) -> list[float]:
        """Return a measure of the head at step 0, by seed."""
        return [self.runs[s].measured["points"][0][what] for s in self.seeds]

    def at_end(self, what: str) -> list[float]:
        """Return a measure of the head at the last evaluation, by seed."""
        return [self.runs[s].measured["points"][-1][what] for s in self.seeds]

    def curve(self, what: str) -> tuple[list[int], list[float]]:
        """Return a measure of the head along the last stage: steps that all seeds share, and means.

        ``turned`` gives the degrees that ``cosine`` amounts to.
        """
        found = [self.runs[s].measured["points"] for s in self.seeds]
        if what == "angle":
            curves = [{p["step"]: degrees(p["cosine"]) for p in points} for points in found]
        else:
            curves = [{p["step"]: p[what] for p in points} for points in found]
        steps = sorted(set.intersection(*(set(c) for c in curves)))
        return steps, [float(np.mean([c[step] for c in curves])) for step in steps]

    def plain(self) -> dict[str, Any]:
        """Return everything as plain data."""
        pairs = {"against_plain": self.against_plain, "against_whole": self.against_whole}
        return {
            "head": self.name, "seeds": self.seeds, "step_0": self.step0, "final": self.final,
            **{name: asdict(pair) if pair else None for name, pair in pairs.items()},
            "norm_at_step_0": self.first("norm"), "norm_at_the_end": self.at_end("norm"),
            "cosine_of_start_and_end": self.at_end("cosine"),
            "cosine_with_pretrained_at_step_0": self.likeness,
            "cosine_with_plain_at_the_end": list(self.with_plain),
        }  # fmt: skip


def degrees(cosine: float) -> float:
    """Return a cosine's angle in degrees, which tells small turns apart that all have nearly 1."""
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def compared(case: Case) -> list[Compared]:
    """Compare the sides of a case. The sides in order, without those of which nothing is left."""
    kept = {side.variant.name: usable(side) for side in case.sides}
    plain, whole = kept.get(FRESH, {}), kept.get(WHOLE, {})
    made = [Compared(n, runs, _with_plain(runs, plain)) for n, runs in kept.items() if runs]
    against_plain = _pairs(made, plain, {FRESH})
    against_whole = _pairs(made, whole, {FRESH, WHOLE})
    return [
        replace(c, against_plain=against_plain.get(c.name), against_whole=against_whole.get(c.name))
        for c in made
    ]


def usable(side: Side) -> dict[int, Run]:
    """Return the runs of a side, by seed, whose head is the one that it should be."""
    return {s: run for s, run in side.runs.items() if not run.measured["given_up"]}


def _pairs(
    sides: Sequence[Compared], base: Mapping[int, Run], without: set[str]
) -> dict[str, Pair]:
    """Compare sides with a base; each p is adjusted for all of them."""
    found: dict[str, Pair] = {}
    for side in sides:
        seeds = [s for s in side.seeds if s in base]
        if side.name in without or not seeds:
            continue
        ours, theirs = (
            [runs[s].result.scores["score"] for s in seeds] for runs in (side.runs, base)
        )
        p = paired_test(ours, theirs)
        found[side.name] = Pair(len(seeds), mean_difference(ours, theirs), p)
    adjusted = holm([pair.p for pair in found.values()])
    return {
        name: replace(pair, adjusted=float(p or 0.0))
        for (name, pair), p in zip(found.items(), adjusted, strict=True)
    }


def _with_plain(runs: Mapping[int, Run], plain: Mapping[int, Run]) -> list[float]:
    return [
        _cosine(runs[s].measured["values"], plain[s].measured["values"])
        for s in sorted(runs.keys() & plain.keys())
        if runs[s].measured["values"] and plain[s].measured["values"]
    ]


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.dot(one, other)) / size if size else 0.0


def significant(found: Sequence[Compared], against: str, sign: int) -> Iterator[Compared]:
    """Yield the sides that differ from a base by more than chance, at a family-wise rate of 0.05.

    ``against`` is ``against_plain`` or ``against_whole``; ``sign`` is 1 for those above it, -1 for
    those below.
    """
    for side in found:
        pair: Pair | None = getattr(side, against)
        if pair and pair.adjusted <= ALPHA and sign * pair.difference.estimate > 0:
            yield side
