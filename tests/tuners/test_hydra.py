"""Hydra against the equations of arXiv 2309.06922, evaluated apart and by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification

import tiny
from headstart.models.backbone import SplitModel
from headstart.tuners.hydra import Branches, Hydra
from tiny_tuners import EVERY


def filled(a_p: float, b_p: float, a_s: float, b_s: float, s: float = 1.0) -> Branches:
    """One input, one output, rank 1, so that every matrix is a number."""
    part = Branches(1, 1, 1, 1, s, 0.0)
    with torch.no_grad():
        for name, value in (
            ("parallel_a", a_p), ("parallel_b", b_p), ("sequential_a", a_s), ("sequential_b", b_s),
        ):  # fmt: skip
            getattr(part, name).fill_(value)
    return part


def test_both_branches_by_hand() -> None:
    # W = 3, b = 1, x = 2: y = 7. Out = 7 + 0.5 · (5 · 0.2 · 2) + 0.5 · (4 · 0.1 · 7) = 9.4.
    part = filled(0.2, 5.0, 0.1, 4.0, s=0.5)
    out = part(torch.tensor([[2.0]]), torch.tensor([[7.0]]))
    torch.testing.assert_close(out, torch.tensor([[9.4]]))


def test_merge_by_hand() -> None:
    # W' = 3 + 0.5 · (5 · 0.2 + 4 · 0.1 · 3) = 4.1; b' = 1 + 0.5 · 4 · 0.1 · 1 = 1.2; x = 2: 9.4.
    host = nn.Linear(1, 1)
    nn.init.constant_(host.weight, 3.0)
    nn.init.constant_(host.bias, 1.0)
    filled(0.2, 5.0, 0.1, 4.0, s=0.5).merge_into(host)
    torch.testing.assert_close(host.weight, nn.Parameter(torch.tensor([[4.1]])))
    torch.testing.assert_close(host.bias, nn.Parameter(torch.tensor([1.2])))


def test_a_base_encoder_trains_as_many_numbers_as_the_paper_counts() -> None:
    config = AutoConfig.for_model("roberta", vocab_size=100)
    with torch.device("meta"):
        split = SplitModel(AutoModelForSequenceClassification.from_config(config))
    assert (config.num_hidden_layers, config.hidden_size) == (12, 768)
    assert Hydra().count(split) == 331_776
    tuned = Hydra().attach(split)
    assert sum(p.numel() for p in tuned.values()) == 331_776


def test_matrices_have_the_papers_shapes_and_start() -> None:
    chosen = Hydra().attach(SplitModel(tiny.build("bert")))
    prefix = "bert.encoder.layer.1.output.dense.tuner."
    shapes = {n.removeprefix(prefix): tuple(p.shape) for n, p in chosen.items() if prefix in n}
    assert shapes == {
        "parallel_a": (4, 48), "parallel_b": (32, 4),
        "sequential_a": (8, 32), "sequential_b": (32, 8),
    }  # fmt: skip
    for name, parameter in chosen.items():
        if name.endswith("_b"):
            assert not parameter.any()
        else:  # Kaiming-uniform with a = √5: uniform within 1 / √inputs
            bound = parameter.shape[1] ** -0.5
            assert 0.8 * bound < parameter.abs().max() <= bound


@pytest.mark.parametrize("family", EVERY)
@pytest.mark.parametrize("targets", ["ffn", "vision"])
def test_step_0_is_the_checkpoint_and_merged_equals_unmerged(family: str, targets: Any) -> None:
    split, batch = SplitModel(tiny.build(family)), tiny.batch_for(family)
    tuner = Hydra(r_p=2, r_s=2, s=0.7, targets=targets)
    with torch.no_grad():
        start = split.model(**batch).logits
        chosen = tuner.attach(split, reversible=False)
        assert torch.equal(split.model(**batch).logits, start)
        for parameter in chosen.values():
            nn.init.normal_(parameter, std=0.1)
        unmerged = split.model(**batch).logits
        tuner.merge(split)
        merged = split.model(**batch).logits
    assert (unmerged - start).abs().max() > 1e-3
    torch.testing.assert_close(merged, unmerged, atol=1e-5, rtol=0)
    maps = {"ffn": 1, "vision": 2}[targets] * len(split.layers())
    assert len(chosen) == 4 * maps


def test_dropout_acts_in_training_alone() -> None:
    part = Branches(8, 8, 4, 4, 1.0, 0.5)
    for parameter in part.parameters():
        nn.init.normal_(parameter)
    x, y = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    assert not torch.equal(part(x, y), part(x, y))
    part.eval()
    assert torch.equal(part(x, y), part(x, y))
