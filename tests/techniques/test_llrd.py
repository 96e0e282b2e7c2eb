"""The learning rate of every layer, and that the optimizer gets it."""

from __future__ import annotations

import pytest

import tiny
from headstart.models.backbone import SplitModel
from headstart.techniques.llrd import Llrd
from headstart.training.optim import OptimizerSettings, build_optimizer
from techniques.made import setting


@pytest.mark.parametrize("family", [*tiny.FAMILIES, *tiny.IMAGE])
def test_each_layer_has_the_factor_of_the_one_above(family: str) -> None:
    split = SplitModel(tiny.build(family))
    technique = Llrd(0.5)
    technique.begin(setting(split))
    layers = [f"{name}." for name, _ in split.layers()]
    expected = {lead: 0.5**above for above, lead in enumerate(reversed(layers))}
    seen = set()
    for name in split.backbone:
        lead = next((lead for lead in layers if name.startswith(lead)), "")
        seen.add(lead)
        if lead:
            assert technique.rate(name) == expected[lead], name
        elif split.is_above_layers(name):
            assert technique.rate(name) == 1.0, name
        else:
            assert technique.rate(name) == 0.5 ** len(layers), name
    assert {*layers, ""} == seen
    assert all(technique.rate(name) == 1.0 for name in split.head)


def test_the_optimizer_gets_the_rates() -> None:
    split = SplitModel(tiny.build("bert"))
    technique = Llrd(0.5)
    technique.begin(setting(split))
    settings = OptimizerSettings(lr=1e-3, head_lr=1e-2)
    optimizer = build_optimizer(split.head, split.backbone, settings, technique.rate)
    peaks = {id(p): group["peak"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: peaks[id(p)] for name, p in split.model.named_parameters()}
    assert found["bert.encoder.layer.1.output.dense.weight"] == pytest.approx(1e-3)
    assert found["bert.encoder.layer.0.output.dense.bias"] == pytest.approx(5e-4)
    assert found["bert.embeddings.word_embeddings.weight"] == pytest.approx(2.5e-4)
    assert found["bert.pooler.dense.weight"] == pytest.approx(1e-3)
    assert found["classifier.weight"] == pytest.approx(1e-2)
