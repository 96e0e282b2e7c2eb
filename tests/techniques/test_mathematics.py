"""The mathematics of each technique against its source, by numbers worked out beside the code."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn import functional

import tiny
from headstart.models.backbone import SplitModel
from headstart.techniques._masks import keep_masks, keep_part
from headstart.techniques.child_tuning import most_important
from headstart.techniques.class_weights import class_weights
from headstart.techniques.focal import focal_factors
from headstart.techniques.label_smoothing import LabelSmoothing
from headstart.techniques.mixout import Mixout, mixed
from headstart.techniques.noisytune import noise_like
from techniques.made import setting

LOGITS = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
LABELS = torch.tensor([0, 0, 1])


def mixture(
    now: torch.Tensor, anchor: torch.Tensor, anchored: torch.Tensor, p: float
) -> torch.Tensor:
    found = torch.empty_like(now)
    mixed(now, anchor, anchored.to(torch.int16) - 1, 1 / (1 - p), found)
    return found


def test_mixout_of_equation_4() -> None:
    now, anchor = torch.tensor([1.0, 1.0]), torch.tensor([0.2, 0.2])
    found = mixture(now, anchor, torch.tensor([True, False]), 0.5)
    # (m u + (1 - m) w - p u) / (1 - p): (0.2 - 0.1) / 0.5 and (1 - 0.1) / 0.5
    assert found.tolist() == pytest.approx([0.2, 1.8])


def test_mixouts_expectation_is_the_weight() -> None:
    generator = torch.Generator().manual_seed(0)
    now, anchor = torch.full((200_000,), 0.7), torch.full((200_000,), -0.3)
    anchored = torch.rand(200_000, generator=generator) < 0.8
    mean = mixture(now, anchor, anchored, 0.8).mean()
    # standard error: 1 / (1 - p) * sqrt(p (1 - p)) / sqrt(n) = 0.0045
    assert float(mean) == pytest.approx(0.7, abs=0.02)


def test_mixout_without_probability_changes_nothing() -> None:
    now, anchor = torch.randn(5), torch.randn(5)
    torch.testing.assert_close(mixture(now, anchor, torch.zeros(5, dtype=torch.bool), 0.0), now)


def test_mixout_takes_the_anchor_where_it_is_to() -> None:
    now, anchor = torch.randn(5), torch.randn(5)
    assert torch.equal(mixture(now, anchor, torch.ones(5, dtype=torch.bool), 0.9), anchor)


def test_masks_keep_their_share_and_repeat() -> None:
    parameters = {"a": nn.Parameter(torch.empty(300, 400)), "b": nn.Parameter(torch.empty(7))}
    first, again, other = (
        keep_masks(parameters, 0.7, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[n], again[n]) for n in parameters)
    assert not torch.equal(first["a"], other["a"])
    assert set(first["a"].unique().tolist()) == {-1, 0}
    # standard error: sqrt(0.21 / 120000) = 0.0013
    assert first["a"].eq(-1).float().mean().item() == pytest.approx(0.3, abs=0.006)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("integers", [torch.int8, torch.int16])
def test_a_part_of_a_gradient_is_kept_and_scaled(kind: torch.dtype, integers: torch.dtype) -> None:
    gradient = torch.tensor([[1.5, -2.0], [3.0, 4.0]], dtype=kind)
    keep_part(gradient, torch.tensor([[-1, 0], [0, -1]], dtype=integers), 2.0)
    assert gradient.tolist() == [[3.0, 0.0], [0.0, 8.0]]


@torch.no_grad()
def test_a_step_of_mixout_on_a_model() -> None:
    """The mixture stands in for the weights, its gradient goes to them, and they are untouched."""
    split = SplitModel(tiny.build("bert"))
    technique = Mixout(p=0.75)
    technique.begin(setting(split))
    name = "bert.encoder.layer.1.output.dense.weight"
    weight = split.backbone[name]
    pretrained = weight.clone()
    weight.add_(0.5)
    now, place = weight.clone(), weight.data_ptr()
    technique.before_step(0)
    anchored = weight == pretrained
    assert 0.7 < anchored.float().mean().item() < 0.8
    torch.testing.assert_close(weight[~anchored], (pretrained + 0.5 / 0.25)[~anchored])
    weight.grad = torch.ones_like(weight)
    technique.gradients(0)
    assert torch.equal(weight, now)
    assert weight.data_ptr() == place
    torch.testing.assert_close(weight.grad, 4.0 * ~anchored)
    technique.before_step(1)
    assert not torch.equal(weight == pretrained, anchored)
    technique.close()
    assert weight.data_ptr() == place


def test_the_most_important_are_chosen_over_all_parameters_together() -> None:
    scores = {"a": torch.tensor([[9.0, 1.0]]), "b": torch.tensor([4.0, 0.5, 6.0])}
    masks = most_important(scores, 0.4)
    assert masks["a"].tolist() == [[True, False]]
    assert masks["b"].tolist() == [False, False, True]
    assert all(mask.all() for mask in most_important(scores, 1.0).values())


def test_class_weights_are_those_of_scikit_learn() -> None:
    labels = np.repeat([0, 1, 2], [10, 30, 5])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert class_weights([10, 30, 5], 1.0).tolist() == pytest.approx(expected.tolist())


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_class_weights_keep_the_mean(power: float) -> None:
    counts = torch.tensor([10.0, 30.0, 5.0, 0.0])
    weights = class_weights([10, 30, 5, 0], power)
    assert float((weights * counts).sum() / counts.sum()) == pytest.approx(1.0)
    assert weights[3] == 0


def test_focal_factors_of_equation_4() -> None:
    right = [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(3)), 0.5]
    expected = [(1 - p) ** 2 for p in right]
    assert focal_factors(LOGITS, LABELS, 2.0).tolist() == pytest.approx(expected)
    assert focal_factors(LOGITS, LABELS, 0.0).tolist() == [1.0, 1.0, 1.0]


def test_focal_has_a_gradient_at_certainty() -> None:
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    focal_factors(logits, torch.tensor([0]), 0.5).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_smoothed_targets_by_hand() -> None:
    targets = 0.8 * functional.one_hot(LABELS, 2) + 0.2 / 2
    expected = -(targets * LOGITS.log_softmax(1)).sum(1)
    plain = functional.cross_entropy(LOGITS, LABELS, reduction="none")
    torch.testing.assert_close(LabelSmoothing(0.2).row_losses(plain, LOGITS, LABELS), expected)
    torch.testing.assert_close(LabelSmoothing(0.0).row_losses(plain, LOGITS, LABELS), plain)


def test_noise_is_uniform_and_follows_the_spread() -> None:
    weight = 3 * torch.randn(400, 300, generator=torch.Generator().manual_seed(1)) + 5
    noise = noise_like(weight, 0.3, torch.Generator().manual_seed(2))
    bound = 0.15 * float(weight.std(correction=0))
    assert 0.99 * bound < float(noise.abs().max()) <= bound
    assert float(noise.std()) == pytest.approx(2 * bound / math.sqrt(12), rel=0.01)
