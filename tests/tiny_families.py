"""A tiny random checkpoint of any family of which transformers has a sequence classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

import tiny

_COMMON: tuple[tuple[Any, str], ...] = (
    (tiny.VOCABULARY, "vocab_size"),
    (32, "hidden_size embedding_size d_model dim emb_dim n_embd pooler_hidden_size "
         "attention_hidden_size word_embed_proj_dim input_embedding_size"),
    (4, "encoder_attention_heads decoder_attention_heads "
        "num_attention_heads num_key_value_heads n_heads n_head num_heads num_kv_heads "
        "num_experts num_local_experts n_routed_experts n_mamba_heads linear_num_key_heads "
        "linear_num_value_heads q_lora_rank kv_lora_rank qk_rope_head_dim qk_nope_head_dim "
        "rotary_dim"),
    (8, "head_dim v_head_dim d_head d_kv attention_head_dim linear_key_head_dim "
        "linear_value_head_dim sliding_window mamba_d_state"),
    (48, "encoder_ffn_dim decoder_ffn_dim "
         "intermediate_size moe_intermediate_size shared_expert_intermediate_size hidden_dim "
         "d_inner dff n_inner ffn_dim ffn_hidden_size"),
    (2, "encoder_layers decoder_layers "
        "num_hidden_layers n_layers n_layer num_layers num_experts_per_tok max_window_layers "
        "eos_token_id"),
    (1, "n_group topk_group first_k_dense_replace"),
    (160, "max_position_embeddings n_positions"),
    (tiny.PAD, "pad_token_id"),
    (0, "bos_token_id"),
    (4, "mask_token_id"),
)  # fmt: skip
"""Values, and the settings that have them in each family that has the setting."""
_LATENT = {"head_dim": 4}
_HYBRID = {"layer_types": ["linear_attention", "full_attention"]}
_SHARED = {  # the second hybrid layer shares the weights of the first
    "layers_block_type": ["linear_attention", "hybrid", "hybrid"], "num_hidden_layers": 3,
    "attention_hidden_size": 64, "attention_head_dim": 16,
}  # fmt: skip
_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
_OWN: dict[str, dict[str, Any]] = {
    "axk1": _LATENT,
    "cohere_compass_text": {
        "rope_parameters": {"full_attention": _ROPE, "sliding_attention": _ROPE}
    },
    "deepseek_v3": _LATENT,
    "falcon": {"head_dim": ...},
    "funnel": {"num_hidden_layers": ..., "block_sizes": [1, 1], "num_decoder_layers": 1},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "layoutlmv3": {"coordinate_size": 6, "shape_size": 4},
    "lilt": {"hidden_size": 48, "max_2d_position_embeddings": 64},
    "longformer": {"attention_window": 8},
    "luke": {"entity_vocab_size": 8, "entity_emb_size": 8},
    "markuplm": {"xpath_unit_hidden_size": 4, "max_depth": 4},
    "qwen3_5_text": _HYBRID,
    "qwen3_next": _HYBRID,
    "reformer": {"axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 20]},
    "roc_bert": {
        "pronunciation_vocab_size": tiny.VOCABULARY, "pronunciation_embed_dim": 8,
        "shape_vocab_size": tiny.VOCABULARY, "shape_embed_dim": 8,
    },
    "xlnet": {"max_position_embeddings": ...},
    "xmod": {"default_language": "en_XX"},
    "zamba": _SHARED,
    "zamba2": _SHARED,
}  # fmt: skip
"""What a family needs besides; ``...`` where it must not be given what the others are."""
_LARGEST = 1_000_000


def save_pretrained(family: str, folder: Path, *, weights: bool = True, **settings: Any) -> Path:
    """Write a checkpoint without head, and a tokenizer, of a family with a sequence classifier."""
    config = config_of(family, **settings)
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


def config_of(family: str, **settings: Any) -> Any:
    """Return a tiny configuration of any family with a sequence classifier."""
    plain = AutoConfig.for_model(family)
    sizes = {
        name: value for value, names in _COMMON for name in names.split() if hasattr(plain, name)
    }
    chosen = sizes | _OWN.get(family, {}) | settings
    return AutoConfig.for_model(family, **{n: v for n, v in chosen.items() if v is not ...})
