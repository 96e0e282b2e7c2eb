"""A stage that was interrupted at any step goes on to the same bits."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

import headstart.training.loop as module
from alike import ALL
from headstart.strategies.plan import Length
from headstart.training.loop import StageLoop

Make = Callable[..., StageLoop]


def parameters(loop: StageLoop) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in loop.trained.items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


STAGES: dict[str, dict[str, Any]] = {
    "end": {"length": Length(7, 1, "end"), "keep_best": True, "eval_every": 2},
    "learned": {"length": Length(40, 4, "learned"), "optimizer": {"lr": 3e-3, "head_lr": 3e-2}},
    "plateau": {"length": Length(20, 1, "plateau"), "patience": 3, "eval_every": 2,
        "head_only": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("case", ["end", "plateau", pytest.param("learned", marks=ALL)])
def test_it_resumes_from_any_step_to_the_same_bits(
    make_loop: Make, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW_ROWS", 20)  # four steps, which end anywhere in an epoch
    settings = {**STAGES[case], "dropout": 0.3, "micro_batch_size": 3}
    saved: list[tuple[str, dict[str, torch.Tensor]]] = []

    def save(loop: StageLoop, _stop: bool) -> None:
        tensors = {name: t.detach().clone() for name, t in loop.tensors().items()}
        saved.append((json.dumps(loop.snapshot()), tensors))

    whole = make_loop(pause=lambda: True, checkpoint=save, **settings)
    expected = copy.deepcopy(whole.run())
    assert len(saved) == expected.step >= 6
    if case != "end":
        assert expected.ended == case
    for number, (state, tensors) in enumerate(saved, 1):
        if 4 < number < len(saved) - 2 and number % 5:
            continue  # the windows and epochs of a long stage repeat
        resumed = make_loop(**settings)
        resumed.restore(json.loads(state), tensors)
        assert resumed.state.step == number
        found = resumed.run()
        assert same(parameters(resumed), parameters(whole))
        assert same(resumed.tensors(), whole.tensors())
        assert found.curve == expected.curve
        for name in ("step", "tokens", "best_step", "fall_from", "ended", "since_point"):
            assert getattr(found, name) == getattr(expected, name), name
        assert resumed.snapshot()["rule"] == whole.snapshot()["rule"]
        asked = resumed.loader.asked  # type: ignore[attr-defined]
        done = whole.loader.asked  # type: ignore[attr-defined]
        assert asked == done[len(done) - len(asked) :]


def test_a_checkpoint_is_written_only_when_it_is_time(make_loop: Make) -> None:
    steps: list[int] = []
    loop = make_loop(checkpoint=lambda each, _stop: steps.append(each.state.step))
    loop.pause = lambda: loop.state.step in (2, 5)
    loop.run()
    assert steps == [2, 5]
