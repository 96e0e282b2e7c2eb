"""RecAdam's update against the authors' (Sanyuan-Chen/RecAdam, RecAdam.py), worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import tiny
from headstart.models.backbone import SplitModel
from headstart.techniques._base import Updated
from headstart.techniques.recadam import RecAdam, annealed
from headstart.training.optim import OptimizerSettings, build_optimizer, set_rates
from techniques.made import setting

SETTINGS = OptimizerSettings(lr=1e-4, head_lr=1e-4, weight_decay=0.5, betas=(0.8, 0.9), eps=1e-3)
GRADIENTS = (0.3, -0.1, 0.2, 0.0)


def by_hand(w: float, decay: float, knobs: RecAdam) -> list[float]:
    """Carry out the authors' loop for one number, step by step."""
    start, m, v, found = w, 0.0, 0.0, []
    for t, g in enumerate(GRADIENTS, 1):
        lr = SETTINGS.lr * t  # any schedule
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g * g
        size = lr * math.sqrt(1 - 0.9**t) / (1 - 0.8**t)
        task = 1 / (1 + math.exp(-knobs.k * (t - knobs.t0)))
        w -= size * task * m / (math.sqrt(v) + 1e-3)
        w -= lr * (1 - task) * knobs.coefficient * (w - start)
        w -= lr * decay * w
        found.append(w)
    return found


def run(knobs: RecAdam) -> tuple[SplitModel, list[dict[str, torch.Tensor]]]:
    split = SplitModel(tiny.build("bert"))
    made = setting(split)
    knobs.begin(made)
    optimizer = build_optimizer(split.head, split.backbone, SETTINGS)
    knobs.optimizer(optimizer, {n: Updated(p) for n, p in made.trained.items()})
    states = []
    for step, gradient in enumerate(GRADIENTS):
        knobs.before_step(step)
        for parameter in split.model.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
        set_rates(optimizer, step + 1.0)
        optimizer.step()
        states.append({n: p.detach().clone() for n, p in split.model.named_parameters()})
    knobs.close()
    return split, states


def test_the_backbones_update_is_the_authors() -> None:
    before = {n: p.detach().clone() for n, p in tiny.build("bert").named_parameters()}
    _, states = run(RecAdam(coefficient=2000.0, k=0.7, t0=2.0))
    for name, decay in (("bert.encoder.layer.0.output.dense.weight", 0.5),
                        ("bert.encoder.layer.0.output.LayerNorm.bias", 0.0)):  # fmt: skip
        first = before[name].flatten()[0].item()
        expected = by_hand(first, decay, RecAdam(coefficient=2000.0, k=0.7, t0=2.0))
        found = [state[name].flatten()[0].item() for state in states]
        assert found == pytest.approx(expected, abs=2e-8)


def test_numbers_of_two_steps() -> None:
    """0 begins, gradients 0.3 and -0.1, without decay: worked out with a calculator."""
    # t=1: m 0.06, v 0.009, root 0.0948683, size 1e-4 * 0.3162278 / 0.2 = 1.581139e-4,
    # task 1 / (1 + e^0.7) = 0.3318122: w = -1.581139e-4 * 0.3318122 * 0.06 / 0.0958683
    #                                     = -3.283492e-5, pull 1e-4 * 0.6681878 * 2000 = 0.1336376
    assert by_hand(0.0, 0.0, RecAdam(2000.0, 0.7, 2.0))[0] == pytest.approx(
        -3.283492e-5 * (1 - 0.1336376), rel=1e-5
    )


def test_the_head_has_plain_adamw() -> None:
    split, states = run(RecAdam())
    other = SplitModel(tiny.build("bert"))
    optimizer = build_optimizer(other.head, other.backbone, SETTINGS)
    for step, gradient in enumerate(GRADIENTS):
        for parameter in other.model.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
        set_rates(optimizer, step + 1.0)
        optimizer.step()
    for name in split.head:
        assert torch.equal(states[-1][name], dict(other.model.named_parameters())[name])


def test_late_in_the_stage_it_is_adamw_and_early_it_holds_fast() -> None:
    before = {n: p.detach().clone() for n, p in tiny.build("bert").named_parameters()}
    _, held = run(RecAdam(coefficient=1e9, k=1.0, t0=1000.0))
    name = "bert.encoder.layer.0.attention.self.query.bias"
    torch.testing.assert_close(held[-1][name], before[name], atol=1e-9, rtol=0)
    _, free = run(RecAdam(coefficient=1e-9, k=100.0, t0=0.0))
    plain = torch.optim.AdamW([start := nn.Parameter(before[name].clone())], lr=1.0,
                              betas=(0.8, 0.9), eps=1e-3, weight_decay=0.0)  # fmt: skip
    for step, gradient in enumerate(GRADIENTS):
        start.grad = torch.full_like(start, gradient)
        # The authors add eps before the bias of the second moment is corrected.
        plain.param_groups[0].update(
            lr=1e-4 * (step + 1), eps=1e-3 / math.sqrt(1 - 0.9 ** (step + 1))
        )
        plain.step()
    torch.testing.assert_close(free[-1][name], start.detach(), atol=1e-8, rtol=0)


def test_settings_of_the_optimizer_are_its_own_again() -> None:
    split = SplitModel(tiny.build("bert"))
    knobs = RecAdam()
    made = setting(split)
    knobs.begin(made)
    optimizer = build_optimizer(split.head, split.backbone, SETTINGS)
    before = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    knobs.optimizer(optimizer, {n: Updated(p) for n, p in made.trained.items()})
    knobs.before_step(0)
    for parameter in split.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert before == [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]


@pytest.mark.parametrize(("t0", "steps", "middle"), [(0.25, 200, 50), (250.0, 200, 250)])
def test_t0_below_1_is_a_share_of_the_stage(t0: float, steps: int, middle: float) -> None:
    knobs = RecAdam(t0=t0)
    knobs.begin(replace(setting(SplitModel(tiny.build("bert"))), steps=steps))
    assert knobs._middle == middle
    assert annealed(int(middle), 0.1, middle) == 0.5


def test_the_weight_of_the_task() -> None:
    # 1 / (1 + e^2), and no overflow far before t0
    assert annealed(30, 0.1, 50.0) == pytest.approx(0.11920292)
    assert annealed(1, 10.0, 1e6) == pytest.approx(0.0)
