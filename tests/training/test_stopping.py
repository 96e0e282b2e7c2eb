"""When a stage has served its purpose, on curves made by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from headstart.training.stopping import LearnedRule, PlateauRule

CHANCE = math.log(2)


def stops(scores: Iterable[float], **settings: float) -> int | None:
    """Return the window, counted from 1, at which the rule lets the stage end."""
    rule = LearnedRule(**{"enough": 0.9, **settings})  # type: ignore[arg-type]
    return next((i for i, score in enumerate(scores, 1) if rule.update(score)), None)


def test_it_does_not_stop_at_chance() -> None:
    assert stops(np.random.default_rng(0).normal(0, 0.04, 200)) is None
    assert stops([-0.3] * 50) is None
    assert stops([0.1] * 50) is None  # above chance, but not well above


def test_it_does_not_stop_while_the_adjusted_score_rises() -> None:
    assert stops(np.arange(0.0, 0.88, 0.03)) is None


def test_it_stops_when_the_adjusted_score_has_levelled_off_well_above_chance() -> None:
    assert stops([0.0, 0.1, 0.2, 0.21, 0.2, 0.22]) == 6
    assert stops([0.0, 0.1, 0.2, 0.1, 0.05, 0.0]) == 6
    assert stops([0.0, 0.1, 0.2, 0.21, 0.2], patience=2) == 5


def test_a_gain_starts_the_waiting_anew() -> None:
    assert stops([0.2, 0.2, 0.2, 0.3, 0.3, 0.3, 0.3]) == 7


def test_a_late_start_is_waited_for() -> None:
    assert stops([0.0] * 30 + [0.2, 0.4, 0.6, 0.6, 0.6, 0.6]) == 36


def test_it_stops_at_once_when_enough_is_learned() -> None:
    assert stops([0.3, 0.6, 0.91]) == 3
    assert stops([0.3, 0.6, 0.89]) is None
    assert stops([0.95]) == 1


def test_three_tenths_are_enough_unless_told_otherwise() -> None:
    assert stops([0.0, 0.2, 0.29, 0.31, 0.5], enough=LearnedRule().enough) == 4


def scores(*values: float, patience: int = 2) -> int | None:
    rule = PlateauRule(patience)
    return next((i for i, value in enumerate(values, 1) if rule.update(value)), None)


def test_a_plateau_is_patience_without_a_new_best() -> None:
    assert scores(0.5, 0.6, 0.7, 0.8) is None
    assert scores(0.5, 0.6, 0.6, 0.6) == 4
    assert scores(0.5, 0.4, 0.6, 0.5, 0.55) == 5
    assert scores(0.5, 0.4, patience=1) == 2
    assert scores(-0.5, -0.4, -0.3) is None
