"""Who is updated at which rate, and how the rate goes along a stage."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import tiny
from headstart.models.backbone import SplitModel
from headstart.training.optim import OptimizerSettings, build_optimizer, rate_factor, set_rates

SETTINGS = OptimizerSettings(lr=1e-3, head_lr=5e-3, weight_decay=0.25, betas=(0.8, 0.9), eps=1e-4)


def test_head_and_tuner_have_a_rate_each_and_vectors_no_decay() -> None:
    split = SplitModel(tiny.build("bert"))
    optimizer = build_optimizer(split.head, split.backbone, SETTINGS)
    found = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    assert len(found) == len(split.head) + len(split.backbone)
    for parameters, rate in ((split.head, 5e-3), (split.backbone, 1e-3)):
        for name, parameter in parameters.items():
            group = found[id(parameter)]
            assert group["lr"] == group["peak"] == rate
            assert group["weight_decay"] == (0.25 if parameter.ndim > 1 else 0)
            assert (group["weight_decay"] == 0) == (name.endswith("bias") or "Norm" in name)
            assert (group["betas"], group["eps"]) == ((0.8, 0.9), 1e-4)
    assert optimizer.defaults["fused"]


def test_a_head_alone_has_an_optimizer_too() -> None:
    head = {"w": nn.Parameter(torch.zeros(2, 2))}
    (group,) = build_optimizer(head, {}, SETTINGS).param_groups
    assert group["lr"] == 5e-3


def test_every_optimizer_is_fresh() -> None:
    head = {"w": nn.Parameter(torch.ones(2, 2))}
    first = build_optimizer(head, {}, SETTINGS)
    set_rates(first, 0.5)
    head["w"].grad = torch.ones(2, 2)
    first.step()
    assert first.state
    second = build_optimizer(head, {}, SETTINGS)
    assert not second.state
    assert second.param_groups[0]["lr"] == 5e-3


def test_rates_are_set_from_the_peak() -> None:
    split = SplitModel(tiny.build("bert"))
    optimizer = build_optimizer(split.head, split.backbone, SETTINGS)
    for factor in (0.5, 0.1):
        set_rates(optimizer, factor)
        assert {g["lr"] / g["peak"] for g in optimizer.param_groups} == {factor}
        assert {g["peak"] for g in optimizer.param_groups} == {1e-3, 5e-3}


def test_the_rate_rises_then_falls_to_zero() -> None:
    factors = [rate_factor(step, 100, 10) for step in range(101)]
    assert factors[0] == pytest.approx(1 / 11)
    assert factors[4] == pytest.approx(5 / 11)
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.5)
    assert factors[99] == pytest.approx(1 / 90)
    assert factors[100] == 0
    assert factors[:11] == sorted(factors[:11])
    steps = {round(a - b, 9) for a, b in itertools.pairwise(factors[10:])}
    assert steps == {round(1 / 90, 9)}


def test_without_warm_up_the_first_step_is_the_peak() -> None:
    assert [rate_factor(step, 4, 0) for step in range(5)] == [1, 0.75, 0.5, 0.25, 0]
    assert rate_factor(0, 1, 0) == 1
    assert rate_factor(9, 4, 0) == 0


def test_an_open_end_holds_the_peak_until_the_fall() -> None:
    factors = [rate_factor(step, 60, 5, hold_until=50) for step in range(61)]
    assert factors[0] == pytest.approx(1 / 6)
    assert set(factors[5:51]) == {1}
    assert factors[55] == pytest.approx(0.5)
    assert factors[59] == pytest.approx(0.1)
    assert factors[60] == 0


def test_the_fall_can_begin_while_the_rate_still_rises() -> None:
    factors = [rate_factor(step, 48, 99, hold_until=40) for step in range(49)]
    assert factors[39] == pytest.approx(0.4)
    assert factors[44:] == sorted(factors[44:], reverse=True)
    assert max(factors) <= 0.45
    assert factors[48] == 0
