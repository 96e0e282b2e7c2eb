"""Numbers over seeds, in words: means with their spread, differences with their interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from headstart.analysis._base import Case, Side
from headstart.study.outcome.statistics import mean_difference
from headstart.study.outcome.tables import errors_note, score_scale
from headstart.tasks.metrics import is_share, score_name

BySeed = Mapping[int, float]
MOST_PLACES = 6


def with_sd(values: Sequence[float], form: str = "") -> str:
    """Write a mean and, of several values, their standard deviation: ``4.04 ± 0.03``.

    ``-`` if there is none. An empty ``form`` shows as many places as give three digits of the mean.
    """
    if not len(values):
        return "-"
    mean = float(np.mean(values))
    form = form or f".{_places(mean)}f"
    spread = f" ± {np.std(values, ddof=1):{form}}" if len(values) > 1 else ""
    return f"{mean:{form}}{spread}"


def _places(number: float) -> int:
    return min(max(2 - math.floor(math.log10(abs(number))), 0), MOST_PLACES) if number else 0


def least_and_most(
    case: Case, values: Callable[[Side], Collection[float]]
) -> tuple[Side, Side, str]:
    """Find the sides with the lowest and with the highest mean, and how many seeds they have.

    At least one side has finished runs; it is both where it is alone.
    """
    done, means = case.finished, [float(np.mean([*values(side)])) for side in case.finished]
    counts = (f"{len(side.runs)} seed{'s' * (len(side.runs) != 1)}" for side in done)
    low, high = (done[means.index(end(means))] for end in (min, max))
    return low, high, " or ".join(dict.fromkeys(counts))


def scores(side: Side) -> list[float]:
    """Return the scores of a side times 100, one for each seed."""
    return [100 * side.runs[seed].result.scores["score"] for seed in sorted(side.runs)]


def score_column(metrics: Sequence[str], title: str = "score") -> str:
    """Return the title of a column of scores.

    For example ``>score %``, or ``>score: -log_loss × 100``.
    """
    return f">{title} %" if is_share(metrics) else f">{title}: {score_name(metrics)} × 100"


def scored(cases: Sequence[Case]) -> list[str]:
    """Describe the scale of the scores, and for errors which way is better."""
    scales = dict.fromkeys(score_scale(case.metrics) for case in cases if case.metrics)
    errors = errors_note(name for case in cases for name in case.metrics)
    told = f"Score: {'; '.join(scales)}." if scales else ""
    return [text for text in (told, f"{errors}." if errors else "") if text]


def names(cases: Sequence[Case]) -> list[str]:
    """Return the names of the cases, with the model where there are several."""
    several = len({case.model for case in cases}) > 1
    return [f"{case.name}, {case.model}" if several else case.name for case in cases]


def against(ours: BySeed, baseline: BySeed, form: str = ".2f", unit: str = "") -> tuple[int, str]:
    """Compare two sides by the seeds that both have.

    Gives 1 if ours are greater, -1 if smaller, 0 if the 95 % interval of the mean difference does
    not tell; and the difference in words.
    """
    both = sorted(ours.keys() & baseline.keys())
    if not both:
        return 0, "no seed of both has finished"
    found = mean_difference([ours[s] for s in both], [baseline[s] for s in both])
    told = f"{found.estimate:+{form}}{unit}"
    if found.low is None or found.high is None:
        return 0, f"{told}, from one seed"
    sign = int(found.low > 0) - int(found.high < 0)
    limits = f"95 % interval {found.low:{form}} to {found.high:{form}}{unit}"
    return sign, f"{told}, {limits}, {len(both)} seeds"
