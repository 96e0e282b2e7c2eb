"""The last layer computed for the first token alone, where the head reads no other.

Most heads read nothing of the last layer but the first token's state. To compute it, that layer
needs the keys and values of all tokens, but one query, one attention output and one feed-forward
pass: in a layer of width H, 2 H² products a token instead of 12 H². What is left out neither
reaches the logits nor gets a gradient.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any, cast

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.models.evaluating import evaluating
from headstart.training.frozen.reading import longest_rows
from headstart.training.loader import BatchLoader

Forward = Callable[..., torch.Tensor]
LEAST_ROWS = 16
"""Fewer rows are computed faster than it is found out what the head reads."""


@contextlib.contextmanager
def first_token_only(split: SplitModel, loader: BatchLoader) -> Iterator[bool]:
    """Compute the last layer for the first token alone, if that changes nothing.

    Yields whether it is so: the layer is of a known kind, and the head reads the first token only.
    Afterwards the layer is again what it was.
    """
    layer = _last_layer(split)
    fits = layer is not None and not loader.left_padded and len(loader.lengths) >= LEAST_ROWS
    forward = _forward_of(layer) if fits else None
    if forward is None or not _reads_first_only(split, layer, loader):
        yield False
        return
    layer.forward = MethodType(forward, layer)
    try:
        yield True
    finally:
        del layer.forward


def _last_layer(split: SplitModel) -> Any:
    try:
        return split.layers()[-1][1]
    except ModelError:
        return None


def _forward_of(layer: Any) -> Forward | None:
    """Return what computes a layer for the first token; ``None`` where that is not known."""
    kind = type(layer)
    known = kind.__module__.startswith("transformers.models.") and not vars(layer).get("forward")
    forward = _KNOWN.get(kind.__name__) if known else None
    if forward is None or getattr(layer, "is_decoder", False):
        return None
    # Whoever listens at a part that is not called would wait in vain.
    parts = [layer.attention, getattr(layer.attention, "self", layer.attention)]
    heard = any(p._forward_hooks or p._forward_pre_hooks or "forward" in vars(p) for p in parts)
    config = parts[-1].config
    recorded = getattr(config, "output_attentions", False) or config.output_hidden_states
    return None if heard or recorded else forward


@torch.no_grad()
def _reads_first_only(split: SplitModel, layer: nn.Module, loader: BatchLoader) -> bool:
    """Whether the logits stay numbers when the last layer gives NaN for all tokens but the first.

    A gradient would tell less: a head that begins with zeros passes none on.
    """
    batch = longest_rows(loader)
    # What a head reads beside the first token may differ from row to row.
    if "span_masks" in batch or "input_ids" not in batch or batch["input_ids"].shape[-1] < 2:
        return False

    def spoil(_: nn.Module, __: Any, states: torch.Tensor) -> torch.Tensor:
        first = torch.arange(states.shape[1], device=states.device) == 0
        return torch.where(first[:, None], states, torch.nan)

    with layer.register_forward_hook(spoil), evaluating(split.model):
        return bool(split.model(**batch).logits.isfinite().all())


def _attend(
    module: Any,
    linears: tuple[nn.Module, nn.Module, nn.Module],
    states: torch.Tensor,
    mask: torch.Tensor | None,
) -> torch.Tensor:
    """Return what the first token takes from all, (b, 1, H).

    ``linears`` are the maps for queries, keys and values, ``states`` are (b, L, H), ``mask`` is as
    transformers makes it: (b, 1, L, L), or (b, L) for flash attention.
    """
    query, key, value = (
        linear(x).unflatten(-1, (-1, module.attention_head_size)).transpose(1, 2)
        for linear, x in zip(linears, (states[:, :1], states, states), strict=True)
    )
    if mask is not None and mask.ndim == 4:
        mask = mask[:, :, :1]
    eager = getattr(_file_of(module), "eager_attention_forward", None)
    chosen = module.config._attn_implementation
    attention = ALL_ATTENTION_FUNCTIONS.get_interface(chosen, eager)
    rate = module.dropout.p if module.training else 0.0
    mixed, _ = attention(module, query, key, value, mask, dropout=rate, scaling=module.scaling)
    return cast(torch.Tensor, mixed).flatten(2)


def _file_of(module: nn.Module) -> Any:
    return sys.modules[type(module).__module__]


def _bert(
    self: Any,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *_: Any,
    **__: Any,
) -> torch.Tensor:
    """Stand in for ``BertLayer.forward``."""
    module = self.attention.self
    linears = (module.query, module.key, module.value)
    mixed = _attend(module, linears, hidden_states, attention_mask)
    states = self.attention.output(mixed, hidden_states[:, :1])
    return cast(torch.Tensor, self.output(self.intermediate(states), states))


def _distilbert(
    self: Any,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *_: Any,
    **__: Any,
) -> torch.Tensor:
    """Stand in for ``TransformerBlock.forward`` of DistilBERT."""
    module = self.attention
    linears = (module.q_lin, module.k_lin, module.v_lin)
    mixed = module.out_lin(_attend(module, linears, hidden_states, attention_mask))
    states = self.sa_layer_norm(mixed + hidden_states[:, :1])
    return cast(torch.Tensor, self.output_layer_norm(self.ffn(states) + states))


cast(Any, _bert).first_token = True  # the fused layers know what it computes

_KNOWN: dict[str, Forward] = {
    "BertLayer": _bert,
    "CamembertLayer": _bert,
    "ElectraLayer": _bert,
    "RobertaLayer": _bert,
    "XLMRobertaLayer": _bert,
    "TransformerBlock": _distilbert,
}
"""By the name of a layer's class in transformers."""
