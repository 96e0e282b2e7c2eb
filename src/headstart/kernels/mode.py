"""A context in which a model's own calls of dropout and attention reach the kernels."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Self

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from headstart.kernels.attention import Bias, attention
from headstart.kernels.dropout import dropout
from headstart.kernels.masks import Randomness
from headstart.kernels.rows import sparse_embedding
from headstart.kernels.vocabulary import UsedRows

_KINDS = {torch.float32, torch.bfloat16, torch.float16}
LONGEST = 512
"""Tokens up to which the scores of attention without dropout are stored; beyond, torch's fused
kernel, which does not store them."""


_IN_FORCE: list[FastKernels] = []


class FastKernels(TorchFunctionMode):
    """Replaces ``dropout`` and ``scaled_dot_product_attention`` on the CPU while a model trains.

    What a kernel does not cover (causal or grouped attention, a mask with a gradient, another
    type or device, evaluation) is left to torch.

    Args:
        seed: Decides the masks; drawn from torch's generator if ``None``.
        used: Stands in for an embedding table.
    """

    def __init__(self, seed: int | None = None, used: UsedRows | None = None) -> None:
        super().__init__()
        self._used = used
        self.random = Randomness(_draw_seed() if seed is None else seed)
        self._bias: tuple[torch.Tensor, torch.dtype, Bias] | None = None
        self._own: dict[Any, Callable[..., torch.Tensor | None]] = {
            functional.dropout: self._dropout,
            torch.dropout: self._torch_dropout,
            functional.embedding: self._embedding,
            functional.scaled_dot_product_attention: self._attention,
        }

    def __enter__(self) -> Self:
        """Put the kernels into force."""
        _IN_FORCE.append(self)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        """Put what was before into force again."""
        _IN_FORCE.pop()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a kernel where there is one that fits, else the function itself."""
        own = self._own.get(func)
        if own is not None and torch.is_grad_enabled():
            result = own(*args, **(kwargs or {}))
            if result is not None:
                return result
        return func(*args, **(kwargs or {}))

    def _dropout(
        self,
        input: torch.Tensor,
        p: float = 0.5,
        training: bool = True,
        inplace: bool = False,
    ) -> torch.Tensor | None:
        fits = training and not inplace and 0 < p < 1
        return dropout(input, p, self.random) if fits and _covered(input) else None

    def _torch_dropout(
        self,
        input: torch.Tensor,
        p: float,
        train: bool,
    ) -> torch.Tensor | None:
        return self._dropout(input, p, train)

    def _embedding(
        self,
        input: torch.Tensor,
        weight: torch.Tensor,
        padding_idx: int | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor | None:
        if self._used is not None and weight is self._used.weight:
            return self._used.look_up(input, padding_idx)
        return sparse_embedding(input, weight, padding_idx, *args, **kwargs)

    def _attention(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor | None:
        plain = not is_causal and not enable_gqa and 0 <= dropout_p < 1 and query.ndim == 4
        if not plain or not (dropout_p or max(query.shape[2], key.shape[2]) <= LONGEST):
            return None
        if attn_mask is not None and attn_mask.requires_grad:
            return None
        if torch.is_autocast_enabled("cpu"):
            kind = torch.get_autocast_dtype("cpu")
            query, key, value = query.to(kind), key.to(kind), value.to(kind)
        same = query.dtype == key.dtype == value.dtype and query.shape[:2] == key.shape[:2]
        if not same or not all(_covered(t) for t in (query, key, value)):
            return None
        bias = None if attn_mask is None else self.as_bias(attn_mask, query.dtype)
        scale = query.shape[3] ** -0.5 if scale is None else scale
        return attention(query, key, value, bias, dropout_p, scale, self.random)

    def as_bias(self, mask: torch.Tensor, kind: torch.dtype) -> Bias:
        """Return a mask as numbers to add; all layers of a model share one.

        It holds truth values, or what is added to scores, and broadcasts to (b, heads, L, S).
        """
        if self._bias is None or self._bias[0] is not mask or self._bias[1] != kind:
            values = mask.to(kind)
            if mask.dtype == torch.bool:
                # The lowest number and not infinity: a row without any key stays a number.
                values = torch.zeros_like(mask, dtype=kind)
                values = values.masked_fill_(~mask, torch.finfo(kind).min)
            values = values.view((1,) * (4 - values.ndim) + values.shape)
            self._bias = (mask, kind, Bias(values))
        return self._bias[2]


def kernels_in_force() -> FastKernels | None:
    """Return the kernels of the innermost context, if any."""
    return _IN_FORCE[-1] if _IN_FORCE else None


def twice_the_same() -> tuple[contextlib.AbstractContextManager[None], ...]:
    """Return two contexts with the kernels in which a block of a model draws the same masks.

    For ``torch.utils.checkpoint``, which repeats a block in the backward pass: there the context of
    the training step is not in force, and its stream of masks has gone on. One for the forward pass
    and one for its repetition. Until it is entered, neither holds a stream.
    """
    seed = _draw_seed()
    return _seeded(seed), _seeded(seed)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with FastKernels(seed):
        yield


def _draw_seed() -> int:
    return int(torch.randint(2**62, ()))


def _covered(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype in _KINDS and type(tensor) is torch.Tensor
