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

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch.autograd.function import once_differentiable

from headstart.kernels.masks import Randomness, integers_like, rounded_rate

SCORES_AT_ONCE = 2**20
"""Scores of a block: with 2 bytes each they fit the second-level cache of two cores."""

LANES = 32
"""Fewer scores in a row are best filled up to 32, as many bf16 numbers as a processor computes at
once: torch's softmax is several times slower on fewer."""

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

    def of_first_query(self) -> Bias:
        """Return the bias on the scores of the first query alone."""
        first = copy.copy(self)
        first.values = self.values[:, :, :1]
        return first

    def add_to(self, scores: torch.Tensor, rows: slice) -> None:
        """Add it to the fp32 scores, (rows, heads, L, S), of some rows of the batch, in place."""
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
    found = cast(Any, _Attention).apply(query, key, value, bias, rate, scale, random)
    return cast(torch.Tensor, found)


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
        q = torch.mul(query, scale, out=query.new_empty(query.shape))
        k, v = key.contiguous(), value.contiguous()
        mixed, stored = attend(q, k, v, bias, rate, random)
        ctx.save_for_backward(q, k, v, stored)
        ctx.scale, ctx.rate = scale, rate
        return mixed.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, stored = ctx.saved_tensors
        found = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        attend_backward(grad, q, k, v, stored, ctx.rate, found)
        found[0].mul_(ctx.scale)
        return (*(by_token(tensor) for tensor in found), None, None, None, None)


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: Bias | None,
    rate: float,
    random: Randomness,
    extra: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute attention without a graph.

    Args:
        query: (b, heads, L, D), contiguous as the others, and multiplied by the scale.
        key: (b, heads, S, D).
        value: (b, heads, S, E).
        bias: As for ``attention``.
        rate: As for ``attention``.
        random: Where the mask comes from.
        extra: Keys at the end that fill up and are not to be seen; the bias knows nothing of them.

    Returns:
        (b, L, heads, E), and what ``attend_backward`` needs to know, (b, heads, L, S).
    """
    (b, heads, n, _), m = query.shape, key.shape[2]
    dropped, kept_scale = rounded_rate(rate)
    mixed = query.new_empty(b, heads, n, value.shape[3])
    stored = query.new_empty(b, heads, n, m)
    at_once = _rows_at_once(b, heads, n, m)
    whole, single = query.new_empty(at_once * heads, n, m), query.dtype == torch.float32
    exact = whole if single else query.new_empty(whole.shape, dtype=torch.float32)
    kind = integers_like(query)
    work = whole, whole.view(kind), exact
    inputs = query, key, value, mixed, stored, stored.view(kind)
    for start, (q, k, v, out, p, bits) in _blocks(inputs, at_once):
        scores, score_bits, x = _first(work, q.shape[0])
        torch.bmm(q, k.transpose(1, 2), out=scores)
        if not single:
            x.copy_(scores)
        if bias is not None:
            bias.add_to(x.view(-1, heads, n, m)[..., : m - extra], slice(start, start + at_once))
        if extra:
            x[..., m - extra :].fill_(-torch.inf)
        if single:
            torch.softmax(x, -1, out=p)
        else:
            p.copy_(torch.softmax(x, -1, out=x))
        if dropped:
            keep = random.keep_mask(p.shape, dropped).to(kind)
            torch.bitwise_and(bits, keep, out=score_bits)
            # What is kept carries the sign.
            bits.bitwise_or_(keep.bitwise_and_(torch.iinfo(kind).min))
        torch.bmm(scores if dropped else p, v, out=out)
    found = mixed.new_empty(b, n, heads, value.shape[3])
    return torch.mul(mixed.transpose(1, 2), kept_scale, out=found), stored


def attend_backward(
    grad: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    stored: torch.Tensor,
    rate: float,
    into: Sequence[torch.Tensor],
) -> None:
    """Compute the gradients of ``attend``, whose arguments and ``stored`` are given again.

    ``grad`` is (b, heads, L, E) in any order in memory, where ``attend`` gives (b, L, heads, E).
    The gradients of query, key and value go ``into`` contiguous tensors.
    """
    b, heads, n, m = stored.shape
    dropped, kept_scale = rounded_rate(rate)
    kind = integers_like(stored)
    grad = torch.mul(grad, kept_scale, out=grad.new_empty(grad.shape))
    at_once = _rows_at_once(b, heads, n, m)
    whole, other = (stored.new_empty(at_once * heads, n, m) for _ in range(2))
    work = whole, whole.view(kind), other, other.view(kind), torch.empty_like(whole, dtype=kind)
    given = query, key, value, grad, stored, stored.view(kind)
    for _, (q, k, v, g, p, bits, d_q, d_k, d_v) in _blocks((*given, *into), at_once):
        positive, positive_bits, d, d_bits, keep = _first(work, q.shape[0])
        chances = kept = p
        if dropped:
            torch.clamp(bits, -1, 0, out=keep)
            torch.bitwise_and(bits, torch.iinfo(kind).max, out=positive_bits)
            torch.bitwise_and(positive_bits, keep, out=d_bits)
            kept, chances = d, positive
        torch.bmm(kept.transpose(1, 2), g, out=d_v)
        torch.bmm(g, v.transpose(1, 2), out=d)
        if dropped:
            d_bits.bitwise_and_(keep)
        aten._softmax_backward_data.out(d, chances, -1, d.dtype, grad_input=d)
        torch.bmm(d, k, out=d_q)
        torch.bmm(d.transpose(1, 2), q, out=d_k)


def missing_lanes(keys: int) -> int:
    """Return by how many keys, 0 or more, few keys are best filled up."""
    return max(0, LANES - keys)


def _rows_at_once(b: int, heads: int, n: int, m: int) -> int:
    """Return how many rows a block has: all but the last are of one size, so that all are alike."""
    most = max(1, SCORES_AT_ONCE // max(1, heads * n * m))
    return math.ceil(b / math.ceil(b / most)) if b else 1


def _blocks(tensors: Sequence[torch.Tensor], rows: int) -> Iterator[tuple[int, list[torch.Tensor]]]:
    """Cut tensors (b, heads, …) into blocks of so many rows, each with its first row's number.

    The heads of a block are side by side, (rows heads, …).
    """
    b, heads = tensors[0].shape[:2]
    flat = [t.flatten(0, 1) for t in tensors]
    if rows == b:
        yield 0, flat
        return
    for start in range(0, b, rows):
        yield start, [t[start * heads : (start + rows) * heads] for t in flat]


def _first(tensors: Sequence[torch.Tensor], count: int) -> Sequence[torch.Tensor]:
    """Return the beginnings of buffers, of which the last block needs less."""
    return tensors if tensors[0].shape[0] == count else [t[:count] for t in tensors]


def by_token(x: torch.Tensor) -> torch.Tensor:
    """Bring (b, heads, L, D) into the order in memory in which a linear layer reads it.

    Each token's heads then lie side by side; shape and numbers stay.
    """
    return x.transpose(1, 2).contiguous().transpose(1, 2)
