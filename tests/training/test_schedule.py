"""The learning rate along a stage, and what ends a stage whose length is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import headstart.training.loop as module
from headstart.strategies.plan import Length
from headstart.targets._adjusted import adjusted_score
from headstart.training.evaluate import predict_logits
from headstart.training.loop import StageLoop
from headstart.training.stopping import LearnedRule

Make = Callable[..., StageLoop]


class At(LearnedRule):
    """A rule that says at a given window that the head has learned."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window, self.seen = window, list[float]()

    def update(self, score: float) -> bool:
        """Note the window's adjusted score."""
        self.seen.append(score)
        return len(self.seen) >= self.window


@pytest.fixture(autouse=True)
def an_epoch_is_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW_ROWS", 1)


def rates(loop: StageLoop) -> list[float]:
    """Run, and return each step's rate as a share of its peak."""
    found: list[float] = []

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        (share,) = {round(group["lr"] / group["peak"], 9) for group in optimizer.param_groups}
        found.append(share)

    loop.optimizer.register_step_pre_hook(note)
    loop.run()
    return found


def test_a_fixed_length_rises_and_falls(make_loop: Make) -> None:
    found = rates(make_loop(Length(10, 1, "end"), optimizer={"warmup": 0.2}))
    assert found == pytest.approx([1 / 3, 2 / 3, *(n / 8 for n in range(8, 0, -1))])


def test_an_open_end_holds_the_rate_until_the_head_has_learned_then_falls(
    make_loop: Make,
) -> None:
    loop = make_loop(Length(60, 4, "learned"), optimizer={"warmup": 0.05}, head_only=True)
    loop.rule = At(5)  # a window is an epoch of three steps
    found = rates(loop)
    assert found == pytest.approx([1 / 4, 2 / 4, 3 / 4, *[1] * 12, 1, 2 / 3, 1 / 3])
    assert (loop.state.ended, loop.state.step, loop.state.fall_from) == ("learned", 18, 15)


def test_it_is_not_ended_before_its_least(make_loop: Make) -> None:
    loop = make_loop(Length(60, 10, "learned"), head_only=True)
    loop.rule = At(1)
    assert loop.run().fall_from == 12


def test_a_head_that_never_learns_goes_to_the_bound(make_loop: Make) -> None:
    loop = make_loop(Length(24, 4, "learned"), optimizer={"warmup": 0.0}, head_only=True)
    loop.rule = At(99)
    found = rates(loop)
    assert found == pytest.approx([1] * 21 + [3 / 4, 2 / 4, 1 / 4])
    assert (loop.state.ended, loop.state.step) == ("bound", 24)
    late = make_loop(Length(24, 4, "learned"), head_only=True)
    late.rule = At(7)  # at step 21 the fall has begun by itself
    assert late.run().step == 24


def test_the_rule_sees_the_adjusted_score_on_each_window(make_loop: Make) -> None:
    loop = make_loop(Length(12, 1, "learned"), eval_every=2, optimizer={"lr": 0.0, "head_lr": 0.0})
    loop.rule = rule = At(99)
    loop.run()
    logits = predict_logits(loop.model, loop.loader, loop.runtime, 2)  # no dropout, and no change
    batches = [rows for epoch in range(4) for rows in loop.order.epoch(epoch)]
    windows = [np.concatenate(batches[i : i + 3]) for i in range(0, 12, 3)]
    labels = loop.loader.labels  # type: ignore[attr-defined]
    assert rule.seen == pytest.approx(
        [adjusted_score(loop.kind, logits[rows], labels[rows]) for rows in windows]
    )


@pytest.mark.parametrize(
    ("rows", "batch_size", "expected"),
    [(12, 5, 40), (500, 5, 100), (230, 5, 46), (3000, 5, 100), (12, 200, 1)],
)
def test_a_window_holds_many_rows_and_an_epoch_where_that_is_not_long(
    make_loop: Make, rows: int, batch_size: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW_ROWS", 200)
    loop = make_loop(Length(101, 1, "learned"), rows=rows, batch_size=batch_size, head_only=True)
    assert loop.window_steps == expected


def test_a_head_that_learns_ends_its_stage(make_loop: Make) -> None:
    # The class can be read off the second token, so that a few epochs learn it.
    loop = make_loop(Length(300, 20, "learned"), optimizer={"lr": 3e-3, "head_lr": 3e-2})
    state = loop.run()
    assert state.ended == "learned"
    assert 20 <= state.step < 200
    assert state.curve[-1].scores["accuracy"] > 0.9
