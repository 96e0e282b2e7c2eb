"""What trains when under gradual unfreezing, and how large a head begins."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import tiny
from headstart.models.backbone import SplitModel
from headstart.models.heads import EncoderClassifier, HeadSpec
from headstart.techniques.gradual_unfreezing import GradualUnfreezing, unfrozen
from headstart.techniques.head_norm import HeadNorm, rescale
from headstart.techniques.reinit import Reinit
from techniques.made import setting


def test_groups_join_after_equal_parts() -> None:
    found = [unfrozen(step, 24, 3, 0.5) for step in range(24)]
    assert found == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 12
    assert [unfrozen(step, 10, 1, 1.0) for step in (0, 9, 10)] == [0, 0, 1]
    assert unfrozen(3, 10, 100, 0.1) == 100


def test_the_top_layer_comes_first_and_the_embeddings_last() -> None:
    split = SplitModel(tiny.build("bert"))
    technique = GradualUnfreezing(share=1.0)
    count = len(split.layers())
    technique.begin(setting(split, steps=count + 1))
    joined: list[set[str]] = []
    for step in range(count + 2):
        technique.before_step(step)
        joined.append({n for n, p in split.model.named_parameters() if p.requires_grad})
    assert joined[0] == set(split.head)
    top = f"{split.layers()[-1][0]}."
    fresh = joined[1] - joined[0]
    assert any(name.startswith(top) for name in fresh)
    assert all(name.startswith(top) or split.is_above_layers(name) for name in fresh)
    assert all("embeddings" in name for name in joined[count + 1] - joined[count])
    assert joined[-1] == {n for n, _ in split.model.named_parameters()}
    technique.before_step(0)
    technique.close()
    assert all(p.requires_grad for p in split.model.parameters())


def test_a_frozen_layer_gets_no_gradient() -> None:
    split = SplitModel(tiny.build("bert"))
    technique = GradualUnfreezing()
    made = setting(split, steps=100)
    technique.begin(made)
    technique.before_step(0)
    (batch,) = made.batches()
    made.loss(batch).backward()
    technique.gradients(0)
    found = {n for n, p in split.model.named_parameters() if p.grad is not None}
    assert found == set(split.head)


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert"])
def test_the_top_layer_begins_anew_and_no_other(family: str) -> None:
    """Everything is 7 before, so that what is drawn afterwards is seen; the rest stays 7."""
    split = SplitModel(tiny.build(family))
    with torch.no_grad():
        for parameter in split.model.parameters():
            parameter.fill_(7.0)
    Reinit(k=1).begin(setting(split))
    top = f"{split.layers()[-1][0]}."
    spread = split.model.config.initializer_range  # type: ignore[union-attr]
    for name, parameter in split.model.named_parameters():
        anew = name.startswith(top) or split.is_above_layers(name)
        assert bool((parameter != 7).all()) == bool((parameter != 7).any()) == anew, name
        if anew and parameter.ndim == 2 and family != "modernbert":  # which scales some by depth
            assert parameter.std().item() == pytest.approx(spread, rel=0.2)  # type: ignore[arg-type]


def test_a_map_is_rescaled_with_its_bias() -> None:
    linear = nn.Linear(2, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[3.0, 4.0]]))
        linear.bias.fill_(10.0)
    rescale(linear, 1.0)
    assert linear.weight.flatten().tolist() == pytest.approx([0.6, 0.8])
    assert linear.bias.item() == pytest.approx(2.0)
    nn.init.zeros_(linear.weight)
    rescale(linear, 1.0)
    assert not linear.weight.any()


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
def test_no_prediction_changes_with_the_norm(family: str) -> None:
    split = SplitModel(tiny.build(family))
    split.model.eval()
    before = split.model(**tiny.batch()).logits.detach()
    HeadNorm(to=7.0).begin(setting(split))
    after = split.model(**tiny.batch()).logits.detach()
    (last,) = [p for n, p in split.head.items() if p.ndim == 2 and len(p) == 2]
    assert last.norm().item() == pytest.approx(7.0, rel=1e-5)
    ratio = (after / before).flatten()
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-3, atol=1e-4)


def test_zero_stands_for_a_fresh_head() -> None:
    """Entries of a fresh head are N(0, s^2): their norm is near s times the root of the count."""
    split = SplitModel(tiny.build("bert"))
    HeadNorm(to=100.0).begin(setting(split))
    HeadNorm().begin(setting(split))
    weight = split.model.classifier.weight  # type: ignore[union-attr]
    spread = split.model.config.initializer_range  # type: ignore[union-attr]
    assert weight.norm().item() == pytest.approx(spread * weight.numel() ** 0.5, rel=0.3)  # type: ignore[union-attr,operator]


def test_heads_of_ours_are_rescaled_too() -> None:
    spec = HeadSpec("mlp", 1, 64, 0.0, 0.005, one_logit=True)
    split = SplitModel(EncoderClassifier(tiny.build("bert").bert, spec))  # type: ignore[attr-defined]
    HeadNorm(to=100.0).begin(setting(split))
    HeadNorm().begin(setting(split))
    assert split.model.head.out.weight.norm().item() == pytest.approx(0.005 * 8, rel=0.3)  # type: ignore[union-attr,operator]
