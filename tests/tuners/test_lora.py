"""LoRA wraps the right linear maps, computes what the paper says, and refuses odd knobs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, GPT2Config

import tiny
from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.tuners._peft import LowRankTuner
from headstart.tuners._peft import wrapped as wrapped_layers
from headstart.tuners.dora import Dora
from headstart.tuners.eva import Eva
from headstart.tuners.lora import Lora
from headstart.tuners.pissa import Pissa
from headstart.tuners.rslora import Rslora

ATTENTION = {
    "bert": {"query", "key", "value", "attention.output.dense"},
    "distilbert": {"q_lin", "k_lin", "v_lin", "out_lin"},
    "mpnet": {"attn.q", "attn.k", "attn.v", "attn.o"},
    "deberta-v2": {"query_proj", "key_proj", "value_proj", "attention.output.dense"},
    "modernbert": {"Wqkv", "attn.Wo"},
    "albert": {"query", "key", "value", "attention.dense"},
}
for _family in ("roberta", "electra", "xlm-roberta", "camembert"):
    ATTENTION[_family] = ATTENTION["bert"]


def wrapped(split: SplitModel, **knobs: Any) -> set[str]:
    """Return the names of the linear maps that a fresh tuner wraps."""
    names = Lora(**knobs).attach(split)
    return {name.split(".lora_")[0] for name in names}


def gpt2() -> SplitModel:
    config = GPT2Config(
        vocab_size=tiny.VOCABULARY, n_embd=32, n_layer=2, n_head=4, pad_token_id=tiny.PAD,
    )  # fmt: skip
    return SplitModel(AutoModelForSequenceClassification.from_config(config).eval())


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_default_targets_are_the_attention_maps_of_every_layer(family: str) -> None:
    assert len(ATTENTION) == len(tiny.FAMILIES)
    split = SplitModel(tiny.build(family))
    layers, ends = split.layers(), ATTENTION[family]
    found = wrapped(split)
    assert len(found) == len(layers) * len(ends)
    for name, _ in layers:
        inside = {f for f in found if f.startswith(f"{name}.")}
        assert {e for e in ends if any(f.endswith(f".{e}") for f in inside)} == ends


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_all_targets_are_the_feed_forward_maps_too(family: str) -> None:
    some, every = (SplitModel(tiny.build(family)) for _ in range(2))
    extra = wrapped(every, targets="all") - wrapped(some)
    assert len(extra) == 2 * len(some.layers())


def test_merge_adds_alpha_over_r_times_b_a() -> None:
    split = SplitModel(tiny.build("bert"))
    name = "bert.encoder.layer.1.attention.self.query"
    weight: Any = split.backbone[f"{name}.weight"]
    before = weight.detach().clone()
    tuner = Lora(r=4, alpha=6.0)
    chosen = tuner.attach(split, reversible=False)
    a, b = (chosen[f"{name}.lora_{x}.default.weight"] for x in "AB")
    assert a.shape == (4, 32)
    assert b.shape == (32, 4)
    assert not b.any()
    torch.nn.init.normal_(b)
    tuner.merge(split)
    torch.testing.assert_close(weight, before + 6.0 / 4 * b @ a)


@pytest.mark.parametrize("kind", [Lora, Rslora, Dora, Pissa, Eva])
def test_defaults_are_those_of_eh_ft(kind: type[LowRankTuner]) -> None:
    """Rank 8 and alpha 16 (arXiv 2210.16771, appendix), so that the change counts twice."""
    split = SplitModel(tiny.build("bert"))
    chosen = kind().attach(split)
    (layer, *_) = wrapped_layers(split).values()
    assert {len(p) for n, p in chosen.items() if "lora_A" in n} == {8}
    assert layer.scaling["default"] == (16 / 8**0.5 if kind is Rslora else 2.0)
    assert not [m for m in split.model.modules() if "lora_" in str(m) and dropping(m)]


def dropping(module: Any) -> bool:
    return any(getattr(part, "p", 0.0) for part in getattr(module, "lora_dropout", {}).values())


def test_attaching_changes_no_output_and_no_mode() -> None:
    split = SplitModel(tiny.build("bert"))
    before = split.model(**tiny.batch()).logits
    Lora(dropout=0.5).attach(split)
    assert not any(module.training for module in split.model.modules())
    assert torch.equal(split.model(**tiny.batch()).logits, before)


def test_another_seed_gives_another_start() -> None:
    def start(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        chosen = Lora().attach(SplitModel(tiny.build("bert")))
        return torch.cat([p.flatten() for p in chosen.values()])

    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))


def test_a_decoder_with_transposed_weights_merges_too() -> None:
    split, tuner = gpt2(), Lora(targets="all")
    chosen = tuner.attach(split, reversible=False)
    for parameter in chosen.values():
        torch.nn.init.normal_(parameter, std=0.05)
    unmerged = split.model(**tiny.batch()).logits
    tuner.merge(split)
    assert len(chosen) == 2 * 2 * 4
    torch.testing.assert_close(split.model(**tiny.batch()).logits, unmerged, atol=1e-5, rtol=0)


def test_a_model_without_attention_is_refused() -> None:
    model = torch.nn.Module()
    model.base_model_prefix = "body"  # type: ignore[assignment]
    model.body = torch.nn.Module()
    model.body.blocks = torch.nn.ModuleList([torch.nn.Linear(4, 4)])
    model.out = torch.nn.Linear(4, 2)
    with pytest.raises(ModelError, match="targets=all"):
        Lora().attach(SplitModel(model))
