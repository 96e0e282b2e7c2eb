"""The low-rank change of a linear map wrapped by ``peft``, read without importing peft."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn
from torch.autograd.function import once_differentiable

Change = tuple[torch.Tensor | None, torch.Tensor | None]


def is_lora(module: nn.Module) -> bool:
    """Return whether a module is a linear map with plain LoRA's class around it."""
    kind = type(module)
    return kind.__module__ == "peft.tuners.lora.layer" and kind.__name__ == "Linear"


def is_plain_lora(module: nn.Module) -> bool:
    """Return whether a LoRA's change is B A x times a scale and nothing else.

    It is not with dropout before A, DoRA and its kind, several adapters, or a merged one.
    """
    layer = cast(Any, module)
    (name, *others) = layer.active_adapters
    known = not others and set(layer.lora_A) == {name} and name not in layer.lora_variant
    if not known or layer.merged or layer.disable_adapters or layer.fan_in_fan_out:
        return False
    narrow = (layer.lora_A[name], layer.lora_B[name])
    alone = all(type(part) is nn.Linear and part.bias is None for part in narrow)
    return alone and isinstance(layer.lora_dropout[name], nn.Identity)


def narrow_of(module: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return A and B of a LoRA's active adapter."""
    layer = cast(Any, module)
    name = layer.active_adapters[0]
    return layer.lora_A[name], layer.lora_B[name]


def base_of(module: nn.Module) -> Any:
    """Return the linear map itself, with LoRA around it or not."""
    return cast(Any, module).base_layer if is_lora(module) else module


def change_of(maps: Sequence[nn.Module]) -> Change:
    """Return the low-rank change of several maps of one input, some with LoRA, taken together.

    D, (sum of ranks, in), and U with the scales, (sum of outs, sum of ranks), through which
    gradients reach the A and B of each; ``None`` twice if no map has a change.
    """
    if not any(is_lora(each) for each in maps):
        return None, None
    places, narrow, row, column = [], [], 0, 0
    for each in maps:
        height = cast(Any, base_of(each)).out_features
        if is_lora(each):
            a, b = (cast(Any, part).weight for part in narrow_of(each))
            scale = cast(Any, each).scaling[cast(Any, each).active_adapters[0]]
            rank = a.shape[0]
            places.append((slice(row, row + height), slice(column, column + rank), scale))
            narrow += [a, b]
            column += rank
        row += height
    return cast(Change, cast(Any, _Together).apply(row, places, *narrow))


class _Together(torch.autograd.Function):
    """Inputs: rows of U, where each B stands there and its scale; A and B of each map.

    Gives D and U, in which each B stands where no other does: one step instead of twenty.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows: int,
        places: list[tuple[slice, slice, float]],
        *narrow: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put them together."""
        ranks = sum(a.shape[0] for a in narrow[::2])
        down = narrow[0].new_empty(ranks, narrow[0].shape[1])
        up = narrow[0].new_zeros(rows, ranks)
        for (at, columns, scale), a, b in zip(places, narrow[::2], narrow[1::2], strict=True):
            down[columns].copy_(a)
            torch.mul(b, scale, out=up[at, columns])
        ctx.places = places
        asked = ctx.needs_input_grad[2:]
        idle = [t for t, own in ((down, asked[::2]), (up, asked[1::2])) if not any(own)]
        ctx.mark_non_differentiable(*idle)
        return down, up

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_down: torch.Tensor, d_up: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        """Take the gradients apart."""
        found: list[torch.Tensor | None] = [None, None]
        asked = ctx.needs_input_grad[2:]
        for place, (at, columns, scale) in enumerate(ctx.places):
            found.append(d_down[columns] if asked[2 * place] else None)
            found.append(d_up[at, columns] * scale if asked[2 * place + 1] else None)
        return tuple(found)
