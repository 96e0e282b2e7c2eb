"""Where the kernels take over, and where they leave it to torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from headstart.kernels import mode
from headstart.kernels.mode import FastKernels
from headstart.kernels.rows import LEAST_ROWS, RowGradients

attend = functional.scaled_dot_product_attention


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the kernels that were called."""
    names: list[str] = []

    def heard(name: str) -> Any:
        original = getattr(mode, name)

        def call(*args: Any) -> Any:
            names.append(name)
            return original(*args)

        return call

    for name in ("dropout", "attention"):
        monkeypatch.setattr(mode, name, heard(name))
    return names


def qkv(**kind: Any) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 3, 5, 4, **kind).requires_grad_() for _ in range(3)]


def test_dropout_and_attention_of_a_training_model_are_taken_over(used: list[str]) -> None:
    layer = nn.Dropout(0.5)
    with FastKernels():
        layer(torch.ones(4))
        torch.dropout(torch.ones(4), 0.5, True)
        attend(*qkv(), dropout_p=0.1)
        attend(*qkv())
    assert used == ["dropout", "dropout", "attention", "attention"]


def test_what_does_not_fit_is_left_to_torch(used: list[str]) -> None:
    q, k, v = qkv()
    x = torch.ones(4, dtype=torch.float64)
    with FastKernels():
        nn.Dropout(0.5).eval()(torch.ones(4))
        functional.dropout(torch.ones(4), 0.0)
        functional.dropout(torch.ones(4), 1.0)
        functional.dropout(torch.ones(4), 0.5, inplace=True)
        functional.dropout(x, 0.5)
        attend(q, k, v, is_causal=True)
        attend(q, k, v, attn_mask=torch.zeros(5, 5, requires_grad=True))
        attend(q[0], k[0], v[0])
        with torch.no_grad():
            attend(q, k, v)
            functional.dropout(torch.ones(4), 0.5)
    assert used == []
    attend(*qkv(), dropout_p=0.1)
    assert used == []


@pytest.mark.parametrize("shape", [(2, 1, 5, 5), (2, 1, 1, 5), (1, 1, 5, 5), (5, 5)])
@pytest.mark.parametrize("boolean", [False, True])
def test_a_mask_means_what_it_means_to_torch(shape: tuple[int, ...], boolean: bool) -> None:
    mask = torch.randn(shape)
    if boolean:
        mask = mask > -0.5
        mask[..., 0] = True
    expected = attend(*qkv(), attn_mask=mask)
    with FastKernels():
        found = attend(*qkv(), attn_mask=mask)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_row_that_may_look_at_nothing_stays_a_number() -> None:
    mask = torch.zeros(2, 1, 5, 5, dtype=torch.bool)
    q, k, v = qkv()
    with FastKernels():
        output = attend(q, k, v, attn_mask=mask)
    output.sum().backward()
    assert output.isfinite().all()
    assert q.grad is not None
    assert q.grad.isfinite().all()


def test_under_autocast_attention_has_the_chosen_precision() -> None:
    with FastKernels(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert attend(*qkv()).dtype == torch.bfloat16


def test_a_seed_of_its_own_decides_the_masks_and_torchs_does_not() -> None:
    def draw(seed: int, torchs: int) -> torch.Tensor:
        torch.manual_seed(torchs)
        with FastKernels(seed):
            return functional.dropout(torch.ones(100), 0.5)

    assert torch.equal(draw(1, 1), draw(1, 2))
    assert not torch.equal(draw(1, 1), draw(2, 1))


def test_torchs_seed_decides_the_masks() -> None:
    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        with FastKernels():
            return torch.cat([functional.dropout(torch.ones(100), 0.5) for _ in range(2)])

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert not torch.equal(draw(1)[:100], draw(1)[100:])


@pytest.mark.parametrize("padding", [None, 0])
def test_embedding_gradients_are_those_of_torch(padding: int | None) -> None:
    layer = nn.Embedding(LEAST_ROWS, 6, padding_idx=padding)
    rows = RowGradients()
    for seed in range(3):
        ids = torch.randint(0, 50, (4, 9), generator=torch.Generator().manual_seed(seed))
        for part in ids.split(2):
            with FastKernels():
                (layer(part) ** 3).sum().backward()
        assert layer.weight.grad is not None
        assert layer.weight.grad.layout == torch.sparse_coo
        rows.make_dense([layer.weight])
        found = layer.weight.grad.clone()
        rows.clear()
        layer.weight.grad = None
        (layer(ids) ** 3).sum().backward()
        torch.testing.assert_close(found, layer.weight.grad)
        layer.weight.grad = None
