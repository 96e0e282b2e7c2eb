"""Statistics of a few runs per strategy: summary, interval, paired test, correction and churn.

A sample is a vector of scores of one strategy, one per seed. Two samples are paired by seed: the
same position is the same seed. A higher score is better. scipy is imported only where it
computes something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from headstart.errors import ConfigError

FloatArray = npt.NDArray[np.float64]
IntervalMethod = Literal["bca", "constant", "none", "score", "t"]

CONFIDENCE = 0.95
"""Share of all intervals that shall cover what they estimate."""
SEED = 0
RESAMPLES = 99_999
_BATCHES = 9  # of draws, to bound the memory
MOST_ENUMERATED = 20
FEWEST_FOR_BCA = 30
# Scores are rounded numbers: a difference below this share of the greatest score is a tie.
RESOLUTION = 1e-9


@dataclass(frozen=True)
class Description:
    """Summary of a sample. ``sd`` has n - 1 in the denominator, and is ``None`` for one seed."""

    n: int
    mean: float
    sd: float | None
    median: float
    worst: float
    best: float


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Args:
        estimate: Point estimate.
        low: Lower limit; ``None`` where there are too few seeds for one.
        high: Upper limit; ``None`` likewise.
        method: How the limits were found: ``bca`` (bias-corrected and accelerated bootstrap),
            ``t`` (Student), ``score`` (inverted score test),
            ``constant`` (all differences are equal) or ``none`` (no limits).
    """

    estimate: float
    low: float | None
    high: float | None
    method: IntervalMethod


def as_sample(scores: npt.ArrayLike) -> FloatArray:
    """Return scores, (n,), as an array after a check.

    Raises ``ConfigError`` if they are not one or more finite numbers in one dimension.
    """
    expected = "at least 1 finite score, one per seed"
    try:
        values = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError):
        raise ConfigError(expected, "something else than numbers", "Give numbers.") from None
    if values.ndim != 1:
        raise ConfigError(expected, f"an array of shape {values.shape}", "Give one dimension.")
    if not len(values):
        raise ConfigError(expected, "0", "Run more seeds.")
    if not np.isfinite(values).all():
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ConfigError(expected, f"{values[at]} at position {at}", "Leave out failed runs.")
    return values


def as_pairs(ours: npt.ArrayLike, baseline: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return two samples, (n,) in the same order of seeds, after a check that they can be paired.

    Raises ``ConfigError`` if one is not a sample, or their lengths differ.
    """
    left, right = as_sample(ours), as_sample(baseline)
    if len(left) != len(right):
        raise ConfigError(
            "as many scores of ours as of the baseline, paired by seed",
            f"{len(left)} and {len(right)}",
            "Keep the seeds that both have.",
        )
    return left, right


def resolution(*samples: FloatArray) -> float:
    """Return the difference below which scores count as equal.

    Floating point makes 0.9 - 0.8 and 0.8 - 0.7 differ; as scores they are tied. A billionth of the
    greatest score in absolute value; above 0.
    """
    greatest = max(float(np.abs(sample).max(initial=0.0)) for sample in samples)
    return RESOLUTION * greatest or RESOLUTION


def describe(scores: npt.ArrayLike) -> Description:
    """Summarise a sample. Raises ``ConfigError`` if there is no score, or one is not finite."""
    values = as_sample(scores)
    return Description(
        n=len(values),
        mean=float(values.mean()),
        sd=float(values.std(ddof=1)) if len(values) > 1 else None,
        median=float(np.median(values)),
        worst=float(values.min()),
        best=float(values.max()),
    )


def mean_difference(ours: npt.ArrayLike, baseline: npt.ArrayLike) -> Interval:
    """Estimate the mean paired difference with a confidence interval.

    With few pairs the bootstrap resamples too little, and its interval is too narrow. In 4,000
    simulated samples of normal differences, BCa at 0.95 covers the true mean in 0.72 for 3 pairs,
    0.83 for 5, 0.89 for 10 and 0.93 for 20 (999 resamples); Student's t interval in 0.95 for each.
    With skewed differences (exponential) BCa covers in 0.68, 0.80, 0.88 and 0.92, t in 0.89, 0.88,
    0.90 and 0.92. So the interval is t below 30 pairs and BCa, which does not rest on normality,
    from there on. If one run in ten fails by far, few pairs seldom hold a failure and neither can
    be trusted: BCa and t cover in 0.64 and 0.65 for 10, 0.85 and 0.87 for 20, 0.94 and 0.91 for 30.

    Samples are (n,), in the same order of seeds. Both limits equal the estimate if all differences
    are equal, up to rounding, and are ``None`` for a single pair. Raises ``ConfigError`` if the
    samples cannot be paired.

    SOURCE: Efron (1987), Better bootstrap confidence intervals, JASA 82, section 3 (BCa).
    """
    left, right = as_pairs(ours, baseline)
    differences = left - right
    estimate = float(differences.mean())
    if len(differences) < 2:
        return Interval(estimate, None, None, "none")
    if np.ptp(differences) <= resolution(left, right):
        return Interval(estimate, estimate, estimate, "constant")
    if len(differences) >= FEWEST_FOR_BCA:
        return Interval(estimate, *_bca_limits(differences), "bca")
    return Interval(estimate, *_t_limits(differences), "t")


def paired_test(ours: npt.ArrayLike, baseline: npt.ArrayLike) -> float:
    """Return p of no difference, two-sided, by flipping the signs of the paired differences.

    If both strategies are alike, each difference is as likely to have the other sign. Up to 20
    pairs all 2^n signs are enumerated, so that p is exact whatever the distribution, with ties and
    zeros too. Above, 99,999 draws of signs are made with a fixed seed, and the observed signs count
    as one more draw, which keeps the test valid.

    Samples are (n,), in the same order of seeds. p is at least ``smallest_p(n)``, and 1 for a
    single pair. Raises ``ConfigError`` if the samples cannot be paired.

    SOURCE: Fisher (1935), The design of experiments, section 21. Phipson and Smyth (2010),
    Permutation p-values should never be zero, SAGMB 9:39, equation 2, for the added draw.
    """
    left, right = as_pairs(ours, baseline)
    differences = left - right
    step = resolution(left, right)

    def steps(sums: FloatArray) -> FloatArray:
        """Return sums of differences without sign and without rounding errors."""
        return np.rint(np.abs(sums) / step)

    if len(differences) <= MOST_ENUMERATED:
        found = steps(_signed_sums(differences))
        return float(np.mean(found >= found[0]))

    generator, extreme = np.random.default_rng(SEED), 0
    observed = steps(differences[None].sum(axis=1))
    for _ in range(_BATCHES):
        flipped = generator.integers(0, 2, (RESAMPLES // _BATCHES, len(differences)), np.int8)
        extreme += int((steps((1 - 2 * flipped) @ differences) >= observed).sum())
    return (extreme + 1) / (RESAMPLES + 1)


def smallest_p(n: int) -> float:
    """Return the smallest p that ``paired_test`` can give for n pairs.

    It is reached when all differences have one sign: 2 of the 2^n signs are then as extreme. So
    0.05 needs 6 pairs and 0.01 needs 8, however large the difference. Where signs are drawn it is
    not below 1 / (draws + 1). Raises ``ConfigError`` if n is below 1.
    """
    if n < 1:
        raise ConfigError("at least 1 pair", str(n), "Run more seeds.")
    exact = 2.0 ** (1 - n)
    return exact if n <= MOST_ENUMERATED else max(exact, 1 / (RESAMPLES + 1))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust the p-values of a family of tests so that the family-wise error rate is kept.

    ``None`` stands where no test was possible, which counts for nothing. Raises ``ConfigError`` if
    a p-value does not lie in 0 to 1.

    SOURCE: Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian
    Journal of Statistics 6.
    """
    given = [i for i, p in enumerate(p_values) if p is not None]
    values = np.array([p_values[i] for i in given], dtype=np.float64)
    wrong = values[~((values >= 0) & (values <= 1))]
    if len(wrong):
        raise ConfigError("p-values from 0 to 1", str(wrong[0]), "Use None where no test was made.")
    adjusted: list[float | None] = [None] * len(p_values)
    order = np.argsort(values, kind="stable")
    # The smallest is tested against all, the next against all but one, and none falls below it.
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    for place, p in zip(order, np.minimum(stepped, 1), strict=True):
        adjusted[given[place]] = float(p)
    return adjusted


def churn(predictions: npt.ArrayLike) -> float:
    """Return how much predictions change with the seed alone.

    ``predictions`` are class indices, (seeds, rows). The share is the mean over all pairs of seeds,
    counted class by class, in memory of the order of the predictions. Raises ``ConfigError`` if
    there are not at least two seeds and one row of whole numbers.

    SOURCE: Milani Fard, Cormier, Canini and Gupta (2016), Launch and iterate: reducing prediction
    churn, NeurIPS, section 2: the share of rows on which two classifiers disagree.
    """
    classes: npt.NDArray[Any] = np.asarray(predictions)
    expected = "class indices as whole numbers, (seeds, rows), of at least 2 seeds and 1 row"
    if classes.dtype.kind not in "biu":
        raise ConfigError(expected, f"values of type {classes.dtype}", "Give class indices.")
    if classes.ndim != 2 or classes.shape[0] < 2 or classes.shape[1] < 1:
        raise ConfigError(expected, f"shape {classes.shape}", "Stack the predictions of the seeds.")
    seeds, rows = classes.shape
    agreeing = 0  # ordered pairs of two seeds that agree, over all rows
    for label in np.unique(classes):
        votes = np.count_nonzero(classes == label, axis=0)
        agreeing += int((votes * (votes - 1)).sum())
    return float(1 - agreeing / (seeds * (seeds - 1) * rows))


def _signed_sums(differences: FloatArray) -> FloatArray:
    """Return the sums under all signs but the first one's, (2^(n-1),); at 0 the given signs.

    Flipping every sign gives the negative sum, so the other half adds nothing to a two-sided test.
    """
    sums = differences[:1]
    for difference in differences[1:]:
        sums = np.concatenate([sums + difference, sums - difference])
    return sums


def _bca_limits(differences: FloatArray) -> tuple[float, float]:
    from scipy.stats import bootstrap

    limits = bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=10_000,
        confidence_level=CONFIDENCE,
        method="BCa",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return float(limits.low), float(limits.high)


def _t_limits(differences: FloatArray) -> tuple[float, float]:
    from scipy.special import stdtrit

    n, mean = len(differences), float(differences.mean())
    quantile = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2))
    half = quantile * float(differences.std(ddof=1)) / n**0.5
    return mean - half, mean + half
