"""Self-attention with trainable keys and values in front, for each supported family.

Most families compute attention through a function that transformers looks up by name. For those
the name is replaced by one of ours, whose function puts the prefix in front and then calls the
original. MPNet and DeBERTa-v2 add terms for relative positions inside their own ``forward``; they
get a ``forward`` of ours, in which the prefix, which has no position, takes no part in those terms.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from types import MethodType
from typing import Any, NamedTuple

import torch
import transformers
from torch import nn
from torch.nn.functional import pad
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from headstart.errors import ModelError
from headstart.models.backbone import SplitModel

KEYS, VALUES = "prefix_keys", "prefix_values"
"""Parameters of an attention module with a prefix, each (heads, tokens, head width)."""


class _Family(NamedTuple):
    attention: str
    """Class name of the self-attention module."""
    forward: Callable[..., Any] | None = None
    """What replaces its ``forward``; ``None`` where the attention function is enough."""


class PrefixedAttention:
    """The self-attention modules of one model, to which a prefix is given and taken away.

    Raises ``ModelError`` if its family is not supported.
    """

    def __init__(self, split: SplitModel) -> None:
        config: Any = getattr(split.base, "config", None)
        family = _FAMILIES.get(getattr(config, "model_type", ""))
        self._modules: dict[str, Any] = {
            f"{split.prefix}.{name}": module
            for name, module in split.base.named_modules()
            if family and type(module).__name__ == family.attention
        }
        if family is None or not self._modules or getattr(config, "is_decoder", False):
            raise ModelError(
                f"an encoder of a family that takes a prefix: {', '.join(sorted(_FAMILIES))}",
                f"{type(split.base).__name__}",
                "Use another tuner, such as 'bitfit' or 'lora', which work on any encoder.",
            )
        if not family.forward and not hasattr(_source(self._modules), "ALL_ATTENTION_FUNCTIONS"):
            raise ModelError(
                f"a {config.model_type} whose attention function can be chosen by name",
                f"that of transformers {transformers.__version__}, which has its own",
                "Update transformers, or use another tuner, such as 'bitfit' or 'lora'.",
            )
        self._config, self._forward = config, family.forward
        self._implementation: str | None = config._attn_implementation

    def count(self, tokens: int) -> int:
        """Compute how many numbers all prefixes hold, of so many tokens for each head."""
        width: int = self._config.hidden_size
        return 2 * tokens * width * len(self._modules)

    def install(self, tokens: int, std: float) -> dict[str, nn.Parameter]:
        """Give every module a prefix of so many keys and values for each head; these by name.

        ``std`` is the standard deviation of their initial values.
        """
        for module in self._modules.values():
            for kind in (KEYS, VALUES):
                module.register_parameter(kind, self._draw(module, tokens, std))
            if self._forward:
                module.forward = MethodType(self._forward, module)
        if not self._forward:
            eager = self._implementation == "eager"
            self._config._attn_implementation = _EAGER if eager else _SDPA
        return {
            f"{name}.{kind}": getattr(module, kind)
            for name, module in self._modules.items()
            for kind in (KEYS, VALUES)
        }

    def remove(self) -> None:
        """Take every prefix away, so that the modules are again what they were."""
        for module in self._modules.values():
            delattr(module, KEYS)
            delattr(module, VALUES)
            if self._forward:
                del module.forward
        if not self._forward:
            self._config._attn_implementation = self._implementation

    def _draw(self, module: nn.Module, tokens: int, std: float) -> nn.Parameter:
        heads = self._config.num_attention_heads
        width = getattr(module, "attention_head_size", self._config.hidden_size // heads)
        weight = next(module.parameters())
        # Drawn on the CPU, so that a seed gives the same values on every device.
        return nn.Parameter((std * torch.randn(heads, tokens, width)).to(weight))


def _source(modules: dict[str, Any]) -> Any:
    """Return the Python module that defines the attention modules' class."""
    return sys.modules[type(next(iter(modules.values()))).__module__]


def _join(module: Any, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Put the prefix in front of keys and values, both (b, heads, L, width)."""
    prefixes = (getattr(module, kind).to(key.dtype) for kind in (KEYS, VALUES))
    keys, values = (p.expand(key.shape[0], -1, -1, -1) for p in prefixes)
    return torch.cat((keys, key), dim=2), torch.cat((values, value), dim=2)


def _show(mask: torch.Tensor | None, tokens: int) -> torch.Tensor | None:
    """Extend a mask, whose last dimension are the keys, so that all queries see the prefix."""
    if mask is None:
        return None
    return pad(mask, (tokens, 0), value=True if mask.dtype == torch.bool else 0.0)


def _eager(module: Any, *args: Any, **kwargs: Any) -> Any:
    return sys.modules[type(module).__module__].eager_attention_forward(module, *args, **kwargs)


def _prefixed(attend: Callable[..., Any]) -> Callable[..., Any]:
    def forward(
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **kwargs: Any,
    ) -> Any:
        keys, values = _join(module, key, value)
        mask = _show(attention_mask, keys.shape[2] - key.shape[2])
        return attend(module, query, keys, values, mask, **kwargs)

    return forward


_EAGER, _SDPA = "headstart_prefix_eager", "headstart_prefix_sdpa"
AttentionInterface.register(_EAGER, _prefixed(_eager))
AttentionInterface.register(_SDPA, _prefixed(sdpa_attention_forward))
AttentionMaskInterface.register(_EAGER, eager_mask)
AttentionMaskInterface.register(_SDPA, sdpa_mask)


def _mpnet(
    self: Any,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    position_bias: torch.Tensor | None = None,
    output_attentions: bool = False,
    **_: Any,
) -> tuple[torch.Tensor, ...]:
    """Stand in for ``MPNetSelfAttention.forward``."""
    shape = (*hidden_states.shape[:-1], -1, self.attention_head_size)
    query, key, value = (
        linear(hidden_states).view(shape).transpose(1, 2) for linear in (self.q, self.k, self.v)
    )
    keys, values = _join(self, key, value)
    tokens = keys.shape[2] - key.shape[2]
    scores = query @ keys.transpose(-1, -2) / math.sqrt(self.attention_head_size)
    for extra in (_show(position_bias, tokens), _show(attention_mask, tokens)):
        scores = scores if extra is None else scores + extra
    probabilities = self.dropout(scores.softmax(dim=-1))
    output = self.o((probabilities @ values).transpose(1, 2).flatten(2))
    return (output, probabilities) if output_attentions else (output,)


def _deberta_v2(
    self: Any,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor,
    output_attentions: bool = False,
    query_states: torch.Tensor | None = None,
    relative_pos: torch.Tensor | None = None,
    rel_embeddings: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Stand in for ``DisentangledSelfAttention.forward``."""
    states = hidden_states if query_states is None else query_states
    heads, width = self.num_attention_heads, self.attention_head_size
    query, key, value = (  # each (b * heads, L, width)
        self.transpose_for_scores(linear(x), heads)
        for linear, x in (
            (self.query_proj, states),
            (self.key_proj, hidden_states),
            (self.value_proj, hidden_states),
        )
    )
    keys, values = _join(self, *(x.unflatten(0, (-1, heads)) for x in (key, value)))
    tokens = keys.shape[2] - key.shape[1]
    terms = 1 + sum(kind in self.pos_att_type for kind in ("c2p", "p2c"))
    scores = query.unflatten(0, (-1, heads)) @ keys.transpose(-1, -2) / math.sqrt(width * terms)
    if self.relative_attention:
        positions = self.disentangled_attention_bias(
            query, key, relative_pos, self.pos_dropout(rel_embeddings), terms
        )
        scores = scores + pad(positions, (tokens, 0)).view_as(scores)
    hidden = ~pad(attention_mask.bool(), (tokens, 0), value=True)
    scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
    probabilities = self.dropout(scores.softmax(dim=-1))
    output = (probabilities @ values).transpose(1, 2).flatten(2)
    return output, probabilities if output_attentions else None


_FAMILIES = {
    "albert": _Family("AlbertAttention"),
    "bert": _Family("BertSelfAttention"),
    "camembert": _Family("CamembertSelfAttention"),
    "deberta-v2": _Family("DisentangledSelfAttention", _deberta_v2),
    "deit": _Family("DeiTAttention"),
    "dinov2": _Family("Dinov2Attention"),
    "distilbert": _Family("DistilBertSelfAttention"),
    "electra": _Family("ElectraSelfAttention"),
    "modernbert": _Family("ModernBertAttention"),
    "mpnet": _Family("MPNetSelfAttention", _mpnet),
    "roberta": _Family("RobertaSelfAttention"),
    "vit": _Family("ViTAttention"),
    "xlm-roberta": _Family("XLMRobertaSelfAttention"),
}
"""By model type."""
