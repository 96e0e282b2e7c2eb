"""Attention with dropout on its probabilities, for training on a processor.

Torch has a fused kernel without dropout only, and its backward pass is slow; with dropout it falls
back to single operations on whole tensors that do not fit any cache. Here they run on a few rows at
a time, whose scores stay in the cache, and the backward pass is written out:

    S = Q Kᵀ · scale + bias,   P = softmax(S),   O = (M ∘ P) V / kept
    dV = (M ∘ P)ᵀ dO / kept,   dP = M ∘ (dO Vᵀ) / kept,   dS = P ∘ (dP - rowsum(dP ∘ P))
    dQ = dS K · scale,         dK = dSᵀ Q · scale

A probability is never negative, so its sign bit is free to remember what the mask M keeps.
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


class Bias:
    """A bias on the scores, of which most columns are zero where it hides padding.

    Args:
        values: Broadcasts to (b, heads, L, S).
    """

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values.float()
        strongest = self.values.abs().amax((1, 2))  # (b or 1, S)
        at = torch.arange(strongest.shape[1])
        self._begins: list[int] = torch.where(strongest > 0, at, len(at)).amin(1).tolist()

    def add_to(self, scores: torch.Tensor, rows: slice) -> None:
        """Add it to the scores of some rows.

        Args:
            scores: (rows, heads, L, S), fp32; changed in place.
            rows: Which rows of the batch they are.
        """
        shared = len(self._begins) == 1
        begin = self._begins[0] if shared else min(self._begins[rows])
        if begin < scores.shape[3]:
            tail = scores[..., begin:]
            tail.add_((self.values if shared else self.values[rows])[..., begin:])


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: Bias | None,
    rate: float,
    scale: float,
    random: Randomness,
) -> torch.Tensor:
    """Compute scaled dot-product attention with dropout.

    Args:
        query: (b, heads, L, D), of the same type as key and value: fp32, bf16 or fp16, on the CPU.
        key: (b, heads, S, D).
        value: (b, heads, S, E).
        bias: What is added to the scores. It gets no gradient.
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
        bias: Bias | None,
        rate: float,
        scale: float,
        random: Randomness,
    ) -> torch.Tensor:
        (b, heads, n, _), m = query.shape, key.shape[2]
        dropped, kept_scale = rounded_rate(rate)
        output = _by_token(query, n, value.shape[3])
        stored = query.new_empty(b, heads, n, m)
        size = (min(b, _rows_at_once(heads, n, m)) * heads, n, m)
        whole, exact = query.new_empty(size), query.new_empty(size, dtype=torch.float32)
        for rows in _blocks(b, heads, n, m):
            q, k, v = _flat(query[rows] * scale), _flat(key[rows]), _flat(value[rows])
            scores, x, p = whole[: len(q)], exact[: len(q)], _flat(stored[rows])
            torch.bmm(q, k.transpose(1, 2), out=scores)
            x.copy_(scores)
            if bias is not None:
                bias.add_to(x.view(-1, heads, n, m), rows)
            p.copy_(aten._softmax.out(x, -1, False, out=x))
            if dropped:
                _drop(p, random.keep_mask(p.shape, dropped), out=scores)
            mixed = torch.bmm(scores if dropped else p, v)
            _unflat(mixed, kept_scale, out=output[rows])
        ctx.save_for_backward(query, key, value, stored)
        ctx.scale, ctx.kept_scale, ctx.dropped = scale, kept_scale, dropped
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, stored = ctx.saved_tensors
        b, heads, n, m = stored.shape
        kind = integers_like(stored)
        d_query, d_key = _by_token(query, n, query.shape[3]), _by_token(key, m, key.shape[3])
        d_value = _by_token(value, m, value.shape[3])
        size = (min(b, _rows_at_once(heads, n, m)) * heads, n, m)
        buffers = query.new_empty(size), query.new_empty(size), query.new_empty(size, dtype=kind)
        for rows in _blocks(b, heads, n, m):
            q, k, v = _flat(query[rows] * ctx.scale), _flat(key[rows]), _flat(value[rows])
            g, p = _flat(grad[rows] * ctx.kept_scale), _flat(stored[rows])
            positive, d, keep = (buffer[: len(q)] for buffer in buffers)
            kept, sign = p, 1.0
            if ctx.dropped:
                # What is kept carries the sign, so masking gives the kept ones as negative numbers.
                torch.clamp(p.view(kind), -1, 0, out=keep)
                torch.bitwise_and(p.view(kind), keep, out=d.view(kind))
                torch.bitwise_and(p.view(kind), torch.iinfo(kind).max, out=positive.view(kind))
                kept, sign, p = d, -1.0, positive
            _unflat(torch.bmm(kept.transpose(1, 2), g), sign, out=d_value[rows])
            torch.bmm(g, v.transpose(1, 2), out=d)
            if ctx.dropped:
                d.view(kind).bitwise_and_(keep)
            aten._softmax_backward_data.out(d, p, -1, p.dtype, grad_input=d)
            _unflat(torch.bmm(d, k), ctx.scale, out=d_query[rows])
            _unflat(torch.bmm(d.transpose(1, 2), q), 1.0, out=d_key[rows])
        return d_query, d_key, d_value, None, None, None, None


def _drop(p: torch.Tensor, keep: torch.Tensor, out: torch.Tensor) -> None:
    """Write the kept probabilities to ``out``, and mark them by their sign in ``p`` itself."""
    kind = integers_like(p)
    keep = keep.to(kind)
    torch.bitwise_and(p.view(kind), keep, out=out.view(kind))
    p.view(kind).bitwise_or_(keep.bitwise_and_(torch.iinfo(kind).min))


def _rows_at_once(heads: int, n: int, m: int) -> int:
    return max(1, SCORES_AT_ONCE // max(1, heads * n * m))


def _blocks(b: int, heads: int, n: int, m: int) -> Iterator[slice]:
    size = _rows_at_once(heads, n, m)
    return (slice(start, min(b, start + size)) for start in range(0, b, size))


def _flat(x: torch.Tensor) -> torch.Tensor:
    """Return (b, heads, L, D) as (b * heads, L, D); a view if it is contiguous."""
    return x.reshape(-1, *x.shape[2:])


def _unflat(x: torch.Tensor, factor: float, out: torch.Tensor) -> None:
    """Write (b * heads, L, D) times a factor into room for (b, heads, L, D)."""
    torch.mul(x.view(out.shape), factor, out=out)


def _by_token(like: torch.Tensor, n: int, width: int) -> torch.Tensor:
    """Return room for (b, heads, n, width) in the order in which a linear layer reads it."""
    b, heads = like.shape[:2]
    return like.new_empty(b, n, heads, width).transpose(1, 2)
