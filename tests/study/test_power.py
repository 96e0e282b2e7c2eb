"""Numbers of seeds against R, statsmodels and simulation; chance against binomial counts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import TTestPower

from headstart.study.outcome.power import (
    _power,
    detectable_difference,
    seeds_needed,
)


@pytest.mark.parametrize("effect", [0.1, 0.3, 0.5, 1.0, 1.5])
def test_seeds_needed_are_those_of_statsmodels(effect: float) -> None:
    reference = TTestPower().solve_power(effect_size=effect, power=0.8, alpha=0.05)
    assert seeds_needed(0.02 * effect, 0.02) == math.ceil(reference)
    assert seeds_needed(-0.02 * effect, 0.02) == math.ceil(reference)


def test_the_power_is_that_of_r() -> None:
    # Dalgaard (2008), Introductory statistics with R, section 8.3:
    # power.t.test(delta = 10, sd = 10 * sqrt(2), power = 0.85, type = "paired") -> n = 19.96892
    assert _power(19, (19 / 2) ** 0.5) < 0.85 < _power(20, (20 / 2) ** 0.5)


@pytest.mark.parametrize("n", [3, 5, 8])
def test_the_test_has_the_power_in_simulation(n: int) -> None:
    difference, repeats = detectable_difference(n, sd_of_differences=2.0), 20_000
    samples = np.random.default_rng(n).normal(difference, 2.0, size=(repeats, n))
    rate = np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue <= 0.05)
    assert rate == pytest.approx(0.8, abs=3 * (0.16 / repeats) ** 0.5)


@given(n=st.integers(2, 300), sd=st.sampled_from([0.001, 0.02, 3.0]))
def test_both_are_inverse(n: int, sd: float) -> None:
    difference = detectable_difference(n, sd)
    assert seeds_needed(difference * (1 + 1e-9), sd) == n
    assert seeds_needed(difference * (1 - 1e-6), sd) == n + 1


def test_limits_of_the_scale() -> None:
    assert seeds_needed(100, 0.1) == 2
    assert detectable_difference(5, 0) == 0
    # (z_0.975 + z_0.8)^2 / effect^2 = 7.8489 / 1e-8 for many seeds
    assert seeds_needed(1e-4, 1) == pytest.approx(7.8489e8, rel=1e-4)


@pytest.mark.parametrize(("difference", "sd"), [(0, 1), (1e-5, 1), (0, 0), (0.01, 0)])
def test_no_number_of_seeds_is_known(difference: float, sd: float) -> None:
    assert seeds_needed(difference, sd) is None


def test_the_power_is_that_of_the_noncentral_t_distribution() -> None:
    for n, effect, alpha in itertools.product((2, 3, 6, 20, 500), (0.1, 1, 2.8, 6), (0.01, 0.05)):
        critical = stats.t.isf(alpha / 2, n - 1)
        lower = np.nan_to_num(stats.nct.cdf(-critical, n - 1, effect))
        expected = stats.nct.sf(critical, n - 1, effect) + lower
        assert _power(n, effect, alpha) == pytest.approx(expected, abs=1e-12)
