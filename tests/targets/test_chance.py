"""The loss of the best guess that ignores the input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import entropy

from headstart.targets.classes import Classes
from headstart.targets.number import Number


def classes(n: int) -> Classes:
    return Classes(tuple(map(str, range(n))))


def test_chance_is_the_entropy_of_the_classes() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [3])
    assert classes(4).chance_loss(labels) == pytest.approx(float(entropy([6, 3, 0, 1])))
    assert classes(2).chance_loss(np.array([0, 1])) == pytest.approx(math.log(2))
    assert classes(2).chance_loss(np.zeros(5, np.int64)) == 0
    assert classes(6).chance_loss(np.arange(6)) == pytest.approx(math.log(6))


def test_chance_for_numbers_is_their_variance() -> None:
    numbers = np.random.default_rng(0).normal(3, 2, 50).astype(np.float32)
    expected = float(((numbers - numbers.mean()) ** 2).mean())
    assert Number().chance_loss(numbers) == pytest.approx(expected)
