"""Statistical power: seeds needed for a difference, and differences that seeds can show.

The power is that of the two-sided paired t-test under normal differences: the statistic then has
a noncentral t distribution with n - 1 degrees of freedom and noncentrality
sqrt(n) * difference / standard deviation.

SOURCE: Cohen (1988), Statistical power analysis for the behavioral sciences, section 2.3.
"""

from __future__ import annotations

import math

from headstart.errors import ConfigError
from headstart.study.outcome.statistics import check_fraction

SMALLEST_EFFECT = 1e-4


def seeds_needed(
    difference: float, sd_of_differences: float, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Return how many seeds show a mean paired difference of a given size.

    The sign-flip test needs a few more: its p is at least ``smallest_p(n)``, so that no fewer
    than 6 seeds can give 0.05.

    Args:
        difference: True mean difference, in the unit of the score; its sign does not matter.
        sd_of_differences: Standard deviation of the paired differences, in the same unit. It is
            not that of the scores: seeds in common make it smaller.
        power: Chance that the test shall have of showing the difference. 0.8 is usual.
        alpha: Significance level, two-sided.

    Returns:
        The least number of pairs that gives the power, at least 2.

    Raises:
        ConfigError: If the difference is 0 or below a ten-thousandth of the standard deviation,
            the standard deviation is negative, the power or level is not between 0 and 1, or the
            power is not above the level, which chance alone gives.
    """
    _check_plan(sd_of_differences, power, alpha)
    size = abs(difference)
    if not (math.isfinite(size) and size > 0 and size >= SMALLEST_EFFECT * sd_of_differences):
        raise ConfigError(
            f"a difference of at least {SMALLEST_EFFECT} standard deviations",
            f"{difference} with a standard deviation of {sd_of_differences}",
            "Say which difference matters to you.",
        )
    if sd_of_differences == 0:
        return 2
    effect, low, high = size / sd_of_differences, 1, 2
    while _power(high, effect * high**0.5, alpha) < power:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = _power(middle, effect * middle**0.5, alpha) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def detectable_difference(
    n: int, sd_of_differences: float, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Return the mean paired difference that n seeds show with a given power.

    The inverse of ``seeds_needed``.

    Args:
        n: Pairs, at least 2.
        sd_of_differences: Standard deviation of the paired differences, in the unit of the score.
        power: Chance that the test shall have of showing the difference. At least ``alpha``.
        alpha: Significance level, two-sided.

    Returns:
        The difference, in the unit of the score; 0 for a standard deviation of 0.

    Raises:
        ConfigError: If n is below 2, the standard deviation is negative, the power or level is
            not between 0 and 1, or the power is not above the level, which chance alone gives.
    """
    from scipy.optimize import brentq

    _check_plan(sd_of_differences, power, alpha)
    if n < 2:
        raise ConfigError("at least 2 pairs", str(n), "Run more seeds.")
    high = 1.0
    while _power(n, high, alpha) < power:
        high *= 2
    noncentrality = brentq(lambda value: _power(n, value, alpha) - power, 0, high)
    return float(noncentrality * sd_of_differences / n**0.5)


def _power(n: int, noncentrality: float, alpha: float) -> float:
    """Return the power of the paired t-test, both tails counted."""
    # Those of scipy.stats are the same to the last bits, but take a thousand times as long.
    from scipy.special import nctdtr, stdtrit

    critical = -float(stdtrit(n - 1, alpha / 2))
    lower = float(nctdtr(n - 1, noncentrality, -critical))
    # Far from the centre scipy finds no number for the lower tail, which is then below 1e-14.
    lower = 0.0 if math.isnan(lower) else lower
    return 1 - float(nctdtr(n - 1, noncentrality, critical)) + lower


def _check_plan(sd_of_differences: float, power: float, alpha: float) -> None:
    check_fraction(power, "power")
    check_fraction(alpha, "alpha")
    if power <= alpha:
        raise ConfigError(f"a power above alpha = {alpha}", str(power), "0.8 is usual.")
    if not (math.isfinite(sd_of_differences) and sd_of_differences >= 0):
        raise ConfigError(
            "a standard deviation of at least 0", str(sd_of_differences), "Measure it in a pilot."
        )
