"""BitFit takes the layers' biases and no others, and adds them only where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, LlamaConfig

import headstart as hs
import tiny
import tiny_runs
from headstart.errors import ConfigError, ModelError
from headstart.models.backbone import SplitModel
from headstart.tuners.bitfit import Bitfit

WITH_BIAS = [family for family in tiny.FAMILIES if family != "modernbert"]


def bare() -> SplitModel:
    """A model without biases, whose family's configuration is not known to switch them on."""
    config = LlamaConfig(
        vocab_size=tiny.VOCABULARY, hidden_size=32, intermediate_size=48,
        num_hidden_layers=2, num_attention_heads=4, num_labels=2,
    )  # fmt: skip
    return SplitModel(AutoModelForSequenceClassification.from_config(config))


def test_bert_has_eight_biases_in_each_layer() -> None:
    split = SplitModel(tiny.build("bert"))
    chosen = Bitfit().attach(split)
    wanted = {
        f"bert.encoder.layer.{i}.{name}.bias"
        for i in range(2)
        for name in (
            "attention.self.query", "attention.self.key", "attention.self.value",
            "attention.output.dense", "attention.output.LayerNorm",
            "intermediate.dense", "output.dense", "output.LayerNorm",
        )
    }  # fmt: skip
    assert chosen.keys() == wanted


@pytest.mark.parametrize("family", WITH_BIAS)
def test_it_takes_every_bias_of_the_layers_and_nothing_else(family: str) -> None:
    split = SplitModel(tiny.build(family))
    layers = [layer for _, layer in split.layers()]
    wanted = [m.bias for layer in layers for m in layer.modules() if hasattr(m, "bias")]
    chosen = Bitfit().attach(split)
    assert {id(p) for p in chosen.values()} == {id(p) for p in wanted}
    assert len(chosen) >= 8


def test_albert_shares_one_set_of_biases() -> None:
    chosen = Bitfit().attach(SplitModel(tiny.build("albert")))
    assert len(chosen) == 8
    assert all(".albert_layer_groups.0." in name for name in chosen)


def test_added_biases_start_at_zero_and_change_no_output() -> None:
    split = SplitModel(tiny.build("modernbert"))
    before = split.model(**tiny.batch()).logits
    chosen = Bitfit(add=True).attach(split)
    maps = ("attn.Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo")
    assert chosen.keys() == {f"model.layers.{i}.{name}.bias" for i in range(3) for name in maps}
    assert not any(p.any() for p in chosen.values())
    torch.testing.assert_close(split.model(**tiny.batch()).logits, before, atol=1e-6, rtol=0)


def test_nothing_is_added_beside_biases_that_exist() -> None:
    split = SplitModel(tiny.build("modernbert", attention_bias=True))
    chosen = Bitfit(add=True).attach(split)
    assert {name.split(".", 3)[3] for name in chosen} == {"attn.Wqkv.bias", "attn.Wo.bias"}
    assert chosen.keys() <= split.backbone.keys()


def test_merged_biases_are_said_in_the_configuration() -> None:
    split = SplitModel(tiny.build("modernbert"))
    tuner = Bitfit(add=True)
    chosen = tuner.attach(split, reversible=False)
    tuner.merge(split)
    assert split.model.config.attention_bias is True
    assert split.model.config.mlp_bias is True
    assert chosen.keys() <= split.backbone.keys()


@pytest.mark.parametrize("ask", ["attach", "count"])
def test_no_bias_is_added_unasked_and_it_is_said_so(ask: str) -> None:
    split = SplitModel(tiny.build("modernbert"))
    names = split.model.state_dict().keys()
    with pytest.raises(ModelError, match=r"'bitfit\(add=true\) > full'.*'lora > full'") as error:
        getattr(Bitfit(), ask)(split)
    assert error.value.found == "ModernBertModel, whose layers have none"
    assert split.model.state_dict().keys() == names


@pytest.mark.parametrize("line", ["eh-ft", "eh-ft-reserve", "head > bitfit > full"])
def test_a_model_without_biases_is_refused_before_training(line: str, tmp_path: Path) -> None:
    settings = tiny_runs.inputs(tmp_path, "modernbert")
    with pytest.raises(ModelError, match=r"'bitfit\(add=true\) > full'"):
        hs.fit(**settings, strategy=line, out=tmp_path / "run")
    assert not list(tmp_path.glob("run/*.safetensors"))
    plan = hs.plan(**settings, strategy="bitfit(add=true) > full", out=tmp_path / "run")
    assert plan.counts[0].tuner == 3 * (96 + 32 + 96 + 32)


def test_biases_that_no_checkpoint_can_hold_are_refused_before_training() -> None:
    split = bare()
    names = split.model.state_dict().keys()
    with pytest.raises(ConfigError, match="LlamaModel"):
        Bitfit(add=True).attach(split, reversible=False)
    assert split.model.state_dict().keys() == names


def test_biases_that_no_checkpoint_can_hold_can_be_taken_away() -> None:
    split, tuner = bare(), Bitfit(add=True)
    names = split.model.state_dict().keys()
    assert len(tuner.attach(split)) == 2 * 7
    with pytest.raises(ConfigError, match="LlamaModel"):
        tuner.merge(split)
    tuner.detach(split)
    assert split.model.state_dict().keys() == names


def test_detach_without_memory_is_a_mistake_of_the_caller() -> None:
    split, tuner = SplitModel(tiny.build("bert")), Bitfit()
    tuner.attach(split, reversible=False)
    with pytest.raises(RuntimeError, match="reversible"):
        tuner.detach(split)
