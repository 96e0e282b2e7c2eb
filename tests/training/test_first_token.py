"""The last layer for the first token alone: same logits and gradients, and less computed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tiny
from headstart.kernels.fuse import fused_layers
from headstart.kernels.mode import FastKernels
from headstart.models.backbone import SplitModel
from headstart.models.heads import EncoderClassifier, HeadSpec
from headstart.targets._base import TargetKind
from headstart.targets.classes import Classes
from headstart.targets.number import Number
from headstart.training.evaluate import predict_logits
from headstart.training.frozen.first_token import LEAST_ROWS, first_token_only
from headstart.training.loader import BatchLoader
from headstart.training.machine.runtime import Runtime
from headstart.training.seeds import seeded

Make = Callable[..., BatchLoader]

KNOWN = ("bert", "roberta", "distilbert", "electra", "xlm-roberta", "camembert")
BATCH = np.array([4, 0, 9])
NO_DROPOUT: dict[str, dict[str, Any]] = {
    family: {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0} for family in KNOWN
}
NO_DROPOUT["distilbert"] = {"dropout": 0.0, "attention_dropout": 0.0}


def plain(labels: torch.Tensor) -> TargetKind:
    return Number() if labels.is_floating_point() else Classes(("a", "b"))


def build(family: str, kind: str = "sequence", **settings: Any) -> SplitModel:
    native: Any = tiny.build(family, kind="choice" if kind == "choice" else "sequence", **settings)
    if kind == "mlp":
        backbone = getattr(native, native.base_model_prefix)
        with seeded(0):  # a unit at the very edge of ReLU would differ by rounding alone
            native = EncoderClassifier(backbone, HeadSpec.mlp(2)).eval()
    return SplitModel(native)


def outcome(split: SplitModel, loader: BatchLoader) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return logits, and the gradients of all parameters that get one."""
    batch = loader.batch(BATCH)
    labels = batch.pop("labels")
    logits = split.model(**batch).logits
    split.model.zero_grad()
    plain(labels).row_losses(logits, labels).sum().backward()
    named = split.model.named_parameters()
    return logits.detach(), {n: p.grad.clone() for n, p in named if p.grad is not None}


@pytest.mark.parametrize("kind", ["sequence", "choice", "mlp"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", KNOWN)
def test_logits_and_all_gradients_stay(
    family: str, attention: str, kind: str, make_loader: Make
) -> None:
    split = build(family, kind, attn_implementation=attention)
    loader = make_loader(choices=3 if kind == "choice" else 1)
    logits, gradients = outcome(split, loader)
    with first_token_only(split, loader) as done:
        assert done
        found, slopes = outcome(split, loader)
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(found, logits, atol=1e-5, rtol=1e-5)
    assert slopes.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(slopes[name], gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", KNOWN)
def test_of_a_mask_the_first_tokens_own_row_counts(
    family: str, attention: str, fused: bool, make_loader: Make
) -> None:
    """Each token may look at others; a mask that only hides padding has equal rows."""
    split, loader = (
        build(family, attn_implementation=attention, **NO_DROPOUT[family]),
        make_loader(),
    )
    layer: Any = split.layers()[-1][1]
    generator = torch.Generator().manual_seed(3)
    states = torch.randn(2, 6, 32, generator=generator)
    mask = torch.rand(2, 1, 6, 6, generator=generator) < 0.5
    mask[:, :, range(6), range(6)] = True
    assert not torch.equal(mask[:, :, 0], mask[:, :, -1])
    mask = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    expected = layer(states, attention_mask=mask)[:, :1]
    with first_token_only(split, loader) as done:
        assert done
        split.model.train(fused)  # without dropout, so that nothing else changes
        with fused_layers(split.model) if fused else nullcontext(), FastKernels(1):
            found = layer(states, attention_mask=mask)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "first"), [("first", True), ("mean", False), ("attention", False)]
)
def test_all_tokens_are_computed_where_they_are_pooled(
    pooling: str, first: bool, make_loader: Make
) -> None:
    native: Any = tiny.build("bert")
    spec = HeadSpec.linear(2, pooling=pooling)
    split = SplitModel(EncoderClassifier(native.bert, spec).eval())
    for zero in (False, True):  # a head that starts at zero reads no less
        with torch.no_grad():
            split.head["head.out.weight"].fill_(0.0 if zero else 0.1)
        with first_token_only(split, make_loader()) as done:
            assert done == first


@pytest.mark.parametrize("family", KNOWN)
def test_the_last_layer_meets_one_query_a_row_and_is_given_back(
    family: str, make_loader: Make
) -> None:
    split, loader = build(family), make_loader()
    *_, last = (m for n, m in split.base.named_modules() if n.endswith(("query", "q_lin")))
    seen: list[int] = []
    last.register_forward_hook(lambda _, __, output: seen.append(output.shape[1]))
    with first_token_only(split, loader):
        seen.clear()
        outcome(split, loader)
    outcome(split, loader)
    assert seen == [1, int(loader.lengths[BATCH].max())]
    assert "forward" not in vars(split.layers()[-1][1])


def test_a_head_of_zeros_still_tells_what_it_reads(make_loader: Make) -> None:
    split, loader = build("bert"), make_loader()
    for parameter in split.head.values():
        nn.init.zeros_(parameter)
    with first_token_only(split, loader) as done:
        assert done


class Mean(nn.Module):
    """Pools the mean of all tokens."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return states.mean(1)


def leave(split: SplitModel, why: str, make_loader: Make) -> BatchLoader:
    """Give a model or its rows a reason against it, and return the rows."""
    base: Any = split.base
    layer: Any = split.layers()[-1][1]
    if why == "head":
        base.pooler = Mean()
    elif why == "hook":
        layer.attention.register_forward_hook(lambda *_: None)
    elif why == "forward":
        own = layer.attention.self
        own.forward = MethodType(type(own).forward, own)
    elif why == "recorded":
        base.config.output_hidden_states = True
    elif why == "decoder":
        layer.is_decoder = True
    loader = make_loader(LEAST_ROWS - 1 if why == "few" else 20)
    loader.left_padded = why == "left"
    return loader


@pytest.mark.parametrize(
    "why", ["head", "hook", "forward", "recorded", "decoder", "few", "left", "nothing"]
)
def test_where_it_would_change_something_it_is_not_done(why: str, make_loader: Make) -> None:
    split = build("bert")
    with first_token_only(split, leave(split, why, make_loader)) as done:
        assert done == (why == "nothing")


@pytest.mark.parametrize("family", [f for f in tiny.FAMILIES if f not in KNOWN])
def test_other_families_compute_as_always(family: str, make_loader: Make, runtime: Runtime) -> None:
    split, loader = build(family), make_loader()
    before = predict_logits(split.model, loader, runtime, 2)
    with first_token_only(split, loader) as done:
        assert not done
        assert np.array_equal(predict_logits(split.model, loader, runtime, 2), before)
