"""Adjusted scores: what a constant, a random and a perfect guess are worth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from headstart.targets._adjusted import adjusted_score, adjusted_score_of_sums
from headstart.targets.classes import Classes
from headstart.targets.number import Number


def kind_of(logits: Any) -> Any:
    return Number() if logits.shape[1] == 1 else Classes(tuple("abcdef"[: logits.shape[1]]))


def score(logits: Any, labels: Any) -> float:
    return adjusted_score(kind_of(logits), logits, labels)


def one_hot(guesses: Any, classes: int) -> Any:
    return 4 * np.eye(classes, dtype=np.float32)[guesses]


def test_the_adjusted_score_is_0_for_a_constant_guess_and_1_for_no_error() -> None:
    labels = np.array([0] * 18 + [1] + [2])
    for guess in range(3):
        assert score(one_hot([guess] * 20, 3), labels) == pytest.approx(0)
    assert score(one_hot(labels, 3), labels) == pytest.approx(1)
    assert score(one_hot((labels + 1) % 3, 3), labels) == pytest.approx(-0.5)
    half = np.array([0] * 10 + [1])
    guesses = np.array([0] * 5 + [1] * 5 + [1])
    assert score(one_hot(guesses, 2), half) == pytest.approx(0.5)


def test_a_random_guess_scores_0_whatever_the_shares_of_the_classes() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 20_000, p=[0.9, 0.08, 0.02])
    guesses = rng.choice(3, 20_000, p=[0.5, 0.3, 0.2])
    assert abs(score(one_hot(guesses, 3), labels)) < 0.02


def test_the_adjusted_score_is_0_on_one_class_or_broken_logits() -> None:
    assert score(one_hot([0, 0], 2), np.array([0, 0])) == 0
    broken = one_hot([0, 1], 2)
    broken[0, 0] = np.nan
    assert score(broken, np.array([0, 1])) == 0


def test_the_adjusted_score_for_numbers_is_the_squared_correlation() -> None:
    rng = np.random.default_rng(0)
    labels = rng.normal(size=50).astype(np.float32)
    assert score(3 * labels[:, None] + 1, labels) == pytest.approx(1)
    assert score(np.full((50, 1), 7, np.float32), labels) == 0
    guess = (labels + rng.normal(size=50)).astype(np.float32)
    expected = np.corrcoef(guess, labels)[0, 1] ** 2
    assert score(guess[:, None], labels) == pytest.approx(expected, rel=1e-5)


def test_sums_of_parts_add_up_to_those_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    classes = rng.normal(size=(90, 4)).astype(np.float32), rng.choice(3, 90)
    numbers = rng.normal(size=(90, 1)).astype(np.float32), rng.normal(size=90).astype(np.float32)
    for logits, labels in (classes, numbers):
        kind = kind_of(logits)
        parts = [
            kind.adjusted_sums(
                torch.from_numpy(logits[i : i + 7]), torch.from_numpy(labels[i : i + 7])
            ).double()
            for i in range(0, 90, 7)
        ]
        whole = adjusted_score_of_sums(kind, torch.stack(parts).sum(dim=0).numpy())
        assert whole == pytest.approx(score(logits, labels), abs=1e-5)


def test_the_adjusted_score_is_informedness_as_scikit_learn_computes_it() -> None:
    rng = np.random.default_rng(1)
    labels, logits = rng.choice(3, 200, p=[0.7, 0.2, 0.1]), rng.normal(size=(200, 3))
    logits[np.arange(200), labels] += 1
    expected = balanced_accuracy_score(labels, logits.argmax(axis=1), adjusted=True)
    assert score(logits.astype(np.float32), labels) == pytest.approx(expected)
