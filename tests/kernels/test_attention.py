"""Attention and dropout of our own against torch's, with the same mask."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from headstart.kernels import attention as module
from headstart.kernels.attention import Bias, attention
from headstart.kernels.dropout import dropout
from headstart.kernels.masks import LEVELS, Randomness, rounded_rate

TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 3e-2}


def tensors(kind: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(5, 3, n, 8) for n in (7, 9, 9)]
    return [torch.randn(s, generator=generator).to(kind).requires_grad_() for s in shapes]


@pytest.mark.parametrize("kind", TOLERANCE)
@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("block", "blocks"), [(1, (1,) * 5), (378, (2, 2, 1)), (2**20, (5,))])
def test_output_and_gradients_are_those_of_the_formula(
    kind: torch.dtype,
    rate: float,
    biased: bool,
    block: int,
    blocks: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SCORES_AT_ONCE", block)
    inputs = tensors(kind)
    bias = torch.randn(5, 1, 7, 9, dtype=kind) if biased else None
    grad = torch.randn(5, 3, 7, 8, dtype=kind)
    added = None if bias is None else Bias(bias)
    output = attention(*inputs, added, rate, 0.3, Randomness(1))
    found = torch.autograd.grad(output, inputs, grad)
    dropped, scale = rounded_rate(rate)
    q, k, v = (t.float() for t in inputs)
    scores = q @ k.transpose(2, 3) * 0.3 + (0 if bias is None else bias.float())
    p = torch.softmax(scores, dim=-1)
    if dropped:
        random = Randomness(1)
        rows = [random.keep_mask((count, 3, 7, 9), dropped) for count in blocks]
        p = p * -torch.cat(rows).float() * scale
    expected = p @ v
    wanted = torch.autograd.grad(expected, inputs, grad.float())
    for ours, theirs in zip((output, *found), (expected, *wanted), strict=True):
        assert ours.dtype == kind
        torch.testing.assert_close(ours.float(), theirs.float(), atol=TOLERANCE[kind], rtol=0.02)


def test_scores_are_fp32_whatever_the_default_type_is() -> None:
    q, k, v = (t.detach() for t in tensors(torch.bfloat16))
    bias = Bias(torch.randn(5, 1, 7, 9))
    usual = attention(q, k, v, bias, 0.3, 0.3, Randomness(1))
    torch.set_default_dtype(torch.bfloat16)
    try:
        found = attention(q, k, v, bias, 0.3, 0.3, Randomness(1))
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, usual)


@pytest.mark.parametrize("kind", TOLERANCE)
def test_dropout_keeps_scales_and_lets_the_same_gradient_through(kind: torch.dtype) -> None:
    x = torch.randn(200, 300).to(kind).requires_grad_()
    y = dropout(x, 0.25, Randomness(2))
    mask = Randomness(2).keep_mask((200, 300), LEVELS // 4) != 0
    torch.testing.assert_close(y.detach(), x.detach() * mask / 0.75, atol=0.0, rtol=0.01)
    (grad,) = torch.autograd.grad(y.float().sum(), x)
    torch.testing.assert_close(grad, mask.to(kind) / 0.75, atol=0.0, rtol=0.01)


def test_the_expectation_over_masks_is_attention_without_dropout() -> None:
    q, k, v = (t.detach() for t in tensors(torch.float32))
    random = Randomness(4)
    mean = torch.stack([attention(q, k, v, None, 0.5, 0.3, random) for _ in range(4000)]).mean(0)
    expected = functional.scaled_dot_product_attention(q, k, v, scale=0.3)
    assert float((mean - expected).abs().max()) < 0.06
