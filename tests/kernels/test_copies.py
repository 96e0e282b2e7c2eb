"""Copies of maps for products: made anew when they have to be, their low-rank change in them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.kernels.copies import Copies

NO_CHANGE = (None, None)


def map_of(value: float, trains: bool) -> nn.Linear:
    """A map from 2 numbers to 3, of which all parameters have one value."""
    found = nn.Linear(2, 3).requires_grad_(trains)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.fill_(value)
    return found


def test_copies_are_made_anew_in_each_step_if_they_train() -> None:
    trained, frozen = map_of(1.0, trains=True), map_of(0.0, trains=False)
    copies, kind = Copies(), torch.bfloat16
    wanted = ((trained, frozen), NO_CHANGE), ((frozen,), NO_CHANGE)
    both, alone = copies.get(*wanted, kind=kind, step="first step")
    assert both.weight.dtype == both.bias.dtype == alone.weight.dtype == kind
    assert both.weight.tolist() == 3 * [[1.0, 1.0]] + 3 * [[0.0, 0.0]]
    assert both.bias.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    for parameter in trained.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.AdamW(trained.parameters(), lr=0.5, fused=True).step()
    with torch.no_grad():
        alone.weight.fill_(7)  # a copy of what is frozen is not made again
    both, still = copies.get(*wanted, kind=kind, step="second step")
    assert float(both.weight[0, 0]) == float(both.bias[2]) == pytest.approx(0.5, abs=0.01)
    assert still.weight is alone.weight
    assert still.weight.unique().tolist() == [7.0]
    assert not both.weight.requires_grad


def test_copies_of_what_is_unfrozen_follow_it_from_then_on() -> None:
    moves, kind = map_of(0.0, trains=False), torch.bfloat16
    copies, wanted = Copies(), ((moves,), NO_CHANGE)
    copies.get(wanted, kind=kind, step=1)
    moves.requires_grad_(True)
    for step in (2, 3):
        nn.init.constant_(moves.weight, step)
        (found,) = copies.get(wanted, kind=kind, step=step)
        assert found.weight.unique().tolist() == [step]
    moves.requires_grad_(False)  # it has moved since the last copy
    nn.init.constant_(moves.weight, 4)
    assert copies.get(wanted, kind=kind, step=4)[0].weight.unique().tolist() == [4]


def test_a_change_is_put_into_a_frozen_copy_in_each_step_and_stands_beside_it() -> None:
    frozen, copies, kind = (
        (map_of(1.0, trains=False), map_of(2.0, trains=False)),
        Copies(),
        torch.bfloat16,
    )
    down, up = torch.tensor([[2.0, 4.0]]), torch.tensor([[0.0], [0.0], [0.0], [0.5], [0.0], [1.0]])
    (found,) = copies.get((frozen, (down, up)), kind=kind, step=1)
    assert found.rank == 1
    assert found.weight.tolist() == [
        *3 * [[1.0, 1.0, 0.0]], [3.0, 4.0, 0.5], [2.0, 2.0, 0.0], [4.0, 6.0, 1.0], [2.0, 4.0, 0.0],
    ]  # fmt: skip
    assert found.bias.tolist() == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 0.0]
    (found,) = copies.get((frozen, (2 * down, up)), kind=kind, step=2)
    assert found.weight[3].tolist() == [4.0, 6.0, 0.5]
    assert found.weight[6].tolist() == [4.0, 8.0, 0.0]
    (found,) = copies.get((frozen, NO_CHANGE), kind=kind, step=3)
    assert found.weight.tolist() == 3 * [[1.0, 1.0]] + 3 * [[2.0, 2.0]]


def test_a_weight_and_its_change_are_rounded_together_once_even_under_autocast() -> None:
    generator = torch.Generator().manual_seed(1)
    frozen, kind = nn.Linear(40, 30).requires_grad_(False), torch.bfloat16
    down, up = torch.randn(3, 40, generator=generator), torch.randn(30, 3, generator=generator)
    with torch.autocast("cpu", kind):
        (found,) = Copies().get(((frozen,), (down, up)), kind=kind, step=1)
    exact = frozen.weight.double() + up.double() @ down.double()
    error = (found.weight[:30, :40].double() - exact).abs()
    assert bool((error <= exact.abs() * 2**-8 + 1e-6).all())  # half of the last bit
