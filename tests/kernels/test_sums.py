"""Sums are made in fp32 where products are in bf16: what bf16 would lose is still there."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from headstart.kernels.attention import Bias, attend
from headstart.kernels.bert import AddNorm
from headstart.kernels.linear import PIECE, Linear, of_weight
from headstart.kernels.masks import Randomness

LOW = torch.bfloat16
PIECES = 7


def far_apart() -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens of which the first piece sums to 512 and each other one to 1: bf16 drops these."""
    tokens = torch.zeros(PIECES * PIECE, 1, dtype=LOW)
    tokens[:PIECE] = 1
    tokens[PIECE::PIECE] = 1
    assert torch.tensor(512, dtype=LOW) + 1 == 512
    return tokens, torch.ones(len(tokens), 2, dtype=LOW)


def test_the_gradients_of_a_low_rank_change_are_summed_over_tokens_in_fp32() -> None:
    narrow, x = far_apart()
    change = Linear(torch.ones(3, 3, dtype=LOW), torch.zeros(3, dtype=LOW), 1)
    # d_up sums x D' over the tokens, and d_down what reaches D.
    _, _, d_up = change.backward(x, None, narrow, (False, False, True))
    assert d_up is not None
    assert d_up.dtype == torch.float32
    assert d_up.tolist() == [[512.0 + PIECES - 1]] * 2
    ones = torch.zeros(3, 3, dtype=LOW)
    ones[0, 2] = 1  # U: the change reads the first number's gradient
    grad = torch.cat([narrow, narrow], 1)
    _, d_down, _ = Linear(ones, change.bias, 1).backward(grad, x, None, (False, True, False))
    assert d_down is not None
    assert d_down.dtype == torch.float32
    assert d_down.tolist() == [[512.0 + PIECES - 1] * 2]


def test_the_gradients_of_weights_are_rounded_once_and_kept_in_fp32() -> None:
    generator = torch.Generator().manual_seed(0)
    grad, x = (torch.randn(3000, n, generator=generator).to(LOW) for n in (4, 5))
    weight, bias = of_weight(grad, x, (True, True))
    assert weight is not None
    assert bias is not None
    assert weight.dtype == bias.dtype == torch.float32
    exact = grad.double().t() @ x.double(), grad.double().sum(0)
    for found, wanted in zip((weight, bias), exact, strict=True):
        torch.testing.assert_close(found.double(), wanted, atol=0.3, rtol=2**-8)


@pytest.mark.parametrize("size", [1.0, 30.0])
def test_a_bias_is_added_to_scores_in_fp32(size: float) -> None:
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, 3, 9, 8, generator=generator).to(LOW) for _ in range(3))
    values = size * torch.randn(2, 1, 9, 9, generator=generator)
    _, stored = attend(q, k, v, Bias(values), 0.0, Randomness(1))
    scores = torch.matmul(q, k.transpose(2, 3)).float() + values
    assert torch.equal(stored, torch.softmax(scores, -1).to(LOW))


def test_the_residual_stream_and_its_norm_stay_fp32() -> None:
    """Beside 100, bf16 tells only halves apart."""
    generator = torch.Generator().manual_seed(2)
    x = 100 + 0.1 * torch.randn(6, 8, generator=generator)
    h, weight = (torch.randn(n, 4, generator=generator).to(LOW) for n in (6, 8))
    bias, gain, offset = torch.zeros(8), torch.ones(8), torch.zeros(8)
    found = AddNorm.apply(  # type: ignore[no-untyped-call]
        h, x, weight, bias, None, None, gain, offset,
        Linear(weight, bias.to(LOW)), 1e-12, 0.0, Randomness(1),
    )  # fmt: skip
    output = torch.addmm(bias.to(LOW), h, weight.t()).float()
    wanted = functional.layer_norm(x + output, (8,), gain, offset, 1e-12)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
