"""The norms inside the layers train, with and without a bias, and nothing else."""

from __future__ import annotations

import pytest
from torch import nn
from transformers import AutoModelForSequenceClassification, LlamaConfig

import tiny
from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.tuners.layernorm import Layernorm
from tiny_tuners import EVERY

NORMS = {
    "deberta-v2": ("attention.output.LayerNorm", "output.LayerNorm"),
    "distilbert": ("sa_layer_norm", "output_layer_norm"),
    "mpnet": ("attention.LayerNorm", "output.LayerNorm"),
    "vit": ("layernorm_before", "layernorm_after"),
}
NORMS |= dict.fromkeys(("bert", "roberta", "electra", "xlm-roberta"), NORMS["deberta-v2"])
NORMS |= {"camembert": NORMS["bert"], "audio-spectrogram-transformer": NORMS["vit"]}


def llama() -> SplitModel:
    config = LlamaConfig(
        vocab_size=tiny.VOCABULARY, hidden_size=32, intermediate_size=48,
        num_hidden_layers=2, num_attention_heads=4, num_labels=2,
    )  # fmt: skip
    return SplitModel(AutoModelForSequenceClassification.from_config(config))


@pytest.mark.parametrize("family", NORMS)
def test_two_norms_in_every_layer(family: str) -> None:
    split = SplitModel(tiny.build(family))
    chosen = Layernorm().attach(split)
    assert chosen.keys() == {
        f"{layer}.{norm}.{part}"
        for layer, _ in split.layers()
        for norm in NORMS[family]
        for part in ("weight", "bias")
    }


def test_albert_has_one_set_and_modernbert_has_no_bias() -> None:
    assert set(EVERY) == {*NORMS, "albert", "modernbert"}
    albert = Layernorm().attach(SplitModel(tiny.build("albert")))
    assert {n.split("albert_layers.0.")[1].split(".")[-2] for n in albert} == {
        "LayerNorm", "full_layer_layer_norm",
    }  # fmt: skip
    assert len(albert) == 4
    modern = Layernorm().attach(SplitModel(tiny.build("modernbert")))
    first = {"model.layers.0.mlp_norm.weight"}  # the first layer has no norm before attention
    others = {f"model.layers.{i}.{n}_norm.weight" for i in (1, 2) for n in ("attn", "mlp")}
    assert modern.keys() == first | others


def test_an_rms_norm_of_a_models_own_has_its_weight_alone() -> None:
    chosen = Layernorm().attach(llama())
    norms = ("input_layernorm", "post_attention_layernorm")
    assert chosen.keys() == {f"model.layers.{i}.{n}.weight" for i in range(2) for n in norms}
    assert Layernorm().count(llama()) == 2 * 2 * 32


def test_layers_without_norms_are_refused() -> None:
    model = nn.Module()
    model.base_model_prefix = "body"  # type: ignore[assignment]
    model.body = nn.Module()
    model.body.blocks = nn.ModuleList([nn.Linear(4, 4)])
    model.out = nn.Linear(4, 2)
    with pytest.raises(ModelError, match=r"norms that have weights.*'bitfit' or 'lora'"):
        Layernorm().attach(SplitModel(model))
