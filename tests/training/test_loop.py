"""One stage of training: what a step computes, when it ends, that it resumes to the same bits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from headstart.strategies.plan import Length
from headstart.training.loop import StageLoop
from headstart.training.state import LoopState

Make = Callable[..., StageLoop]
# With a large eps AdamW's step is proportional to the gradient, so that its scale is tested too.
LINEAR = {"eps": 1.0, "betas": (0.0, 0.0), "weight_decay": 0.0, "clip": 0.0, "warmup": 0.0}


def parameters(loop: StageLoop) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in loop.trained.items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def losses(make_loop: Make, **settings: Any) -> list[float]:
    found: list[float] = []
    make_loop(on_step=lambda _, loss: found.append(loss), **settings).run()
    return found


def test_a_step_is_one_update_by_the_mean_gradient_of_its_rows(make_loop: Make) -> None:
    loop = make_loop(Length(1, 1, "end"), optimizer={**LINEAR, "lr": 0.1, "head_lr": 0.3})
    twin = make_loop()
    rows = loop.order.epoch(0)[0]
    batch = twin.loader.batch(rows)
    labels = batch.pop("labels")
    loss = functional.cross_entropy(twin.model(**batch).logits, labels)
    gradients = torch.autograd.grad(loss, list(twin.trained.values()))
    reported: list[tuple[int, float]] = []
    loop.on_step = lambda step, value: reported.append((step, value))
    state = loop.run()
    assert reported == [(1, pytest.approx(loss.item(), rel=1e-5))]
    for (name, start), gradient in zip(twin.trained.items(), gradients, strict=True):
        rate = 0.3 if name.startswith("classifier") else 0.1
        expected = start.detach() - rate * gradient / (gradient.abs() + 1)
        torch.testing.assert_close(loop.trained[name].detach(), expected, atol=1e-6, rtol=1e-5)
    assert state.tokens == int(loop.loader.lengths[rows].sum())
    assert (state.step, state.ended) == (1, "end")
    assert all(p.grad is None for p in loop.trained.values())


@pytest.mark.parametrize("micro", [1, 2, 99])
def test_accumulated_gradients_equal_those_of_the_whole_batch(make_loop: Make, micro: int) -> None:
    found: list[list[float]] = [[], []]
    optimizer = {**LINEAR, "lr": 0.1, "head_lr": 0.1, "clip": 0.5}
    whole = make_loop(on_step=lambda _, loss: found[0].append(loss), optimizer=optimizer)
    parts = make_loop(
        on_step=lambda _, loss: found[1].append(loss), optimizer=optimizer, micro_batch_size=micro
    )
    start = parameters(whole)
    whole.run()
    parts.run()
    assert max(len(rows) for rows in parts.loader.asked) == min(micro, 5)  # type: ignore[attr-defined]
    assert max((p - start[n]).abs().max() for n, p in parameters(whole).items()) > 1e-3
    for name, expected in parameters(whole).items():
        torch.testing.assert_close(parts.trained[name].detach(), expected, atol=1e-6, rtol=0)
    assert found[1] == pytest.approx(found[0], abs=1e-6)
    for left, right in zip(parts.state.curve, whole.state.curve, strict=True):
        assert left.scores["loss"] == pytest.approx(right.scores["loss"], abs=1e-6)
        assert left.train_loss == pytest.approx(right.train_loss, abs=1e-6)


def gradient_norms(loop: StageLoop) -> list[float]:
    norms: list[float] = []

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        gradients = [p.grad for p in loop.trained.values() if p.grad is not None]
        # The fused update divides the gradient by this.
        scale = getattr(optimizer, "grad_scale", None)
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        norms.append(float(norm / (1.0 if scale is None else scale)))

    loop.optimizer.register_step_pre_hook(note)
    loop.run()
    return norms


def test_gradients_are_clipped_to_the_norm_or_left_alone(make_loop: Make) -> None:
    free = gradient_norms(make_loop(optimizer={"clip": 0.0}))
    assert min(free) > 0.05
    clipped = gradient_norms(make_loop(optimizer={"clip": 0.05}))
    assert clipped == pytest.approx([0.05] * 7, rel=1e-3)


def test_each_epoch_sees_every_row_once_and_the_counts_are_told(make_loop: Make) -> None:
    loop = make_loop(Length(6, 1, "end"))
    state = loop.run()
    asked = loop.loader.asked  # type: ignore[attr-defined]
    for epoch in (asked[:3], asked[3:]):
        assert sorted(i for rows in epoch for i in rows) == list(range(12))
    assert state.tokens == 2 * int(loop.loader.lengths.sum())
    assert 0 < state.training_seconds <= state.seconds


@pytest.mark.parametrize(
    ("every", "points"), [(None, [0, 3, 6, 7]), (2, [0, 2, 4, 6, 7]), (7, [0, 7]), (99, [0, 7])]
)
def test_it_evaluates_before_along_the_way_and_at_the_end(
    make_loop: Make, every: int | None, points: list[int]
) -> None:
    told: list[Any] = []
    steps: list[float] = []
    loop = make_loop(
        eval_every=every, on_point=told.append, on_step=lambda _, loss: steps.append(loss),
        batch_size=4,
    )  # fmt: skip
    curve = loop.run().curve
    assert told == curve
    assert [point.step for point in curve] == points
    assert curve[0].train_loss is None
    for before, point in itertools.pairwise(curve):
        assert point.train_loss == pytest.approx(np.mean(steps[before.step : point.step]))


def test_rows_of_a_short_batch_weigh_as_much_as_others(make_loop: Make) -> None:
    steps: list[float] = []
    loop = make_loop(Length(3, 1, "end"), on_step=lambda _, loss: steps.append(loss))
    point = loop.run().curve[-1]
    sizes = [len(rows) for rows in loop.order.epoch(0)]
    assert sorted(sizes) == [2, 5, 5]
    assert point.train_loss == pytest.approx(np.average(steps, weights=sizes))


def scripted(scores: list[float]) -> Callable[[], dict[str, float]]:
    left = iter(scores)
    return lambda: {"score": next(left), "loss": 0.5}


def test_last_and_best_are_told_apart(make_loop: Make) -> None:
    kept: dict[int, dict[str, torch.Tensor]] = {}
    loop = make_loop(eval_every=2, evaluate=scripted([0.1, 0.5, 0.8, 0.8, 0.3]), keep_best=True)
    loop.on_point = lambda point: kept.update({point.step: parameters(loop)})
    state = loop.run()
    assert (state.best_step, state.best["score"]) == (4, 0.8)
    assert state.curve[-1].scores["score"] == 0.3
    assert same(loop.best_tensors, kept[4])
    assert same(parameters(loop), kept[7])
    assert not same(kept[4], kept[7])


def test_the_start_can_be_the_best(make_loop: Make) -> None:
    loop = make_loop(eval_every=4, evaluate=scripted([-0.2, -0.5, -0.3]), keep_best=True)
    start = parameters(loop)
    state = loop.run()
    assert (state.best_step, state.best["score"]) == (0, -0.2)
    assert same(loop.best_tensors, start)


def test_the_best_state_is_not_kept_unless_asked_for(make_loop: Make) -> None:
    loop = make_loop()
    loop.run()
    assert loop.best_tensors == {}


def test_a_loss_that_is_no_number_ends_the_stage_at_once(make_loop: Make) -> None:
    loop = make_loop(evaluate=scripted([-0.9, -0.8, 0.0]), eval_every=2, keep_best=True)
    plain = loop.loader.batch

    def poison(rows: Any, draw: int | None = None) -> dict[str, torch.Tensor]:
        batch = plain(rows, draw)
        if loop.state.step == 4:
            loop.trained["classifier.bias"].data.fill_(math.nan)
        return batch

    loop.loader.batch = poison  # type: ignore[method-assign]
    loop.evaluate = scripted([-0.9, -0.8, -0.7, 0.0])
    state = loop.run()
    assert (state.ended, state.step) == ("nan", 5)
    assert [point.step for point in state.curve] == [0, 2, 4, 5]
    assert state.best_step == 4  # a broken state is never the best
    assert all(torch.isfinite(tensor).all() for tensor in loop.best_tensors.values())


def test_a_plateau_ends_the_stage(make_loop: Make) -> None:
    scores = [0.1, 0.5, 0.4, 0.6, 0.5, 0.6, 0.9, 0.9]
    loop = make_loop(Length(30, 1, "plateau"), eval_every=2, evaluate=scripted(scores), patience=2)
    state = loop.run()
    assert (state.step, state.ended, state.best_step) == (10, "plateau", 6)
    bound = make_loop(Length(5, 1, "plateau"), eval_every=2, evaluate=scripted(scores))
    assert (bound.run().step, bound.state.ended) == (5, "end")


def test_one_seed_gives_one_result_whatever_else_draws_numbers(make_loop: Make) -> None:
    def noisy() -> dict[str, float]:
        torch.rand(3)
        np.random.rand(3)
        return {"score": 0.0, "loss": 0.0}

    first, second = (make_loop(dropout=0.3) for _ in range(2))
    torch.manual_seed(1)
    first.run()
    torch.manual_seed(2)
    second.evaluate = noisy
    second.run()
    assert same(parameters(first), parameters(second))
    other = make_loop(dropout=0.3, seed=1)
    other.run()
    assert not same(parameters(first), parameters(other))


def test_dropout_is_drawn_anew_for_each_step(make_loop: Make) -> None:
    frozen = {"optimizer": {"lr": 1e-30, "head_lr": 1e-30}, "rows": 5}
    still = losses(make_loop, dropout=0.0, **frozen)
    assert still == pytest.approx([still[0]] * 7, rel=1e-5)
    assert len(set(losses(make_loop, dropout=0.3, **frozen))) == 7


def test_the_seed_of_the_run_decides_what_dropout_drops(make_loop: Make) -> None:
    """With all rows in one batch the seed decides nothing else."""
    frozen = {"optimizer": {"lr": 1e-30, "head_lr": 1e-30}, "rows": 5}
    still, other = (losses(make_loop, dropout=0.0, seed=seed, **frozen) for seed in (0, 1))
    assert still == pytest.approx(other, rel=1e-5)
    first, again, second = (losses(make_loop, dropout=0.3, seed=s, **frozen) for s in (0, 0, 1))
    assert first == again
    assert all(abs(a - b) > 1e-4 for a, b in zip(first, second, strict=True))


def test_what_trains_does_not_change_the_order_of_the_rows(make_loop: Make) -> None:
    loops = [make_loop(), make_loop(head_only=True), make_loop(Length(7, 1, "learned"))]
    for loop in loops:
        loop.run()
    first, *others = (loop.loader.asked for loop in loops)  # type: ignore[attr-defined]
    assert all(asked == first[: len(asked)] for asked in others)
    assert min(map(len, others)) > 1


def test_each_stage_begins_with_a_fresh_optimizer(make_loop: Make) -> None:
    first = make_loop()
    first.run()
    assert first.optimizer.state
    second = StageLoop(
        first.model, {n: p for n, p in first.trained.items() if n.startswith("classifier")}, {},
        first.loader, first.kind, first.evaluate, first.setup, first.runtime,
    )  # fmt: skip
    assert second.optimizer is not first.optimizer
    assert not second.optimizer.state
    assert second.state == LoopState()
