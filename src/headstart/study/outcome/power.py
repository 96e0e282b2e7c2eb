"""Statistical power: seeds needed for a difference, and differences that seeds can show.

The power is that of the two-sided paired t-test under normal differences: the statistic then has
a noncentral t distribution with n - 1 degrees of freedom and noncentrality
sqrt(n) * difference / standard deviation.

SOURCE: Cohen (1988), Statistical power analysis for the behavioral sciences, section 2.3.
"""

from __future__ import annotations

import math

POWER, ALPHA = 0.8, 0.05
"""Chance of showing the difference, and the two-sided level of the test."""
SMALLEST_EFFECT = 1e-4
"""Difference in standard deviations below which nobody runs as many seeds as it takes."""


def seeds_needed(difference: float, sd_of_differences: float) -> int | None:
    """Return the least number of seeds that shows a mean paired difference of a given size.

    Both are in the unit of the score; the difference's sign does not matter. The standard deviation
    is not that of the scores: seeds in common make it smaller. ``None`` without one, or where the
    difference is below ``SMALLEST_EFFECT`` of it. The sign-flip test needs a few more: its p is at
    least ``smallest_p(n)``, so that no fewer than 6 seeds can give 0.05.
    """
    if not sd_of_differences or abs(difference) < SMALLEST_EFFECT * sd_of_differences:
        return None
    effect, low, high = abs(difference) / sd_of_differences, 1, 2
    while _power(high, effect * high**0.5) < POWER:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = _power(middle, effect * middle**0.5) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def detectable_difference(n: int, sd_of_differences: float) -> float:
    """Return the mean paired difference, in the unit of the score, that n >= 2 seeds show.

    The inverse of ``seeds_needed``; 0 for a standard deviation of 0.
    """
    from scipy.optimize import brentq

    high = 1.0
    while _power(n, high) < POWER:
        high *= 2
    noncentrality = brentq(lambda value: _power(n, value) - POWER, 0, high)
    return float(noncentrality * sd_of_differences / n**0.5)


def _power(n: int, noncentrality: float, alpha: float = ALPHA) -> float:
    """Return the power of the paired t-test, both tails counted."""
    # Those of scipy.stats are the same to the last bits, but take a thousand times as long.
    from scipy.special import nctdtr, stdtrit

    critical = -float(stdtrit(n - 1, alpha / 2))
    lower = float(nctdtr(n - 1, noncentrality, -critical))
    # Far from the centre scipy finds no number for the lower tail, which is then below 1e-14.
    lower = 0.0 if math.isnan(lower) else lower
    return 1 - float(nctdtr(n - 1, noncentrality, critical)) + lower
