"""Who stays in the race for a strategy, and who has won it."""

from __future__ import annotations

import pytest

from headstart.search.halving import Trial, better_half, decide, ranking


def trials(**scores: list[float | None]) -> dict[tuple[str, int], Trial]:
    return {
        (name, i): Trial(name, i, score, 0.5, 10, 1.0)
        for name, values in scores.items()
        for i, score in enumerate(values)
    }


def test_the_mean_score_orders_candidates() -> None:
    found = trials(a=[0.5, 0.6], b=[0.9, 0.4], c=[0.6, 0.6])
    assert ranking(found, ["a", "b", "c"], 2) == ["b", "c", "a"]
    assert ranking(found, ["a", "b", "c"], 1) == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("other", "first"),
    [
        (Trial("b", 0, 0.5, 0.4, 99, 9.0), "b"),
        (Trial("b", 0, 0.5, 0.6, 1, 9.0), "a"),
        (Trial("b", 0, 0.5, 0.5, 9, 9.0), "b"),
        (Trial("b", 0, 0.5, 0.5, 10, 0.1), "a"),
        (Trial("b", 0, 0.5, float("nan"), 1, 0.1), "a"),
        (Trial("b", 0, None, 0.1, 1, 0.1), "a"),
    ],
)
def test_the_loss_then_the_steps_then_the_list_break_ties(other: Trial, first: str) -> None:
    found = trials(a=[0.5]) | {("b", 0): other}
    assert ranking(found, ["a", "b"], 1)[0] == first


@pytest.mark.parametrize(("names", "left"), [("abcd", "ab"), ("abc", "a"), ("ab", "a"), ("a", "a")])
def test_the_better_half_stays(names: str, left: str) -> None:
    assert better_half(list(names)) == list(left)


def test_a_winner_has_to_beat_the_default_by_more_than_the_noise() -> None:
    # Gains 0.2, 0.0, 0.2, 0.0: mean 0.1, standard error 0.11547 / 2 = 0.0577.
    clear = trials(win=[0.7, 0.5, 0.7, 0.5], default=[0.5] * 4)
    chosen, why = decide(clear, "win", "default", 4)
    assert chosen == "win"
    assert "+0.1000" in why
    assert "0.0577" in why
    # Gains 0.3, -0.1, 0.1, -0.1: mean 0.05, standard error 0.1915 / 2 = 0.0957.
    unclear = trials(win=[0.8, 0.4, 0.6, 0.4], default=[0.5] * 4)
    chosen, why = decide(unclear, "win", "default", 4)
    assert chosen == "default"
    assert "no more than the noise" in why
    assert decide(clear, "default", "default", 4)[0] == "default"


def test_any_strategy_that_trains_beats_a_default_that_fails() -> None:
    found = trials(win=[0.1, 0.1], default=[0.9, None])
    assert decide(found, "win", "default", 2)[0] == "win"
