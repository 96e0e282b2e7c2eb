"""Copies of linear maps' parameters in the type of products, low-rank changes put into them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from headstart.kernels.linear import Linear
from headstart.kernels.lora import Change


class Copies:
    """Copies of linear maps: for each step once they train or have a change, else for good.

    A parameter does not tell that a fused optimizer has changed it. One that is frozen at first may
    train from a later step on; what is frozen nobody changes.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[nn.Parameter, ...], _Copied] = {}

    def get(
        self, *wanted: tuple[Sequence[nn.Linear], Change], kind: torch.dtype, step: object
    ) -> list[Linear]:
        """Return maps ready for products; several of one input as one map.

        Args:
            *wanted: Maps, with bias and of one shape, and their low-rank change together.
            kind: Type of the copies.
            step: An object of the present optimizer step, another one in the next.

        Returns:
            A map for each of the wanted ones. It holds copies, but the parameters themselves if a
            map is alone, has this type already and no change.
        """
        found, late = list[Linear](), list[tuple[torch.Tensor, torch.Tensor]]()
        for maps, change in wanted:
            rank = 0 if change[0] is None else change[0].shape[0]
            weights, biases = ([getattr(m, name) for m in maps] for name in ("weight", "bias"))
            if len(maps) == 1 and weights[0].dtype == kind and not rank:
                found.append(Linear(weights[0].detach(), biases[0].detach()))
                continue
            weight, bias = (self._place(tuple(p), kind, rank) for p in (weights, biases))
            late += weight.renew(weights, step, change) + bias.renew(biases, step)
            found.append(Linear(weight.whole, bias.whole, rank))
        if late:
            torch._foreach_copy_([to for to, _ in late], [source for _, source in late])
        return found

    def _place(self, parameters: tuple[nn.Parameter, ...], kind: torch.dtype, rank: int) -> _Copied:
        made = self._made.get(parameters)
        if made is None or made.whole.dtype != kind or made.rank != rank:
            made = self._made[parameters] = _Copied(parameters, kind, rank)
        return made


class _Copied:
    """Where copies of parameters are, one below the other, and the step they were made in.

    With a change of a rank so many rows and columns follow, as ``Linear`` has them.
    """

    def __init__(self, parameters: tuple[nn.Parameter, ...], kind: torch.dtype, rank: int) -> None:
        heights = [p.shape[0] for p in parameters]  # len(p) takes ten times as long
        rows, *columns = sum(heights), *parameters[0].shape[1:]
        self.whole = torch.zeros(rows + rank, *(n + rank for n in columns), dtype=kind)
        body = self.whole[(slice(rows), *map(slice, columns))]
        self.parts = torch.split(body, heights)
        self.rank, self.trained = rank, False
        self.step: object = None

    def renew(
        self, parameters: Sequence[nn.Parameter], step: object, change: Change = (None, None)
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Bring the copies up to date, or return what is to be copied from where for it."""
        self.trained = self.trained or any(p.requires_grad for p in parameters)
        down, up = change
        moves = self.trained or down is not None
        if self.step is step or (self.step is not None and not moves):
            return []
        self.step = step
        if down is None or up is None:
            return list(zip(self.parts, [p.detach() for p in parameters], strict=True))
        # Autocast would round the product before it is added.
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            changes = torch.split(up @ down, [p.shape[0] for p in parameters])
            for part, more, parameter in zip(self.parts, changes, parameters, strict=True):
                part.copy_(more.add_(parameter))
            rows, columns = up.shape[0], down.shape[1]
            self.whole[:rows, columns:].copy_(up)
            self.whole[rows:, :columns].copy_(down)
        return []
