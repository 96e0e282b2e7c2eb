"""Attention with dropout on its probabilities, for training on a processor.

Torch has a fused kernel without dropout only, and its backward pass is slow; with dropout it falls
back to single operations on whole tensors that do not fit any cache. Here they run on a few rows at
a time, whose scores stay in the cache, and the backward pass is written out:

    S = Q Kᵀ · scale + bias,   P = softmax(S),   O = (M ∘ P) V / kept
    dV = (M ∘ P)ᵀ dO / kept,   dP = M ∘ (dO Vᵀ) / kept,   dS = P ∘ (dP − rowsum(dP ∘ P))
    dQ = dS K · scale,         dK = dSᵀ Q · scale

A probability is never negative, so its sign bit is free to remember what the mask M dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from headstart.kernels.masks import Randomness, integers_like, rounded_rate

SCORES_AT_ONCE = 2**20
"""Scores of a block: with 2 bytes each they fit the second-level cache of two cores."""

aten = torch.ops.aten


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: torch.Tensor | None,
    rate: float,
    scale: float,
    random: Randomness,
) -> torch.Tensor:
    """Compute scaled dot-product attention with dropout.

    Args:
        query: (b, heads, L, D), of the same type as key and value: fp32, bf16 or fp16, on the CPU.
        key: (b, heads, S, D).
        value: (b, heads, S, E).
        bias: Added to the scores; broadcasts to (b, heads, L, S). It gets no gradient.
        rate: Probability that a probability is dropped, in [0, 1); rounded as ``masks`` says.
        scale: Factor of the scores.
        random: Where the mask comes from.

    Returns:
        (b, heads, L, E).
    """
    return _Attention.apply(query, key, value, bias, rate, scale, random)  # type: ignore[no-untyped-call,no-any-return]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        bias: torch.Tensor | None,
        rate: float,
        scale: float,
        random: Randomness,
    ) -> torch.Tensor:
        (b, heads, n, _), m = query.shape, key.shape[2]
        dropped, kept_scale = rounded_rate(rate)
        if bias is not None:
            bias = bias.expand(b, *bias.shape[1:])
        output = _by_token(query, n, value.shape[3])
        stored = query.new_empty(b, heads, n, m)
        whole = query.new_empty(min(b, _rows_at_once(heads, n, m)) * heads, n, m)
        for rows in _blocks(b, heads, n, m):
            q, k, v = _flat(query[rows] * scale), _flat(key[rows]), _flat(value[rows])
            scores, p = whole[: len(q)], _flat(stored[rows])
            torch.bmm(q, k.transpose(1, 2), out=scores)
            if bias is not None:
                scores.view(-1, heads, n, m).add_(bias[rows])
            aten._softmax.out(scores, -1, False, out=p)
            if dropped:
                _mark_dropped(p, random.signs(p.shape, dropped))
                torch.clamp_min(p, 0, out=scores)
            mixed = torch.bmm(scores if dropped else p, v)
            torch.mul(mixed.view(-1, heads, n, v.shape[2]), kept_scale, out=output[rows])
        ctx.save_for_backward(query, key, value, stored)
        ctx.scale, ctx.kept_scale = scale, kept_scale
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, stored = ctx.saved_tensors
        b, heads, n, m = stored.shape
        kind = integers_like(stored)
        d_query = _by_token(query, n, query.shape[3])
        d_key, d_value = (_by_token(key, m, t.shape[3]) for t in (key, value))
        size = (min(b, _rows_at_once(heads, n, m)) * heads, n, m)
        whole, other, keeps = (
            query.new_empty(size, dtype=t) for t in (query.dtype, query.dtype, kind)
        )
        for rows in _blocks(b, heads, n, m):
            q, k, v = _flat(query[rows] * ctx.scale), _flat(key[rows]), _flat(value[rows])
            g, signed = _flat(grad[rows] * ctx.kept_scale), _flat(stored[rows])
            p, d, keep = whole[: len(q)], other[: len(q)], keeps[: len(q)]
            bits = signed.view(kind)
            torch.bitwise_right_shift(bits, 8 * stored.element_size() - 1, out=keep).bitwise_not_()
            torch.bitwise_and(bits, keep, out=p.view(kind))
            d_value[rows] = torch.bmm(p.transpose(1, 2), g).view_as(d_value[rows])
            torch.bmm(g, v.transpose(1, 2), out=d)
            d.view(kind).bitwise_and_(keep)
            torch.bitwise_and(bits, torch.iinfo(kind).max, out=p.view(kind))
            aten._softmax_backward_data.out(d, p, -1, p.dtype, grad_input=d)
            torch.mul(torch.bmm(d, k).view_as(d_query[rows]), ctx.scale, out=d_query[rows])
            d_key[rows] = torch.bmm(d.transpose(1, 2), q).view_as(d_key[rows])
        return d_query, d_key, d_value, None, None, None, None


def _rows_at_once(heads: int, n: int, m: int) -> int:
    return max(1, SCORES_AT_ONCE // max(1, heads * n * m))


def _blocks(b: int, heads: int, n: int, m: int) -> Iterator[slice]:
    size = _rows_at_once(heads, n, m)
    return (slice(start, min(b, start + size)) for start in range(0, b, size))


def _flat(x: torch.Tensor) -> torch.Tensor:
    """Return (b, heads, L, D) as (b * heads, L, D); a view if it is contiguous."""
    return x.reshape(-1, *x.shape[2:])


def _by_token(like: torch.Tensor, n: int, width: int) -> torch.Tensor:
    """Return room for (b, heads, n, width) in the order in which a linear layer reads it."""
    b, heads = like.shape[:2]
    return like.new_empty(b, n, heads, width).transpose(1, 2)


def _mark_dropped(p: torch.Tensor, signs: torch.Tensor) -> None:
    """Set the sign bit of probabilities where the int16 numbers are negative."""
    signs.bitwise_and_(-(2**15))
    if p.element_size() == 2:
        p.view(torch.int16).bitwise_or_(signs)
    else:
        p.view(torch.int32).bitwise_or_(signs.to(torch.int32).bitwise_left_shift_(16))
