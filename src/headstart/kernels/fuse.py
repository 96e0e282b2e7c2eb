"""Lets a model's layers of BERT's kind compute by the functions of ``bert``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from types import MethodType
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from headstart.kernels.bert import (
    AddNorm,
    FeedForward,
    FirstTokenAttention,
    SelfAttention,
)
from headstart.kernels.copies import Copies
from headstart.kernels.lora import base_of, change_of, is_lora, is_plain_lora, narrow_of
from headstart.kernels.mode import FastKernels, kernels_in_force

LAYERS = ("BertLayer", "CamembertLayer", "ElectraLayer", "RobertaLayer", "XLMRobertaLayer")
"""Names of the layers' classes in transformers."""
_ATTENTION = ("sdpa", "eager")
Block = Callable[..., torch.Tensor]


@contextlib.contextmanager
def fused_layers(model: nn.Module) -> Iterator[int]:
    """Compute a model's layers in fewer steps while it trains on a processor.

    A half of a layer that is not just what its class makes of it, because something is put in,
    replaced or listened at, is computed as always. Without ``FastKernels`` in force, or in
    evaluation, everything is. A layer may already have been told to compute the first token alone,
    by a ``forward`` put into it that says so with the attribute ``first_token``; of such a layer
    both halves take part or neither. Yields how many halves of layers take part; afterwards the
    model is again what it was.
    """
    copies, changed, halves = Copies(), [], 0
    for layer in model.modules():
        blocks = _blocks(layer, copies)
        if any(blocks):
            before = vars(layer).get("forward")
            cast(Any, layer).forward = MethodType(partial(_forward, blocks, before), layer)
            changed.append((layer, before))
            halves += sum(block is not None for block in blocks)
    try:
        yield halves
    finally:
        for layer, before in changed:
            del cast(Any, layer).forward
            if before is not None:
                cast(Any, layer).forward = before


def _forward(
    blocks: tuple[Block | None, Block | None],
    before: Block | None,
    layer: Any,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *args: Any,
    **kwargs: Any,
) -> torch.Tensor:
    """Stand in for the layer's own ``forward``."""
    kernels = kernels_in_force() if layer.training and torch.is_grad_enabled() else None
    if kernels is None or hidden_states.dtype != torch.float32:
        usual: Block = before or MethodType(type(layer).forward, layer)
        return usual(hidden_states, attention_mask, *args, **kwargs)
    kind = torch.float32
    if torch.is_autocast_enabled("cpu"):
        kind = torch.get_autocast_dtype("cpu")
    attend, feed = blocks
    # Inside the functions there is nothing to replace, and to look at each operation takes time.
    if attend is None:
        states = layer.attention(hidden_states, attention_mask, **kwargs)[0]
    else:
        with torch._C.DisableTorchFunction():
            states = attend(
                layer.attention, kernels, kind, hidden_states, attention_mask, before is not None
            )
    if feed is None:
        return cast(torch.Tensor, layer.feed_forward_chunk(states))
    with torch._C.DisableTorchFunction():
        return feed(layer, kernels, kind, states)


def _attend(
    copies: Copies,
    attention: Any,
    kernels: FastKernels,
    kind: torch.dtype,
    x: torch.Tensor,
    mask: torch.Tensor | None,
    first: bool,
) -> torch.Tensor:
    own, output = attention.self, attention.output
    maps = (own.query, own.key, own.value)
    linears = tuple(base_of(each) for each in maps)
    bias = None if mask is None else kernels.as_bias(mask, kind)
    if first:
        bias = None if bias is None else bias.of_first_query()
    dense, norm = base_of(output.dense), output.LayerNorm
    changes = change_of(maps), change_of((output.dense,))
    projects, ends = copies.get(
        (linears, changes[0]), ((dense,), changes[1]), kind=kind, step=kernels
    )
    mixed = cast(Any, FirstTokenAttention if first else SelfAttention).apply(
        x, *(p for linear in linears for p in (linear.weight, linear.bias)), *changes[0],
        projects, bias, own.num_attention_heads, own.dropout.p, kernels.random,
    )  # fmt: skip
    found = cast(Any, AddNorm).apply(
        mixed, x[:, :1] if first else x,
        dense.weight, dense.bias, *changes[1], norm.weight, norm.bias,
        ends, norm.eps, output.dropout.p, kernels.random,
    )  # fmt: skip
    return cast(torch.Tensor, found)


def _feed(
    copies: Copies, layer: Any, kernels: FastKernels, kind: torch.dtype, x: torch.Tensor
) -> torch.Tensor:
    maps, norm = (layer.intermediate.dense, layer.output.dense), layer.output.LayerNorm
    linears = [base_of(each) for each in maps]
    changes = [change_of((each,)) for each in maps]
    tensors = [(m.weight, m.bias, *change) for m, change in zip(linears, changes, strict=True)]
    wanted = [((m,), change) for m, change in zip(linears, changes, strict=True)]
    found = cast(Any, FeedForward).apply(
        x, *tensors[0], *tensors[1], norm.weight, norm.bias,
        *copies.get(*wanted, kind=kind, step=kernels),
        norm.eps, layer.output.dropout.p, kernels.random,
    )  # fmt: skip
    return cast(torch.Tensor, found)


def _blocks(layer: Any, copies: Copies) -> tuple[Block | None, Block | None]:
    """Return what computes the attention and the feed-forward half of a module."""
    kind = type(layer)
    known = kind.__name__ in LAYERS and kind.__module__.startswith("transformers.models.")
    first = getattr(vars(layer).get("forward"), "first_token", False)
    if not known or not _untouched(layer, forward=first) or layer.is_decoder:
        return None, None
    attention, inner, outer = layer.attention, layer.intermediate, layer.output
    own = attention.self
    attend = (
        all(_untouched(part) for part in (attention, own, attention.output))
        and all(_maps_plainly(part) for part in (own.query, own.key, own.value))
        and _ends_plainly(attention.output)
        and _plain(own.dropout, nn.Dropout)
        and own.config._attn_implementation in _ATTENTION
    )
    activation = inner.intermediate_act_fn
    exact = isinstance(activation, nn.GELU) and activation.approximate == "none"
    exact = exact or getattr(activation, "act", None) is functional.gelu
    feed = (
        all(_untouched(part) for part in (inner, outer, activation))
        and exact
        and _maps_plainly(inner.dense)
        and _ends_plainly(outer)
    )
    if first and not (attend and feed):
        return None, None  # the other half is known only where the first token's forward is
    return (partial(_attend, copies) if attend else None, partial(_feed, copies) if feed else None)


def _ends_plainly(output: Any) -> bool:
    parts = {output.LayerNorm: nn.LayerNorm, output.dropout: nn.Dropout}
    return _maps_plainly(output.dense) and all(_plain(part, kind) for part, kind in parts.items())


def _maps_plainly(module: nn.Module) -> bool:
    """Whether a module is a linear map, or one with a plain low-rank change beside it."""
    if not is_lora(module):
        return _plain(module, nn.Linear)
    parts = (module, *narrow_of(module), base_of(module))
    return (
        is_plain_lora(module)
        and all(_untouched(part) for part in parts[:3])
        and _plain(parts[3], nn.Linear)
    )


def _plain(module: Any, kind: type[nn.Module]) -> bool:
    """Whether a module is one of torch's own, with bias, in fp32 on the processor."""
    if type(module) is not kind or not _untouched(module) or getattr(module, "p", 0.0) >= 1:
        return False
    tensors = [] if kind is nn.Dropout else [module.weight, module.bias]
    return all(
        type(t) is nn.Parameter and t.dtype == torch.float32 and t.device.type == "cpu"
        for t in tensors
    )


def _untouched(module: nn.Module, *, forward: bool = False) -> bool:
    """Whether a module computes as its class says, or by a known ``forward``; nobody listens."""
    hooks = (
        module._forward_hooks, module._forward_pre_hooks,
        module._backward_hooks, module._backward_pre_hooks,
    )  # fmt: skip
    return not any(hooks) and (forward or "forward" not in vars(module))
