"""Calibration measured by hand, against scikit-learn, and on logits whose temperature is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn import metrics as sk

from headstart.errors import DataError, NumericalError
from headstart.tasks.calibration import (
    HIGHEST,
    LOWEST,
    brier_score,
    cross_fitted,
    fit_temperature,
    log_loss,
    measure,
    reliability,
    softmax,
)


def simulated(rows: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw logits, and labels from exactly the probabilities that they stand for."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(rows, classes))
    return logits, (softmax(logits).cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_found_again(temperature: float, classes: int) -> None:
    logits, labels = simulated(20_000, classes)
    found = fit_temperature(temperature * logits, labels)
    assert found.bound == ""
    # Sampling alone moves the estimate by about one hundredth.
    assert found.value == pytest.approx(temperature, rel=0.04)


def test_the_temperature_follows_the_scale_of_the_logits_exactly() -> None:
    logits, labels = simulated(200, 3)
    one, three = (fit_temperature(f * logits, labels).value for f in (1, 3))
    assert three == pytest.approx(3 * one, rel=1e-4)


def test_the_fitted_temperature_has_the_lowest_log_loss() -> None:
    logits, labels = simulated(300, 3)
    logits = 2.5 * logits
    best = fit_temperature(logits, labels).value
    losses = [log_loss(logits / t, labels) for t in (best, 0.99 * best, 1.01 * best, 1.0)]
    assert min(losses) == losses[0] < losses[3]


def test_rows_that_determine_no_temperature_are_told() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    right = fit_temperature(logits, np.array([0, 1, 0]))
    assert (right.value, right.bound) == (LOWEST, "lowest")
    assert "predicted right" in right.reason
    wrong = fit_temperature(logits, np.array([1, 0, 1]))
    assert (wrong.value, wrong.bound) == (HIGHEST, "highest")
    assert "equal probabilities" in wrong.reason
    # There is a best temperature here, far outside of the bounds.
    tiny, labels = simulated(100, 2)
    assert fit_temperature(1e-6 * tiny, labels).bound == "lowest"
    assert fit_temperature(1e6 * tiny, labels).bound == "highest"


def test_huge_logits_lose_nothing() -> None:
    logits, labels = np.array([[1e5, 0.0], [0.0, 1e5], [-1e30, 1e30]]), np.array([0, 0, 0])
    assert log_loss(logits, labels) == pytest.approx((1e5 + 2e30) / 3)
    values = measure(logits, labels)
    assert values["brier"] == pytest.approx(4 / 3)
    assert values["ece"] == pytest.approx(2 / 3)
    drawn, truth = simulated(2000, 3)
    assert fit_temperature(np.float32(60) * drawn.astype(np.float32), truth).value == pytest.approx(
        60 * fit_temperature(drawn, truth).value, rel=1e-3
    )


def test_ece_by_hand() -> None:
    """Four bins of width 1/4: (0.5, 0.75] holds three rows, (0.75, 1] two, the others none."""
    second = np.array([0.6, 0.7, 0.25, 0.9, 1.0])
    probabilities = np.stack((1 - second, second), axis=1)
    found = reliability(probabilities, np.array([1, 0, 0, 1, 0]), bins=4)
    assert found.count.tolist() == [0, 0, 3, 2]
    # The upper edge, 0.75, belongs to the bin below it.
    assert found.confidence[2:] == pytest.approx([(0.6 + 0.7 + 0.75) / 3, 0.95])
    assert found.accuracy[2:] == pytest.approx([2 / 3, 1 / 2])
    assert np.isnan(found.confidence[:2]).all()
    assert found.ece == pytest.approx(0.6 * abs(2 / 3 - 2.05 / 3) + 0.4 * 0.45)


def test_every_edge_belongs_to_the_bin_below_it() -> None:
    edges = np.arange(8, 16) / 15  # the lowest confidence of two classes is 1/2
    found = reliability(np.stack((1 - edges, edges), axis=1), np.ones(8, int))
    assert found.count.tolist() == [0] * 7 + [1] * 8


def test_scores_equal_those_of_scikit_learn() -> None:
    logits, labels = simulated(500, 2)
    second = softmax(logits)[:, 1]
    # Two classes: the form for many classes counts the same error in both columns.
    halved = brier_score(softmax(logits), labels) / 2
    assert halved == pytest.approx(sk.brier_score_loss(labels, second), abs=1e-12)
    logits, labels = simulated(500, 4)
    assert log_loss(logits, labels) == pytest.approx(sk.log_loss(labels, softmax(logits)))
    hot = np.eye(4)[labels]
    by_hand = ((softmax(logits) - hot) ** 2).sum(axis=1).mean()
    assert brier_score(softmax(logits), labels) == pytest.approx(by_hand)


def test_cross_fitting_judges_no_row_by_its_own_temperature() -> None:
    """Whatever the label of a row, its own divisor stays; those of the other half change."""
    logits, labels = simulated(40, 2)
    before = cross_fitted(logits, labels, seed=3)
    assert (before.argmax(axis=1) == logits.argmax(axis=1)).all()
    divisors = (logits / before)[:, 0]
    assert len(np.unique(divisors.round(9))) == 2
    own = np.isclose(divisors, divisors[0])
    assert own.sum() == 20
    halves = [fit_temperature(logits[~own], labels[~own]).value, divisors[0]]
    assert halves[0] == pytest.approx(halves[1])
    assert np.bincount(labels[own]).tolist() == pytest.approx(np.bincount(labels) / 2, abs=0.5)
    assert not np.array_equal(before, cross_fitted(logits, labels, seed=4))


def test_cross_fitting_does_not_flatter_as_fitting_does() -> None:
    """On a few rows the best temperature in hindsight is always better than none."""
    gains = []
    for seed in range(100):
        logits, labels = simulated(20, 2, seed)
        plain = log_loss(logits, labels)
        fitted = fit_temperature(logits, labels)
        if fitted.bound:
            continue
        hindsight = log_loss(logits / fitted.value, labels) - plain
        gains.append((hindsight, log_loss(cross_fitted(logits, labels, seed), labels) - plain))
    hindsight, crossed = np.mean(gains, axis=0)
    assert len(gains) > 80
    assert hindsight < 0 < crossed


def test_a_half_that_determines_no_temperature_changes_nothing() -> None:
    logits, labels = np.array([[3.0, 0.0], [0.0, 3.0], [2.0, 0.0], [0.0, 2.0]]), [0, 1, 0, 1]
    assert np.array_equal(cross_fitted(logits, np.array(labels), seed=0), logits)


@pytest.mark.parametrize(
    ("logits", "labels", "told"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), "at least one row"),
        (np.zeros((2, 1)), np.array([0.5, 1.0]), "A number has no probabilities"),
        (np.zeros((2, 1)), np.array([0, 0]), "two classes or more for each of 2"),
        (np.zeros((3, 2)), np.array([0, 1]), r"an array of shape \(3, 2\)"),
        (np.zeros((2, 2)), np.array([0, 2]), "found 0 to 2"),
        (np.zeros((2, 2)), np.array([1, 1]), "found class 1 in every row"),
    ],
)
def test_rows_that_cannot_be_judged_are_refused(
    logits: np.ndarray, labels: np.ndarray, told: str
) -> None:
    with pytest.raises(DataError, match=told):
        fit_temperature(logits, labels)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(NumericalError, match="finite logits"):
        measure(np.array([[0.0, bad], [1.0, 0.0]]), np.array([0, 1]))


def test_softmax_is_that_of_scipy() -> None:
    logits, _ = simulated(50, 4)
    assert np.log(softmax(logits)) == pytest.approx(log_softmax(logits, axis=1), abs=1e-12)
    assert softmax(np.array([[1e6, 0.0]])).tolist() == [[1.0, 0.0]]
