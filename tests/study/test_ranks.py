"""Ranks against the worked example of Demsar (2006); wins against enumeration and published values.

Table 6 of Demsar: AUC of four variants of C4.5 on 14 data sets. Its printed average ranks are
3.143, 2.000, 2.893 and 1.964. In ``voting`` two values are printed alike but ranked 2 and 3.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from headstart.errors import ConfigError
from headstart.study.outcome.ranks import (
    _range_quantile,
    average_ranks,
    critical_difference,
    friedman,
    iman_davenport,
    probability_of_improvement,
)

DEMSAR = [
    [0.763, 0.768, 0.771, 0.798],
    [0.599, 0.591, 0.590, 0.569],
    [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657],
    [0.882, 0.888, 0.886, 0.898],
    [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685],
    [0.583, 0.583, 0.563, 0.625],
    [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000],
    [0.940, 0.962, 0.965, 0.962],
    [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975],
    [0.957, 0.978, 0.946, 0.970],
]
# Demsar, table 5(a): critical values of the Nemenyi test for 2 to 10 classifiers.
NEMENYI = {
    0.05: (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164),
    0.10: (1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920),
}
# The data of ``NAP`` in R's SingleCaseES, whose documentation prints
# Est 0.9166667, CI_lower 0.5973406, CI_upper 0.9860176 (method 5 of Newcombe).
PHASE_A, PHASE_B = [20, 20, 26, 25, 22, 23], [28, 25, 24, 27, 30, 30, 29]
SCORES = st.lists(st.integers(0, 20).map(lambda n: n / 20), min_size=1, max_size=7)


def test_average_ranks_are_those_of_demsar() -> None:
    assert average_ranks(DEMSAR) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)


def test_ties_share_the_mean_of_their_ranks() -> None:
    assert average_ranks([[0.5, 0.9, 0.5, 0.5]]).tolist() == [3, 1, 3, 3]
    assert average_ranks([[0.3, 0.1 + 0.2]]).tolist() == [1.5, 1.5]  # a rounding error is no lead
    assert average_ranks([[0.3, 0.300001]]).tolist() == [2, 1]


def test_friedman_of_the_example_of_demsar() -> None:
    found = friedman(DEMSAR)
    # Demsar's 9.28 is not corrected for ties: undo the correction of scipy (Conover 1999, 5.8),
    # with pairs tied in three blocks, in one all four: sum of t^3 - t = 3 * 6 + 60.
    correction = 1 - (3 * 6 + 60) / (14 * (4**3 - 4))
    assert found.chi_square * correction == pytest.approx(9.28, abs=0.005)
    assert found.chi_square_p == pytest.approx(stats.chi2.sf(found.chi_square, 3))


def test_iman_davenport_of_the_example_of_demsar() -> None:
    f, p = iman_davenport(9.28, blocks=14, k=4)
    assert f == pytest.approx(3.69, abs=0.005)
    assert p == pytest.approx(stats.f.sf(f, 3, 39))
    assert stats.f.isf(0.05, 3, 39) == pytest.approx(2.85, abs=0.005)  # his critical value


@pytest.mark.parametrize("seed", range(4))
def test_f_is_the_analysis_of_variance_of_the_ranks(seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 8, size=(9, 4)) / 8  # with ties
    table = stats.rankdata(-scores, axis=1)
    effects = table.mean(axis=0) - table.mean()
    residuals = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    expected = (9 * (effects**2).sum() / 3) / ((residuals**2).sum() / (3 * 8))
    found = friedman(scores)
    assert found.f == pytest.approx(expected)
    assert found.f_p == pytest.approx(stats.f.sf(expected, 3, 24))
    reference = stats.friedmanchisquare(*scores.T)
    assert (found.chi_square, found.chi_square_p) == pytest.approx(tuple(reference))


def test_friedman_where_all_blocks_agree() -> None:
    found = friedman([[0.1, 0.2, 0.3], [0.5, 0.6, 0.7], [0.4, 0.8, 0.9]])
    assert found.chi_square == pytest.approx(6)  # n (k - 1), the greatest possible
    assert (found.f, found.f_p) == (None, None)
    tied = friedman([[0.1, 0.1, 0.1], [0.5, 0.5, 0.5]])
    assert (tied.chi_square, tied.chi_square_p, tied.f, tied.f_p) == (0, 1, 0, 1)


@pytest.mark.parametrize("alpha", NEMENYI)
def test_critical_values_are_those_of_demsar(alpha: float) -> None:
    for k, q in enumerate(NEMENYI[alpha], 2):
        # The table is cut off after three digits rather than rounded.
        assert _range_quantile(alpha, k) / 2**0.5 == pytest.approx(q, abs=1.1e-3)


@pytest.mark.parametrize("k", [2, 3, 10, 40])
@pytest.mark.parametrize("alpha", [1e-4, 0.05, 0.5])
def test_the_quantile_of_the_range_is_that_of_scipy(k: int, alpha: float) -> None:
    expected = float(stats.studentized_range.isf(alpha, k, np.inf))
    assert _range_quantile(alpha, k) == pytest.approx(expected, rel=1e-9)


def test_critical_difference_of_the_example_of_demsar() -> None:
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert critical_difference(4, 56) == pytest.approx(critical_difference(4, 14) / 2)


@given(ours=SCORES, baseline=SCORES)
def test_the_probability_by_enumeration(ours: list[float], baseline: list[float]) -> None:
    wins = [(a > b) + (a == b) / 2 for a, b in itertools.product(ours, baseline)]
    found = probability_of_improvement(ours, baseline)
    assert found.estimate == pytest.approx(np.mean(wins))
    u = stats.mannwhitneyu(ours, baseline, method="asymptotic").statistic
    assert found.estimate == pytest.approx(u / (len(ours) * len(baseline)))
    assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_rounding_errors_are_ties() -> None:
    assert probability_of_improvement([0.1 + 0.2], [0.3]).estimate == 0.5


@given(ours=SCORES, baseline=SCORES)
def test_swapped_samples_mirror_the_score_interval(
    ours: list[float], baseline: list[float]
) -> None:
    found = probability_of_improvement(ours, baseline)
    mirrored = probability_of_improvement(baseline, ours)
    assert mirrored.estimate == pytest.approx(1 - found.estimate)
    expected = (1 - found.high, 1 - found.low)
    assert (mirrored.low, mirrored.high) == pytest.approx(expected, abs=1e-8)


def test_the_interval_is_that_of_newcombe() -> None:
    found = probability_of_improvement(PHASE_B, PHASE_A)
    assert found.method == "score"
    assert found.estimate == pytest.approx(0.9166667, abs=1e-7)
    assert (found.low, found.high) == pytest.approx((0.5973406, 0.9860176), abs=1e-4)


def test_a_clean_sweep_of_few_seeds_is_not_certain() -> None:
    ours, baseline = [0.9, 0.91, 0.92], [0.7, 0.71, 0.72]
    found = probability_of_improvement(ours, baseline)
    assert (found.estimate, found.high) == (1, 1)
    assert 0.4 < found.low < 0.6


@pytest.mark.parametrize("n", [3, 5])
def test_intervals_cover_as_the_documentation_states(n: int) -> None:
    stated = 0.96
    text = " ".join(str(probability_of_improvement.__doc__).split())
    assert f"covers that in {stated:.2f} for 3, 5 and 10 seeds" in text
    truth, repeats = 0.8, 1000
    shift = stats.norm.ppf(truth) * 2**0.5
    drawn = np.random.default_rng(n).normal(size=(repeats, 2, n))
    found = [probability_of_improvement(a, b) for a, b in np.add(drawn, [[shift], [0]])]
    share = np.mean([i.low <= truth <= i.high for i in found])
    assert share == pytest.approx(stated, abs=3 * (stated * (1 - stated) / repeats) ** 0.5 + 0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: average_ranks([0.1, 0.2]), r"shape \(2,\)"),
        (lambda: average_ranks([[0.1], [0.2]]), "at least 2 strategies"),
        (lambda: average_ranks(np.zeros((0, 3))), "shape"),
        (lambda: average_ranks([[0.1, float("nan")]]), "NaN"),
        (lambda: average_ranks([[0.1, 0.2], [0.3]]), "Give every block all scores"),
        (lambda: friedman([[0.1, 0.2], [0.3, 0.4]]), "at least 3 strategies"),
        (lambda: friedman([[0.1, 0.2, 0.3]]), "at least 2 blocks"),
        (lambda: probability_of_improvement([], [0.1]), "at least 1 finite score"),
        (lambda: probability_of_improvement([0.1], [float("nan")]), "nan at position 0"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()
