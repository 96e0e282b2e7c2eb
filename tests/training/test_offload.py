"""AdamW in the processor's memory gives torch's own updates, whatever scales or saves around it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import headstart.training.loop as module
from headstart.training.loop import StageLoop
from headstart.training.machine.offload import OffloadedAdamW
from headstart.training.optim import OptimizerSettings, build_optimizer

BETAS, EPS = (0.8, 0.9), 1e-4


def parameters() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape)) for shape in ((7, 5), (5,), (3, 2))]


def groups(chosen: list[nn.Parameter]) -> list[dict[str, Any]]:
    return [
        {"params": chosen[:1], "lr": 1e-2, "weight_decay": 0.25},
        {"params": chosen[1:], "lr": 1e-3, "weight_decay": 0.0},
    ]


def pair() -> tuple[OffloadedAdamW, torch.optim.AdamW]:
    ours = OffloadedAdamW(groups(parameters()), BETAS, EPS)
    return ours, torch.optim.AdamW(groups(parameters()), betas=BETAS, eps=EPS, fused=True)


def give_gradients(optimizer: torch.optim.Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    for parameter in owned(optimizer):
        parameter.grad = torch.randn_like(parameter)


def owned(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def check(ours: torch.optim.Optimizer, other: torch.optim.Optimizer) -> None:
    for one, two in zip(owned(ours), owned(other), strict=True):
        assert torch.equal(one, two)
        assert ours.state[one].keys() == other.state[two].keys()
        for key, value in ours.state[one].items():
            assert torch.equal(value, other.state[two][key]), key


def test_updates_are_those_of_torch() -> None:
    both = pair()
    for step in range(5):
        for optimizer in both:
            give_gradients(optimizer, step)
            optimizer.param_groups[0]["lr"] = 1e-2 / (step + 1)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        check(*both)
    assert owned(both[0])[0].grad is None


def test_what_has_no_gradient_stays_as_it_is() -> None:
    both = pair()
    for optimizer in both:
        give_gradients(optimizer, 0)
        owned(optimizer)[1].grad = None
        optimizer.step()
    check(*both)


@pytest.mark.parametrize("infinite", [None, 0.0, 1.0])
def test_gradients_are_divided_and_bad_ones_skipped_as_by_torch(infinite: float | None) -> None:
    both = pair()
    for step in range(3):
        for optimizer in both:
            give_gradients(optimizer, step)
            attributes: Any = optimizer
            attributes.grad_scale = torch.tensor(8.0)
            if infinite is not None:
                attributes.found_inf = torch.tensor(infinite)
            optimizer.step()
        check(*both)
    assert torch.equal(owned(both[0])[0], parameters()[0]) == (infinite == 1)


def test_the_loss_scale_of_fp16_can_work_with_it() -> None:
    both = pair()
    ends = []
    for optimizer in both:
        scaler = torch.amp.GradScaler("cpu", init_scale=16.0, growth_interval=2)
        for step in range(4):
            give_gradients(optimizer, step)
            for parameter in owned(optimizer):
                assert parameter.grad is not None
                parameter.grad.mul_(torch.inf if step == 1 else float(scaler.get_scale()))
            scaler.scale(torch.zeros(()))
            scaler.step(optimizer)
            scaler.update()
        ends.append(scaler.state_dict())
    check(*both)
    assert ends[0] == ends[1]


def test_saved_moments_go_on_elsewhere() -> None:
    ours, other = pair()
    for optimizer in (ours, other):
        give_gradients(optimizer, 0)
        optimizer.step()
    fresh, _ = pair()
    give_gradients(fresh, 7)
    fresh.step()
    with torch.no_grad():
        for mine, saved in zip(owned(fresh), owned(other), strict=True):
            mine.copy_(saved)
    fresh.load_state_dict(copy.deepcopy(other.state_dict()))
    for optimizer in (fresh, other):
        give_gradients(optimizer, 1)
        optimizer.step()
    check(fresh, other)


def test_a_closure_is_refused() -> None:
    with pytest.raises(ValueError, match="closure"):
        pair()[0].step(lambda: 0.0)  # type: ignore[arg-type]


def test_only_a_model_on_another_device_needs_it() -> None:
    settings = OptimizerSettings(1e-3, 1e-2, offload=True)
    for device, kind in (("cpu", torch.optim.AdamW), ("meta", OffloadedAdamW)):
        head = {"w": nn.Parameter(torch.zeros(2, 2, device=device))}
        optimizer = build_optimizer(head, {}, settings)
        assert type(optimizer) is kind
        assert optimizer.param_groups[0]["peak"] == 1e-2


def test_a_stage_trains_clips_saves_and_goes_on_with_it(
    make_loop: Callable[..., StageLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"dropout": 0.3, "optimizer": {"offload": True, "clip": 0.1}}
    expected = make_loop(**settings)
    expected.run()
    assert type(expected.optimizer) is torch.optim.AdamW

    def build(*given: Any) -> OffloadedAdamW:
        return OffloadedAdamW(build_optimizer(*given).param_groups, BETAS, EPS)

    monkeypatch.setattr(module, "build_optimizer", build)
    saved: list[tuple[str, dict[str, torch.Tensor]]] = []

    def save(loop: StageLoop, _stop: bool) -> None:
        tensors = {name: t.detach().clone() for name, t in loop.tensors().items()}
        saved.append((json.dumps(loop.snapshot()), tensors))

    whole = make_loop(pause=lambda: True, checkpoint=save, **settings)
    assert type(whole.optimizer) is OffloadedAdamW
    whole.run()
    loops = [whole]
    for state, tensors in saved[1::2]:
        loops.append(make_loop(**settings))
        loops[-1].restore(json.loads(state), tensors)
        loops[-1].run()
    for loop in loops:
        found = loop.tensors()
        assert found.keys() == expected.tensors().keys()
        for name, tensor in expected.tensors().items():
            assert torch.equal(found[name], tensor), name
