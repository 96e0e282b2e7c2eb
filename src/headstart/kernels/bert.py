"""A layer of BERT's kind in three steps of autograd instead of about forty.

On short rows a training step consists of many small operations, and what lies between them costs
as much as a fifth of the products. Here a layer is

    attention       queries, keys and values by one product; see ``attention``
    add and norm    LayerNorm(x + dropout(h W' + b))
    feed-forward    LayerNorm(x + dropout(gelu(x W1' + b1) W2' + b2))

each with its backward pass written out. The precision is that of autocast: products and what comes
of them in its type, the sum of the residual stream and LayerNorm in fp32. No gradient is computed
that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from headstart.kernels.attention import Bias, attend, attend_backward, missing_lanes
from headstart.kernels.linear import Gradients, Linear, of_weight
from headstart.kernels.masks import Randomness, integers_like, rounded_rate

aten = torch.ops.aten


class SelfAttention(torch.autograd.Function):
    """Inputs: x (b, L, H), three weights and biases, D and U or ``None``, then plain settings.

    D and U are those of the three maps together, copied into the ``Linear`` that the settings begin
    with. Gives (b, L, H) in the type of the copies.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, *rest: Any) -> torch.Tensor:
        """Compute attention of x to itself."""
        linear, hidden, heads, rate, random = rest[8:]
        b, n, width = x.shape
        low = x.to(linear.weight.dtype).view(-1, width)
        flat, narrow = linear.apply(low)
        projected = flat.view(b, n, 3, heads, -1)
        mixed, kept = _attend(projected[:, :, 0], projected[:, :, 1:], hidden, rate, random)
        asked = ctx.needs_input_grad
        stays = low if any(asked[1:7:2]) or asked[7] else None
        ctx.save_for_backward(linear.weight, linear.bias, stays, narrow, *kept)
        ctx.rate, ctx.rank = rate, linear.rank
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> Gradients:
        """Return the gradients of x, weights, biases, D and U."""
        weight, bias, low, narrow, *kept = ctx.saved_tensors
        linear, asked = Linear(weight, bias, ctx.rank), ctx.needs_input_grad
        b, n, width = grad.shape
        split = grad.new_empty(b, n, 3, kept[0].shape[1], kept[0].shape[3])
        _attend_backward(grad, kept, ctx.rate, (split[:, :, 0], split[:, :, 1:]))
        flat = split.view(b * n, 3 * width)
        dx, *d_change = linear.backward(flat, low, narrow, (asked[0], *asked[7:9]))
        dx = None if dx is None else dx.float().view(b, n, width)
        return (dx, *_of_maps(flat, low, asked[1:7]), *d_change, *(None,) * 5)


class FirstTokenAttention(torch.autograd.Function):
    """As ``SelfAttention``, but only the first token has a query: gives (b, 1, H)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, *rest: Any) -> torch.Tensor:
        """Compute what the first token takes from all."""
        linear, hidden, heads, rate, random = rest[8:]
        b, n, width = x.shape
        low, (to_asks, to_others) = x.to(linear.weight.dtype), linear.split(width)
        asks, _ = to_asks.apply(low[:, 0])
        others, narrow = to_others.apply(low.view(-1, width))
        apart = asks.view(b, 1, heads, -1), others.view(b, n, 2, heads, -1)
        mixed, kept = _attend(*apart, hidden, rate, random)
        asked = ctx.needs_input_grad
        stays = low if any(asked[1:7:2]) or asked[7] else None
        ctx.save_for_backward(linear.weight, linear.bias, stays, narrow, *kept)
        ctx.rate, ctx.rank, ctx.tokens = rate, linear.rank, n
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> Gradients:
        """Return the gradients of x, weights, biases, D and U."""
        weight, bias, low, narrow, *kept = ctx.saved_tensors
        asked, n = ctx.needs_input_grad, ctx.tokens
        b, _, width = grad.shape
        heads, each = kept[0].shape[1], kept[0].shape[3]
        d_asks, split = grad.new_empty(b, 1, heads, each), grad.new_empty(b, n, 2, heads, each)
        _attend_backward(grad, kept, ctx.rate, (d_asks, split))
        d_asks, flat = d_asks.view(b, width), split.view(b * n, 2 * width)
        first, low = (None, None) if low is None else (low[:, 0], low.view(-1, width))
        first_narrow = None if narrow is None else narrow.view(b, n, -1)[:, 0]
        wanted, parts = (asked[0], *asked[7:9]), Linear(weight, bias, ctx.rank).split(width)
        dx, d_down, d_up = parts[1].backward(flat, low, narrow, wanted)
        more, d_down_asks, d_up_asks = parts[0].backward(d_asks, first, first_narrow, wanted)
        if dx is not None and more is not None:
            dx = dx.float().view(b, n, width)
            dx[:, 0].add_(more)
        if d_down is not None and d_down_asks is not None:
            d_down.add_(d_down_asks)
        if d_up is not None and d_up_asks is not None:
            d_up = torch.cat([d_up_asks, d_up])
        maps = (*_of_maps(d_asks, first, asked[1:3]), *_of_maps(flat, low, asked[3:7]))
        return (dx, *maps, d_down, d_up, *(None,) * 5)


class AddNorm(torch.autograd.Function):
    """Inputs: h (…, W), x (…, H), weight (H, W), bias, D, U, gain and offset, then settings.

    Gives LayerNorm(x + dropout(h weight' + bias)), (…, H), in fp32.
    """

    @staticmethod
    def forward(ctx: Any, h: torch.Tensor, x: torch.Tensor, *rest: Any) -> torch.Tensor:
        """Compute it."""
        gain, offset, linear, eps, rate, random = rest[4:]
        shape, asked = x.shape, ctx.needs_input_grad
        h, x = h.reshape(-1, h.shape[-1]), x.reshape(-1, shape[-1])
        output, narrow = linear.apply(h)
        normed, kept = _add_norm(output, x, gain, offset, eps, rate, random)
        stays = h if asked[2] or asked[4] else None
        ctx.save_for_backward(linear.weight, linear.bias, stays, narrow, gain, offset, *kept)
        ctx.scale, ctx.rank = rounded_rate(rate)[1], linear.rank
        return normed.view(shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> Gradients:
        """Return the gradients of all tensors."""
        weight, bias, h, narrow, gain, offset, *kept = ctx.saved_tensors
        linear, asked = Linear(weight, bias, ctx.rank), ctx.needs_input_grad
        dx, d_output, d_gain, d_offset = _add_norm_backward(
            grad, gain, offset, kept, ctx.scale, linear.weight.dtype, asked[6:8]
        )
        dh, *d_change = linear.backward(d_output, h, narrow, (asked[0], *asked[4:6]))
        return (
            None if dh is None else dh.view(*grad.shape[:-1], -1),
            dx.view(grad.shape),
            *of_weight(d_output, h, asked[2:4]),
            *d_change,
            d_gain, d_offset, None, None, None, None,
        )  # fmt: skip


class FeedForward(torch.autograd.Function):
    """Inputs: x (…, H), two times weight, bias, D and U, gain and offset, then settings.

    Gives LayerNorm(x + dropout(gelu(x W1' + b1) W2' + b2)), (…, H), in fp32.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, *rest: Any) -> torch.Tensor:
        """Compute it."""
        gain, offset, first, second, eps, rate, random = rest[8:]
        shape, asked = x.shape, ctx.needs_input_grad
        x = x.reshape(-1, shape[-1])
        low = x.to(first.weight.dtype)
        inner, narrow1 = first.apply(low)
        active = functional.gelu(inner)
        output, narrow2 = second.apply(active)
        normed, kept = _add_norm(output, x, gain, offset, eps, rate, random)
        stay = low if asked[1] or asked[3] else None, active if asked[5] or asked[7] else None
        ctx.save_for_backward(
            *first[:2], *second[:2], *stay, narrow1, narrow2, inner, gain, offset, *kept
        )  # fmt: skip
        ctx.scale, ctx.ranks = rounded_rate(rate)[1], (first.rank, second.rank)
        return normed.view(shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> Gradients:
        """Return the gradients of all tensors."""
        asked = ctx.needs_input_grad
        weight1, bias1, weight2, bias2, *saved = ctx.saved_tensors
        first, second = Linear(weight1, bias1, ctx.ranks[0]), Linear(weight2, bias2, ctx.ranks[1])
        low, active, narrow1, narrow2, inner, gain, offset, *kept = saved
        dx, d_output, d_gain, d_offset = _add_norm_backward(
            grad, gain, offset, kept, ctx.scale, second.weight.dtype, asked[9:11]
        )
        below = any(asked[:5])
        d_active, *d_change2 = second.backward(d_output, active, narrow2, (below, *asked[7:9]))
        d_first: Gradients = (None, None, None, None)
        if d_active is not None:
            d_inner = aten.gelu_backward(d_active, inner)
            d_low, *d_change1 = first.backward(d_inner, low, narrow1, (asked[0], *asked[3:5]))
            d_first = (*of_weight(d_inner, low, asked[1:3]), *d_change1)
            dx = dx if d_low is None else dx.add_(d_low)
        return (
            dx.view(grad.shape), *d_first, *of_weight(d_output, active, asked[5:7]), *d_change2,
            d_gain, d_offset, None, None, None, None, None,
        )  # fmt: skip


def _attend(
    asks: torch.Tensor, others: torch.Tensor, hidden: Bias | None, rate: float, random: Randomness
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Return attention of queries (b, Q, heads, D) to keys and values (b, L, 2, heads, D).

    Gives (b, Q, heads D), and what its backward pass needs.
    """
    b, queries, heads, each = asks.shape
    n = others.shape[1]
    extra = missing_lanes(n)
    query = asks.new_empty(b, heads, queries, each)
    torch.mul(asks.transpose(1, 2), each**-0.5, out=query)
    by_head = others.permute(2, 0, 3, 1, 4)
    if extra:
        key_value = asks.new_zeros(2, b, heads, n + extra, each)
        key_value[..., :n, :].copy_(by_head)
    else:
        key_value = by_head.contiguous()
    key, value = key_value.unbind()
    mixed, stored = attend(query, key, value, hidden, rate, random, extra)
    return mixed.view(b, queries, -1), (query, key_value, stored)


def _attend_backward(
    grad: torch.Tensor,
    kept: Sequence[torch.Tensor],
    rate: float,
    into: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """Write the gradients of queries and of keys and values into tensors shaped like these."""
    query, key_value, stored = kept
    b, heads, queries, each = query.shape
    d_query, d_others = torch.empty_like(query), torch.empty_like(key_value)
    by_head = grad.view(b, queries, heads, each).transpose(1, 2)
    key, value = key_value.unbind()
    into_heads = (d_query, *d_others.unbind())
    attend_backward(by_head, query, key, value, stored, rate, into_heads)
    torch.mul(d_query.transpose(1, 2), each**-0.5, out=into[0])
    into[1].copy_(d_others[..., : into[1].shape[1], :].permute(1, 3, 0, 2, 4))


def _of_maps(flat: torch.Tensor, x: torch.Tensor | None, asked: Sequence[bool]) -> Gradients:
    """Return the gradients of weight and bias of each of several maps of one input.

    ``flat`` are the gradients of what they give, side by side, (T, maps H), ``x`` is their input,
    (T, H), and ``asked`` tells of each weight and each bias in turn whether its own is wanted.
    """
    width = 2 * flat.shape[1] // len(asked)
    d_weights, d_biases = of_weight(flat, x, (all(asked[::2]), any(asked[1::2])))
    found: list[torch.Tensor | None] = []
    for start, (weight, bias) in enumerate(zip(asked[::2], asked[1::2], strict=True)):
        rows = slice(start * width, (start + 1) * width)
        if d_weights is None and weight:
            found += of_weight(flat[:, rows], x, (True, False))[:1]
        else:
            found.append(None if d_weights is None else d_weights[rows])
        found.append(d_biases[rows] if bias and d_biases is not None else None)
    return tuple(found)


def _add_norm(
    output: torch.Tensor,
    x: torch.Tensor,
    gain: torch.Tensor,
    offset: torch.Tensor,
    eps: float,
    rate: float,
    random: Randomness,
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Return LayerNorm(x + dropout(output)), and what its backward pass needs; both (T, H)."""
    dropped, scale = rounded_rate(rate)
    mask = [random.keep_mask(output.shape, dropped)] if dropped else []
    if mask:
        kind = integers_like(output)
        output.view(kind).bitwise_and_(mask[0].to(kind))
    total = torch.add(x, output, alpha=scale)
    normed, mean, deviation = torch.native_layer_norm(total, gain.shape, gain, offset, eps)
    return normed, (total, mean, deviation, *mask)


def _add_norm_backward(
    grad: torch.Tensor,
    gain: torch.Tensor,
    offset: torch.Tensor,
    kept: Sequence[torch.Tensor],
    scale: float,
    kind: torch.dtype,
    asked: tuple[bool, bool],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Return the gradients of x, of the output in its own type, of gain and of offset."""
    total, mean, deviation, *mask = kept
    dx, d_gain, d_offset = aten.native_layer_norm_backward(
        grad.reshape(total.shape), total, gain.shape, mean, deviation, gain, offset, [True, *asked]
    )
    d_output = (dx * scale).to(kind)
    if mask:
        integers = integers_like(d_output)
        d_output.view(integers).bitwise_and_(mask[0].to(integers))
    return dx, d_output, d_gain, d_offset
