"""Summaries, intervals, paired tests, Holm and churn against R, enumeration and hand-worked values.

R's ``sleep`` data (Student 1908) and what ``t.test(extra ~ group, paired = TRUE)`` prints for them:
t = -4.0621, p = 0.002833, 95 percent confidence interval -2.4598858 -0.7001142.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from headstart.errors import ConfigError
from headstart.study.outcome import statistics
from headstart.study.outcome.statistics import (
    FEWEST_FOR_BCA,
    RESAMPLES,
    churn,
    describe,
    holm,
    mean_difference,
    paired_test,
    smallest_p,
)

SLEEP_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]

# Accuracies in thousandths, so that ties are common and exact.
SCORE = st.integers(0, 1000).map(lambda n: n / 1000)
PAIRS = st.lists(st.tuples(SCORE, SCORE), min_size=2, max_size=8)


def brute_force_p(differences: list[int]) -> float:
    """Count the signs under which the sum is at least as far from 0, one by one."""
    observed = abs(sum(differences))
    signs = list(itertools.product((1, -1), repeat=len(differences)))
    extreme = sum(
        abs(sum(s * d for s, d in zip(sign, differences, strict=True))) >= observed
        for sign in signs
    )
    return extreme / len(signs)


def convolved_p(differences: list[int]) -> float:
    """Return the exact p by adding one difference after another to the distribution of the sum."""
    sums = Counter({0: 1})
    for difference in differences:
        step: Counter[int] = Counter()
        for value, count in sums.items():
            step[value + difference] += count
            step[value - difference] += count
        sums = step
    observed = abs(sum(differences))
    return sum(c for value, c in sums.items() if abs(value) >= observed) / sums.total()


def enumerated_bca(values: np.ndarray, confidence: float) -> np.ndarray:
    """Return Efron's (1987) limits from all n^n resamples, written out from his equations."""
    n = len(values)
    resamples = np.array(list(itertools.product(range(n), repeat=n)))
    means = np.sort(values[resamples].mean(axis=1))
    mean = values.mean()
    below = (np.mean(means < mean - 1e-12) + np.mean(means <= mean + 1e-12)) / 2
    z0 = stats.norm.ppf(below)
    jackknife = np.array([np.delete(values, i).mean() for i in range(n)])
    spread = jackknife.mean() - jackknife
    a = (spread**3).sum() / (6 * (spread**2).sum() ** 1.5)
    z = stats.norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    levels = stats.norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z)))
    return np.quantile(means, levels)


@pytest.fixture
def fewest_for_bca(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set from how many pairs on the interval is BCa."""
    return lambda pairs: monkeypatch.setattr(statistics, "FEWEST_FOR_BCA", pairs)


def test_describe_gives_the_textbook_values() -> None:
    found = describe([2, 4, 4, 4, 5, 5, 7, 9])
    assert (found.n, found.mean, found.median, found.worst, found.best) == (8, 5, 4.5, 2, 9)
    assert found.sd == pytest.approx((32 / 7) ** 0.5)  # squares about 5 add to 32


def test_one_seed_has_no_standard_deviation() -> None:
    found = describe([0.7])
    assert found.sd is None
    assert found.mean == found.median == found.worst == found.best == 0.7


def test_the_t_interval_is_that_of_r() -> None:
    found = mean_difference(SLEEP_1, SLEEP_2)
    assert found.method == "t"
    assert found.estimate == pytest.approx(-1.58)
    assert (found.low, found.high) == pytest.approx((-2.4598858, -0.7001142), abs=1e-7)


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_bca_limits_are_those_of_all_resamples(
    confidence: float, fewest_for_bca: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fewest_for_bca(2)
    monkeypatch.setattr(statistics, "CONFIDENCE", confidence)
    values = np.array([0.5, 0.9, 1.6, 2.9, 5.2, 9.4])  # skewed, so that a and z0 matter
    found = mean_difference(values, np.zeros(6))
    expected = enumerated_bca(values, confidence)
    assert found.method == "bca"
    assert (found.low, found.high) == pytest.approx(expected, abs=0.02)
    plain = np.quantile(
        [np.mean(r) for r in itertools.product(values, repeat=6)],
        [(1 - confidence) / 2, (1 + confidence) / 2],
    )
    assert max(abs(plain - expected)) > 0.1  # the percentiles alone would not pass


@pytest.mark.parametrize(("n", "method"), [(FEWEST_FOR_BCA - 1, "t"), (FEWEST_FOR_BCA, "bca")])
def test_the_method_follows_the_number_of_seeds(n: int, method: str) -> None:
    ours = np.random.default_rng(0).normal(size=n)
    assert mean_difference(ours, np.zeros(n)).method == method


@pytest.mark.parametrize("bca_from", [2, FEWEST_FOR_BCA])
def test_equal_differences_give_a_point(
    bca_from: int, fewest_for_bca: Callable[[int], None]
) -> None:
    fewest_for_bca(bca_from)
    found = mean_difference([0.9, 0.8, 0.7], [0.8, 0.7, 0.6])
    assert len({0.9 - 0.8, 0.8 - 0.7, 0.7 - 0.6}) > 1  # equal as scores, not as floating point
    assert found.method == "constant"
    assert found.low == found.high == found.estimate == pytest.approx(0.1)


def test_a_single_pair_has_no_limits() -> None:
    found = mean_difference([0.9], [0.7])
    assert (found.low, found.high, found.method) == (None, None, "none")
    assert found.estimate == pytest.approx(0.2)


@given(pairs=PAIRS, bca_from=st.sampled_from([2, FEWEST_FOR_BCA]))
def test_swapped_samples_mirror_the_interval(
    pairs: list[tuple[float, float]], bca_from: int
) -> None:
    ours, baseline = np.array(pairs).T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", 999)
        patch.setattr(statistics, "FEWEST_FOR_BCA", bca_from)
        found = mean_difference(ours, baseline)
        mirrored = mean_difference(baseline, ours)
    assert found.method == mirrored.method
    assert (-mirrored.high, -mirrored.low) == pytest.approx((found.low, found.high), abs=1e-9)
    assert mirrored.estimate == -found.estimate


@given(pairs=PAIRS, shift=st.integers(-5, 5))
def test_a_shift_of_both_samples_changes_nothing(
    pairs: list[tuple[float, float]], shift: int
) -> None:
    ours, baseline = np.array(pairs).T
    found = mean_difference(ours, baseline)
    shifted = mean_difference(ours + shift, baseline + shift)
    assert found.method == shifted.method
    assert (shifted.low, shifted.high) == pytest.approx((found.low, found.high), abs=1e-9)
    assert paired_test(ours + shift, baseline + shift) == paired_test(ours, baseline)


def covered(n: int, sample: Callable[..., np.ndarray], repeats: int) -> float:
    """Return the share of intervals that cover a true difference of 0."""
    rows = sample(size=(repeats, n))
    found = [mean_difference(row, np.zeros(n)) for row in rows]
    return float(np.mean([i.low <= 0 <= i.high for i in found]))


@pytest.mark.parametrize("n", [3, 5, 10])
def test_t_intervals_cover_normal_differences_at_their_confidence(n: int) -> None:
    share = covered(n, np.random.default_rng(n).normal, repeats=4000)
    assert share == pytest.approx(0.95, abs=3 * (0.95 * 0.05 / 4000) ** 0.5)


@pytest.mark.parametrize(("n", "stated"), [(3, 0.72), (5, 0.83), (20, 0.93)])
def test_bca_covers_as_the_documentation_states(
    n: int,
    stated: float,
    fewest_for_bca: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fewest_for_bca(2)
    monkeypatch.setattr(statistics, "RESAMPLES", 999)
    share = covered(n, np.random.default_rng(n).normal, repeats=1000)
    assert f"{stated:.2f} for {n}" in " ".join(str(mean_difference.__doc__).split())
    assert share == pytest.approx(stated, abs=3 * (stated * (1 - stated) / 1000) ** 0.5 + 0.01)


def test_the_paired_test_of_the_sleep_data() -> None:
    # All differences but a zero have one sign, so that only the zero's sign and the sign of all
    # leave the sum as extreme: 2 * 2 of 2^10.
    found = paired_test(SLEEP_1, SLEEP_2)
    assert found == 4 / 1024
    assert brute_force_p([-12, -24, -13, -13, 0, -10, -18, -8, -46, -14]) == 4 / 1024
    assert stats.ttest_rel(SLEEP_1, SLEEP_2).pvalue == pytest.approx(0.002833, abs=1e-6)


@given(pairs=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=8))
def test_the_exact_p_is_that_of_brute_force_with_ties_and_zeros(
    pairs: list[tuple[int, int]],
) -> None:
    ours, baseline = np.array(pairs).T
    # Tenths make sums that are equal as numbers differ as floating point.
    found = paired_test(0.1 * ours, 0.1 * baseline)
    assert found == brute_force_p((ours - baseline).tolist())
    assert paired_test(0.1 * baseline, 0.1 * ours) == found


@pytest.mark.parametrize("n", [2, 7, 13, 16])
def test_the_exact_p_is_that_of_scipy(n: int) -> None:
    ours, baseline = np.add(np.random.default_rng(n).normal(size=(2, n)), [[0.4], [0]])
    expected = stats.permutation_test(
        (ours - baseline,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert paired_test(ours, baseline) == pytest.approx(expected.pvalue, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_drawn_p_is_near_the_exact_one(seed: int) -> None:
    differences = np.random.default_rng(seed).integers(-4, 8, size=24)
    expected = convolved_p(differences.tolist())
    found = paired_test(0.01 * differences, np.zeros(24))
    assert 0.0005 < expected < 0.5
    assert found == pytest.approx(expected, abs=4 * (expected / RESAMPLES) ** 0.5)
    assert paired_test(np.zeros(24), 0.01 * differences) == found
    assert paired_test(0.01 * differences, np.zeros(24)) == found


def test_both_references_agree() -> None:
    assert convolved_p([3, 1, -2, 0, 5, 1]) == brute_force_p([3, 1, -2, 0, 5, 1])


def test_the_drawn_p_is_never_zero() -> None:
    assert paired_test(np.arange(1.0, 41), np.zeros(40)) == 1 / (RESAMPLES + 1)


def test_the_smallest_p_is_reached_by_differences_of_one_sign() -> None:
    for n in range(1, 21):
        assert paired_test(np.arange(1.0, n + 1), np.zeros(n)) == smallest_p(n)
    assert [smallest_p(n) for n in (1, 3, 5, 6, 8)] == [1, 0.25, 0.0625, 0.03125, 0.0078125]
    assert smallest_p(21) == 1 / (RESAMPLES + 1)
    assert smallest_p(60) == 1 / (RESAMPLES + 1)


def test_no_difference_gives_a_p_of_one() -> None:
    assert paired_test([0.5, 0.6, 0.7], [0.5, 0.6, 0.7]) == 1
    assert paired_test([0.1 + 0.2, 0.6], [0.3, 0.6]) == 1  # a rounding error is no difference
    assert paired_test(np.full(24, 0.1 + 0.2), np.full(24, 0.3)) == 1


@pytest.mark.parametrize(("n", "level"), [(6, 2 / 64), (8, 12 / 256), (10, 50 / 1024)])
def test_the_exact_test_rejects_at_its_nominal_rate(n: int, level: float) -> None:
    generator, repeats = np.random.default_rng(n), 5000
    samples = generator.exponential(size=(repeats, 2, n))  # alike, skewed, no difference
    rate = np.mean([paired_test(ours, baseline) <= level for ours, baseline in samples])
    assert rate == pytest.approx(level, abs=3 * (level * (1 - level) / repeats) ** 0.5)


def test_holm_is_that_of_r() -> None:
    # R: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), method = "holm") -> 0.05 0.08 0.09 0.09 0.09
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    # Demsar (2006), section 3.2.2: 0.607, 0.016 and 0.019 as rejected at 0.05 in two steps.
    assert holm([0.607, 0.016, 0.019]) == pytest.approx([0.607, 0.048, 0.048])


@settings(max_examples=40)
@given(p_values=st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.01, 1.0]))))
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1] if p_values else []
    assert holm(p_values) == pytest.approx(list(expected), rel=1e-12)


def test_holm_leaves_out_what_was_not_tested() -> None:
    assert holm([None, 0.04, None, 0.01]) == [None, pytest.approx(0.04), None, pytest.approx(0.02)]
    assert holm([None, None]) == [None, None]
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1, 1]


def test_churn_of_a_hand_worked_case() -> None:
    # Pairs 01, 02, 12 disagree on 1, 2 and 3 of 4 rows.
    assert churn([[0, 1, 2, 0], [0, 1, 2, 1], [0, 2, 1, 0]]) == pytest.approx(6 / 12)
    assert churn([[0, 1], [0, 1], [0, 1]]) == 0
    assert churn([[0, 0], [1, 1]]) == 1
    assert churn([[True, False], [True, True]]) == 0.5


@given(seed=st.integers(0, 1000), seeds=st.integers(2, 6), classes=st.integers(1, 5))
def test_churn_is_the_mean_over_pairs(seed: int, seeds: int, classes: int) -> None:
    predictions = np.random.default_rng(seed).integers(-1, classes, size=(seeds, 9))
    expected = np.mean([np.mean(a != b) for a, b in itertools.combinations(predictions, 2)])
    assert churn(predictions) == pytest.approx(expected, abs=1e-12)


def test_churn_needs_little_memory() -> None:
    predictions = np.random.default_rng(0).integers(3, size=(50, 20_000))
    tracemalloc.start()
    churn(predictions)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * predictions.nbytes  # all pairs at once would be 25 times as much


BAD_SAMPLES = [
    ([], "at least 1 finite score"),
    ([0.1, float("nan")], "nan at position 1"),
    ([0.1, float("inf")], "inf at position 1"),
    ([[0.1, 0.2]], r"shape \(1, 2\)"),
    (["good"], "numbers"),
]


@pytest.mark.parametrize(("scores", "message"), BAD_SAMPLES)
def test_what_is_no_sample_is_refused(scores: list[object], message: str) -> None:
    good = [0.1] * max(1, len(scores))
    calls: list[Callable[[], object]] = [
        lambda: describe(scores),
        lambda: mean_difference(scores, good),
        lambda: mean_difference(good, scores),
        lambda: paired_test(scores, good),
        lambda: paired_test(good, scores),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match=message):
            call()


@pytest.mark.parametrize("function", [mean_difference, paired_test])
def test_unequal_lengths_are_refused(function: Callable[..., object]) -> None:
    with pytest.raises(ConfigError, match="2 and 3"):
        function([0.1, 0.2], [0.1, 0.2, 0.3])


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1 pair"):
        smallest_p(0)
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="p-values from 0 to 1"):
            holm([0.5, p])


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ([[0, 1]], "shape"),
        ([0, 1], "shape"),
        (np.zeros((2, 0), dtype=int), "shape"),
        ([[0.5, 1.0], [0.5, 1.0]], "float64"),
    ],
)
def test_what_is_no_table_of_classes_is_refused(predictions: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        churn(predictions)  # type: ignore[arg-type]


def test_import_needs_no_statistical_library() -> None:
    code = (
        "import sys\nfrom headstart.study.outcome import power, ranks, statistics\n"
        "print({'scipy', 'statsmodels', 'torch', 'pandas'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
