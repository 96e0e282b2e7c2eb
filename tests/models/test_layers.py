"""Where the encoder layers are, in families that keep them in unusual places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

import tiny
import tiny_families
from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.loading import load_classifier
from headstart.models.head_choice import Target
from headstart.tuners import TUNERS
from headstart.tuners._bind import bind, read_strategy

IN_PARTS = ("flaubert", "xlm")
POOLER_FIRST = ("gte", "nomic_bert")
TARGET = Target(("a", "b"))


def _split(family: str) -> SplitModel:
    torch.manual_seed(0)
    config = tiny_families.config_of(family)
    return SplitModel(AutoModelForSequenceClassification.from_config(config).eval())


@pytest.mark.parametrize("family", IN_PARTS)
def test_a_layer_in_several_lists_holds_its_part_of_each(family: str) -> None:
    split = _split(family)
    layers = split.layers()
    assert [layer.name for layer in layers] == ["transformer.*.0", "transformer.*.1"]
    named = dict(split.model.named_parameters())
    for number, layer in enumerate(layers):
        held = {name for name in named if layer.holds(name)}
        assert {name.split(".")[1] for name in held} == {
            "attentions", "layer_norm1", "ffns", "layer_norm2"
        }  # fmt: skip
        assert {name.split(".")[2] for name in held} == {str(number)}
        assert {id(named[name]) for name in held} == {id(p) for p in layer.module.parameters()}
        inside = list(layer.named_modules())
        assert inside
        assert all(split.model.get_submodule(name) is module for name, _, module in inside)
        assert all(layer.within(name) == inner for name, inner, _ in inside)
        assert "attentions.q_lin" in {inner for _, inner, _ in inside}
    assert split.above_layers() == []


def test_lists_of_embedding_tables_are_no_layers() -> None:
    split = _split("markuplm")
    assert [layer.name for layer in split.layers()] == [
        "markuplm.encoder.layer.0", "markuplm.encoder.layer.1"
    ]  # fmt: skip


TABLE = ("adapter", "histogram", "hydra", "ia3", "prefix")
"""Tuners that have to know what a layer's parts are; they name the families that they know."""


@pytest.mark.parametrize("family", [*IN_PARTS, "markuplm"])
@pytest.mark.parametrize("name", list(TUNERS))
def test_a_tuner_trains_it_and_leaves_no_trace(family: str, name: str) -> None:
    split = _split(family)
    digest = split.fingerprint()
    tuner = bind(read_strategy(f"{name} > full").stages[0])
    try:
        trained = tuner.attach(split)
    except ModelError as error:
        assert name in TABLE
        assert "bert, camembert" in str(error)
        return
    assert trained or name == "head"
    split.train_only(trained)
    if tuner.wants_rows:
        tuner.prepare(split, lambda: iter([tiny.batch()]), lambda b: split.model(**b))
    with torch.no_grad():
        for parameter in trained.values():
            parameter.add_(0.1)
    changed = split.model(**tiny.batch()).logits
    tuner.detach(split)
    assert split.fingerprint() == digest
    plain = split.model(**tiny.batch()).logits
    assert (name == "head") == torch.equal(changed, plain)


@pytest.mark.parametrize("family", POOLER_FIRST)
def test_a_checkpoint_without_the_pooler_that_comes_first_is_taken(
    family: str, tmp_path: Path
) -> None:
    folder = tiny_families.save_pretrained(family, tmp_path / family)
    model: Any = AutoModelForSequenceClassification.from_config(tiny_families.config_of(family))
    base = getattr(model, model.base_model_prefix)
    base.pooler = None
    base.save_pretrained(folder)
    split = load_classifier(str(folder), TARGET)
    pooler = [name for name in split.head if ".pooler." in name]
    assert pooler, "drawn anew, and so part of the head"
    assert not any(".pooler." in name for name in split.backbone)
