"""When a stage has served its purpose, on loss curves made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import entropy

from headstart.training.stopping import LearnedRule, PlateauRule, chance_loss

CHANCE = math.log(2)


def stops(losses: list[float], chance: float = CHANCE, **settings: float) -> int | None:
    """Return the window, counted from 1, at which the rule lets the stage end."""
    rule = LearnedRule(chance, **{"enough": 0.9, **settings})  # type: ignore[arg-type]
    return next((i for i, loss in enumerate(losses, 1) if rule.update(loss)), None)


def of_chance(*shares: float) -> list[float]:
    return [CHANCE * share for share in shares]


def test_chance_is_the_entropy_of_the_classes() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [3])
    assert chance_loss(labels, 4) == pytest.approx(float(entropy([6, 3, 0, 1])))
    assert chance_loss(np.array([0, 1]), 2) == pytest.approx(CHANCE)
    assert chance_loss(np.zeros(5, np.int64), 2) == 0
    assert chance_loss(np.arange(6), 6) == pytest.approx(math.log(6))


def test_chance_for_numbers_is_their_variance() -> None:
    numbers = np.random.default_rng(0).normal(3, 2, 50).astype(np.float32)
    expected = float(((numbers - numbers.mean()) ** 2).mean())
    assert chance_loss(numbers, 0) == pytest.approx(expected)


def test_it_does_not_stop_at_chance() -> None:
    wobble = np.random.default_rng(0).normal(1, 0.01, 200)
    assert stops(of_chance(*wobble)) is None
    assert stops(of_chance(*[2.0] * 50)) is None
    assert stops(of_chance(*[0.95] * 50)) is None  # below chance, but not well below


def test_it_does_not_stop_while_the_loss_falls() -> None:
    assert stops(of_chance(*np.arange(1.2, 0.2, -0.03))) is None


def test_it_stops_when_the_loss_has_levelled_off_well_below_chance() -> None:
    assert stops(of_chance(1.0, 0.8, 0.6, 0.595, 0.59)) == 5
    assert stops(of_chance(1.0, 0.8, 0.6, 0.7, 0.65)) == 5
    assert stops(of_chance(1.0, 0.8, 0.6, 0.595, 0.59), patience=3) is None


def test_a_gain_starts_the_waiting_anew() -> None:
    assert stops(of_chance(0.8, 0.79, 0.7, 0.69, 0.6, 0.59, 0.58)) == 7


def test_a_late_start_is_waited_for() -> None:
    assert stops(of_chance(*[1.0] * 30, 0.9, 0.7, 0.5, 0.5, 0.5)) == 35


def test_it_stops_at_once_when_enough_is_learned() -> None:
    assert stops(of_chance(0.6, 0.3, 0.09)) == 3
    assert stops(of_chance(0.6, 0.3, 0.11)) is None
    assert stops(of_chance(0.05)) == 1


def test_a_fifth_is_enough_unless_told_otherwise() -> None:
    enough = LearnedRule(CHANCE).enough
    assert stops(of_chance(0.99, 0.9, 0.81, 0.79, 0.7), enough=enough) == 4


def test_one_class_alone_is_never_learned() -> None:
    assert stops([0.5, 0.1, 0.01, 0.001, 0.0, 0.0, 0.0], chance=0.0) is None


def scores(*values: float, patience: int = 2) -> int | None:
    rule = PlateauRule(patience)
    return next((i for i, value in enumerate(values, 1) if rule.update(value)), None)


def test_a_plateau_is_patience_without_a_new_best() -> None:
    assert scores(0.5, 0.6, 0.7, 0.8) is None
    assert scores(0.5, 0.6, 0.6, 0.6) == 4
    assert scores(0.5, 0.4, 0.6, 0.5, 0.55) == 5
    assert scores(0.5, 0.4, patience=1) == 2
    assert scores(-0.5, -0.4, -0.3) is None
