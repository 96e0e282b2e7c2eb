"""One strategy against another over the seeds of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from headstart.study.outcome.power import seeds_needed
from headstart.study.outcome.ranks import probability_of_improvement
from headstart.study.outcome.statistics import Interval, holm, mean_difference, paired_test

FEWEST_TO_COMPARE = 2


@dataclass(frozen=True)
class Comparison:
    """A strategy against the baseline over the seeds of both.

    Args:
        seeds: How many.
        difference: Mean of the differences, with its interval.
        p: Of the paired test; ``None`` for fewer than two seeds.
        adjusted: Its p after Holm's correction over the groups.
        improvement: Probability that a run of the strategy beats one of the baseline.
        seeds_needed: Seeds to see this difference with power 0.8; ``None`` where that is unknown.
        spread: Standard deviation of the paired differences; ``None`` for fewer than two seeds.
        same_rows: Whether a score on either side is about rows that also selected.
    """

    seeds: int
    difference: Interval
    p: float | None
    adjusted: float | None
    improvement: Interval | None
    seeds_needed: int | None
    spread: float | None = None
    same_rows: bool = False


def compare(
    ours: Sequence[float], theirs: Sequence[float], *, same_rows: bool = False
) -> Comparison | None:
    """Compare a strategy's scores with the baseline's for the same seeds, paired by position.

    The comparison is not corrected yet, and ``None`` without a pair. ``same_rows`` says that a
    score is about rows that also selected.
    """
    if not ours:
        return None
    difference = mean_difference(ours, theirs)
    if len(ours) < FEWEST_TO_COMPARE:
        return Comparison(1, difference, None, None, None, None, same_rows=same_rows)
    spread = float(np.std(np.subtract(ours, theirs), ddof=1))
    return Comparison(
        len(ours), difference, paired_test(ours, theirs), None,
        probability_of_improvement(ours, theirs), seeds_needed(difference.estimate, spread),
        spread, same_rows,
    )  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A named comparison, corrected over those that were made with it."""

    name: str
    comparison: Comparison

    @property
    def p(self) -> float | None:
        """Its p after the correction."""
        return self.comparison.adjusted


def corrected(made: Mapping[str, Comparison]) -> list[Found]:
    """Correct the comparisons of one family, by name, for their number by Holm's method."""
    adjusted = holm([comparison.p for comparison in made.values()])
    return [
        Found(name, replace(comparison, adjusted=p))
        for (name, comparison), p in zip(made.items(), adjusted, strict=True)
    ]
