"""The scale of a number goes into the last linear map, so that predictions come in its units."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tiny
from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.models.heads import EncoderClassifier, HeadSpec
from headstart.models.rescale import (
    divide_logits,
    require_divisible,
    require_rescalable,
    rescale_output,
)

MEAN, SCALE = -120.0, 35.5


@torch.no_grad()
def predictions(split: SplitModel) -> torch.Tensor:
    found: torch.Tensor = split.model.eval()(**tiny.batch()).logits
    return found


def regressor(family: str, head: str = "native") -> SplitModel:
    native: Any = tiny.build(family, num_labels=1)
    if head == "native":
        return SplitModel(native)
    spec = HeadSpec.linear(1) if head == "linear" else HeadSpec.mlp(1)
    return SplitModel(EncoderClassifier(getattr(native, native.base_model_prefix), spec))


CASES = [(family, "native") for family in tiny.FAMILIES] + [("bert", "linear"), ("bert", "mlp")]


@pytest.mark.parametrize(("family", "head"), CASES)
def test_predictions_come_in_the_users_units(family: str, head: str) -> None:
    split = regressor(family, head)
    before, fingerprint = predictions(split), split.fingerprint()
    rescale_output(split, MEAN, SCALE)
    torch.testing.assert_close(predictions(split), SCALE * before + MEAN, atol=1e-3, rtol=1e-5)
    assert split.fingerprint() == fingerprint
    rescale_output(split, -MEAN / SCALE, 1 / SCALE)
    torch.testing.assert_close(predictions(split), before, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["bert", "distilbert", "albert"])
def test_a_temperature_divides_weights_and_biases(family: str) -> None:
    split = SplitModel(tiny.build(family, num_labels=3))
    end = require_divisible(split, 3)
    with torch.no_grad():
        end.bias.copy_(torch.tensor([3.0, -2.0, 1.0]))
    before = predictions(split)
    divide_logits(split, 3, 2.5)
    torch.testing.assert_close(predictions(split), before / 2.5, atol=1e-5, rtol=1e-5)


def test_a_head_without_a_last_linear_map_is_refused() -> None:
    for model in (tiny.build("bert", num_labels=3), tiny.build("bert", num_labels=1)):
        if model.classifier.out_features == 1:  # type: ignore[union-attr]
            model.classifier.bias = None  # type: ignore[union-attr]
        with pytest.raises(ModelError, match="ends in a linear map"):
            rescale_output(SplitModel(model), MEAN, SCALE)
        with pytest.raises(ModelError, match="ends in a linear map"):
            require_rescalable(SplitModel(model))


def test_asking_whether_a_head_can_be_rescaled_changes_nothing() -> None:
    split = regressor("bert")
    head = split.head_state()
    assert require_rescalable(split).weight is split.head["classifier.weight"]
    assert all(torch.equal(head[name], tensor) for name, tensor in split.head.items())
