"""A tiny random checkpoint of any family of which transformers has a sequence classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

import tiny

_BY_NAME: dict[Any, str] = {
    tiny.VOCABULARY: "vocab_size",
    32: "hidden_size embedding_size d_model dim emb_dim n_embd pooler_hidden_size "
    "attention_hidden_size word_embed_proj_dim input_embedding_size",
    4: "num_attention_heads num_key_value_heads n_heads n_head num_heads num_kv_heads "
    "num_experts num_local_experts n_routed_experts n_mamba_heads linear_num_key_heads "
    "linear_num_value_heads q_lora_rank kv_lora_rank qk_rope_head_dim qk_nope_head_dim rotary_dim",
    8: "head_dim v_head_dim d_head d_kv attention_head_dim linear_key_head_dim "
    "linear_value_head_dim sliding_window mamba_d_state",
    48: "intermediate_size moe_intermediate_size shared_expert_intermediate_size hidden_dim "
    "d_inner dff n_inner ffn_dim ffn_hidden_size",
    2: "num_hidden_layers n_layers n_layer num_layers num_experts_per_tok max_window_layers",
    1: "n_group topk_group first_k_dense_replace",
    160: "max_position_embeddings n_positions",
    tiny.PAD: "pad_token_id",
    0: "bos_token_id cls_token_id",
    tiny.VOCABULARY - 1: "mask_token_id",
}  # fmt: skip
"""Settings of the families that have them, by value."""
_EOS = {"eos_token_id": 2, "sep_token_id": 2}
_OWN: dict[str, dict[str, Any]] = {
    "cohere_compass_text": {"rope_parameters": {
        kind: {"rope_type": "default", "rope_theta": 10000.0}
        for kind in ("full_attention", "sliding_attention")
    }},
    "falcon": {"head_dim": ...},
    "funnel": {"num_hidden_layers": ..., "block_sizes": [1, 1], "num_decoder_layers": 1},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
}  # fmt: skip
"""What a family needs besides; ``...`` where it must not be given what the others are."""
_LARGEST = 1_000_000


def save_pretrained(family: str, folder: Path, *, weights: bool = True) -> Path:
    """Write a checkpoint without head, and a tokenizer.

    Args:
        family: Any that has a class for sequence classification.
        folder: Where to.
        weights: Whether it has any.

    Returns:
        The folder.
    """
    config = config_of(family)
    config.save_pretrained(folder)
    tiny.tokenizer("roberta").save_pretrained(folder)
    if not weights:
        return folder
    auto = AutoModelForSequenceClassification
    with torch.device("meta"):
        size = sum(p.numel() for p in auto.from_config(config).parameters())
    assert size < _LARGEST, f"{family} has {size:,} numbers; add settings to make it smaller"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = auto.from_config(config)
    getattr(model, model.base_model_prefix).save_pretrained(folder)
    return folder


def config_of(family: str) -> Any:
    """Return a tiny configuration.

    Args:
        family: Any that has a class for sequence classification.

    Returns:
        The configuration.
    """
    plain = AutoConfig.for_model(family)
    sizes = {
        name: value
        for value, names in _BY_NAME.items()
        for name in names.split()
        if hasattr(plain, name)
    }
    settings = sizes | _EOS | _OWN.get(family, {})
    return AutoConfig.for_model(family, **{n: v for n, v in settings.items() if v is not ...})
