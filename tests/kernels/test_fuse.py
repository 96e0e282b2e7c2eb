"""Layers in fewer steps: outputs and gradients of the layers themselves, where they fit."""

from __future__ import annotations

import contextlib
import unittest.mock
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from torch.nn import functional

import tiny
from headstart.kernels import fuse, linear
from headstart.kernels.fuse import fused_layers
from headstart.kernels.lora import change_of
from headstart.kernels.mode import FastKernels
from headstart.models.backbone import SplitModel
from headstart.models.heads import EncoderClassifier, HeadSpec
from headstart.training.frozen.first_token import LEAST_ROWS, first_token_only

FAMILIES = ("bert", "roberta", "electra", "xlm-roberta", "camembert")
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def build(family: str = "bert", **settings: Any) -> Any:
    return tiny.build(family, **{**NO_DROPOUT, **settings}).train()


def outcome(model: Any, length: int = 12, seed: int = 3) -> dict[str, torch.Tensor]:
    """Return the logits and every gradient by name."""
    model.zero_grad()
    with FastKernels(seed):
        logits = model(**tiny.batch(length=length)).logits
    logits.float().square().sum().backward()
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {"logits": logits.detach(), **found}


def compare(
    found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], relative: float
) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        error = (found[name] - tensor).float().norm() / tensor.float().norm().clamp(min=0.01)
        assert float(error) < relative, name


@pytest.mark.parametrize("length", [12, 40])  # fewer and more keys than lanes
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_gradients_are_those_of_the_layers(
    family: str, attention: str, length: int
) -> None:
    model = build(family, attn_implementation=attention)
    expected = outcome(model, length)
    with fused_layers(model) as halves:
        assert halves == 4
        compare(outcome(model, length), expected, 1e-4)
    assert all("forward" not in vars(module) for module in model.modules())


@pytest.mark.parametrize("pooling", ["first", "mean", "attention"])
def test_our_own_heads_pool_the_same_states(pooling: str) -> None:
    model = EncoderClassifier(build().bert, HeadSpec.linear(2, pooling=pooling)).train()
    for parameter in model.head.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    expected = outcome(model)
    assert all(f"head.{name}" in expected for name, _ in model.head.named_parameters())
    with fused_layers(model) as halves:
        assert halves == 4
        compare(outcome(model), expected, 5e-4)  # keys' biases: rounding


def test_under_autocast_they_differ_by_rounding() -> None:
    model = build()
    exact = outcome(model)
    with torch.autocast("cpu", torch.bfloat16):
        usual = outcome(model)
        with fused_layers(model):
            found = outcome(model)
    compare(found, exact, 0.05)
    for name, tensor in exact.items():
        ours, theirs = (float((x[name] - tensor).float().norm()) for x in (found, usual))
        assert ours < 1.5 * theirs + 1e-3, name


def test_dropout_is_drawn_from_the_kernels_stream_at_its_rate() -> None:
    model = build(hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3)
    with fused_layers(model):
        first, again, other = (outcome(model, seed=seed)["logits"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    with fused_layers(model):
        ours = torch.stack([outcome(model, seed=n)["logits"] for n in range(90)])
    plain = torch.stack([outcome(model, seed=n)["logits"] for n in range(90, 180)])
    error = (ours.var(0) / 90 + plain.var(0) / 90).sqrt()
    assert bool(((ours.mean(0) - plain.mean(0)).abs() < 5 * error).all())
    assert torch.allclose(ours.std(0), plain.std(0), rtol=0.25)


@pytest.mark.parametrize("trains", ["bias", "query.weight", "LayerNorm.weight", "layer.1."])
def test_only_what_trains_gets_a_gradient(trains: str) -> None:
    model = build()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = trains in name
    expected = outcome(model)
    with fused_layers(model):
        compare(outcome(model), expected, 1e-4)


def with_lora(model: Any, **options: Any) -> Any:
    """Wrap linear maps, and let A and B be no zeros."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        inject_adapter_in_model(LoraConfig(r=3, lora_alpha=7, **options), model.bert)
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                nn.init.normal_(parameter, std=0.3)
    return model.train()


ALL_MAPS = ["query", "key", "value", "dense"]


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("maps", [ALL_MAPS, ["query", "value"], ["output.dense"]])
def test_lora_on_some_maps_is_computed_beside_them(maps: list[str], frozen: bool) -> None:
    model = with_lora(build(), target_modules=maps)
    if not frozen:
        model.requires_grad_(True)
    expected = outcome(model)
    assert sum("lora_" in name for name in expected) >= 4
    with fused_layers(model) as halves:
        assert halves == 4
        compare(outcome(model), expected, 5e-4)  # that of keys' biases is 0 but for rounding


def test_loras_gradients_are_summed_over_all_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_lora(build(), target_modules=ALL_MAPS)
    expected = outcome(model)
    monkeypatch.setattr(linear, "PIECE", 7)  # 48 tokens are no multiple of it
    with fused_layers(model):
        compare(outcome(model), expected, 5e-4)


@pytest.mark.parametrize(
    ("options", "halves"),
    [({}, 4), ({"lora_dropout": 0.1}, 2), ({"use_dora": True}, 2), ({"lora_bias": True}, 2)],
)
def test_other_kinds_of_lora_compute_as_always(options: dict[str, Any], halves: int) -> None:
    model = with_lora(build(), target_modules=["query", "value"], **options)
    with fused_layers(model) as found:
        assert found == halves


def test_what_nobody_asks_a_gradient_of_is_not_kept() -> None:
    def kept(trains: str) -> int:
        model, sizes = build(), {}
        for name, parameter in model.named_parameters():
            parameter.requires_grad = trains in name
        with (
            torch.autograd.graph.saved_tensors_hooks(
                lambda t: sizes.setdefault(t.data_ptr(), t) if t.ndim else t, lambda t: t
            ),
            fused_layers(model),
            FastKernels(1),
        ):
            model(**tiny.batch(length=40))
        weights = {p.data_ptr() for p in model.parameters()}
        return sum(t.numel() for at, t in sizes.items() if at not in weights)

    assert kept("bias") < 0.75 * kept("")


@pytest.mark.parametrize("size", [0.3, 0.03])
def test_rounding_a_weight_with_its_change_is_no_worse_than_rounding_both(size: float) -> None:
    # One tensor's error varies threefold from draw to draw on either side; their middle does not.
    ratios = []
    for seed in range(8):
        model, generator = with_lora(build(), target_modules=ALL_MAPS), torch.Generator()
        generator.manual_seed(seed)
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                nn.init.normal_(parameter, std=size, generator=generator)
        exact = outcome(model)
        with torch.autocast("cpu", torch.bfloat16):
            usual = outcome(model)
            with fused_layers(model):
                found = outcome(model)
        for name, tensor in exact.items():
            ours, theirs = (float((x[name] - tensor).float().norm()) for x in (found, usual))
            ratios.append(ours / max(theirs, 1e-6))
    assert float(np.median(ratios)) < 1.05


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_layers_that_train_from_a_later_step_on_are_computed_as_they_are(kind: torch.dtype) -> None:
    model = build()
    model.bert.requires_grad_(False)
    with torch.autocast("cpu", kind, enabled=kind != torch.float32):
        with fused_layers(model):
            outcome(model)
            model.requires_grad_(True)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(1.5)
            found = outcome(model)
        compare(found, outcome(model), 0.2 if kind == torch.bfloat16 else 5e-4)


def test_of_lora_what_is_frozen_gets_no_gradient() -> None:
    model = with_lora(build(), target_modules=["query", "value"])
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "lora_B" in name
    layer = model.bert.encoder.layer[0].attention.self
    down, up = change_of((layer.query, layer.key, layer.value))
    assert down is not None
    assert up is not None
    assert not down.requires_grad
    assert up.requires_grad
    expected = outcome(model)
    with fused_layers(model):
        compare(outcome(model), expected, 5e-4)


def test_training_goes_the_way_it_goes_without() -> None:
    def train(fused: bool) -> list[float]:
        model, losses = build(), []
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)
        with fused_layers(model) if fused else contextlib.nullcontext():
            for _ in range(20):
                with FastKernels(1), torch.autocast("cpu", torch.bfloat16):
                    logits = model(**tiny.batch()).logits
                loss = functional.cross_entropy(logits.float(), torch.tensor([0, 1, 1, 0]))
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                losses.append(loss.item())
        return losses

    ours, theirs = train(fused=True), train(fused=False)
    assert theirs[-1] < 0.5 * theirs[0]
    assert ours == pytest.approx(theirs, abs=0.1)


def change(model: Any, how: str) -> None:
    layer = model.bert.encoder.layer[0]
    if how == "hook":
        layer.attention.output.dense.register_forward_hook(lambda *_: None)
    elif how == "replaced":
        layer.attention.self.query = nn.Sequential(layer.attention.self.query)
    elif how == "activation":
        layer.intermediate.intermediate_act_fn = nn.Tanh()
    elif how == "no bias":
        layer.output.dense.register_parameter("bias", None)
    elif how == "interface":
        model.config._attn_implementation = "flex_attention"
    elif how == "double":
        model.double()


@pytest.mark.parametrize(
    ("how", "halves"),
    [
        ("nothing", 4), ("hook", 3), ("replaced", 3), ("activation", 3), ("no bias", 3),
        ("interface", 2), ("double", 0),
    ],
)  # fmt: skip
def test_halves_of_layers_that_are_not_plain_compute_as_always(how: str, halves: int) -> None:
    model = build()
    change(model, how)
    with fused_layers(model) as found:
        assert found == halves
    if how in ("replaced", "activation", "hook", "no bias"):
        expected = outcome(model)
        with fused_layers(model):
            compare(outcome(model), expected, 1e-4)


def test_evaluation_and_training_without_kernels_take_the_usual_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, inputs = build(), tiny.batch()
    expected = model(**inputs).logits

    def fail(*_: Any) -> None:
        raise AssertionError("the kernels were used")

    monkeypatch.setattr(fuse.SelfAttention, "apply", fail)
    monkeypatch.setattr(fuse.FeedForward, "apply", fail)
    with fused_layers(model):
        assert torch.equal(model(**inputs).logits, expected)
        with FastKernels(1), torch.no_grad():
            assert torch.equal(model(**inputs).logits, expected)
        with FastKernels(1), pytest.raises(AssertionError, match="kernels were used"):
            model(**inputs)


@pytest.mark.parametrize("family", [f for f in tiny.FAMILIES if f not in FAMILIES])
def test_other_families_are_left_alone(family: str) -> None:
    with fused_layers(tiny.build(family)) as halves:
        assert halves == 0


@pytest.mark.parametrize("maps", [[], ["query", "value"], ALL_MAPS])
@pytest.mark.parametrize("trains", ["", "bias", "lora_", "layer.1.", "query"])
@pytest.mark.parametrize("length", [12, 40])
def test_a_last_layer_for_the_first_token_alone_gives_the_same(
    length: int, trains: str, maps: list[str]
) -> None:
    model = with_lora(build(), target_modules=maps) if maps else build()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = trains in name or name.startswith("classifier")
    expected = outcome(model, length)
    loader = SimpleNamespace(
        left_padded=False, lengths=np.full(LEAST_ROWS, length), batch=lambda _: tiny.batch()
    )
    with first_token_only(SplitModel(model), cast(Any, loader)) as done:
        assert done
        with fused_layers(model) as halves:
            assert halves == 4
            with no_calls_of(model.bert.encoder.layer[-1].attention.output):
                compare(outcome(model, length), expected, 5e-4)
        last = model.bert.encoder.layer[-1]
        assert vars(last)["forward"].first_token
        compare(outcome(model, length), expected, 5e-4)
    assert "forward" not in vars(last)


@contextlib.contextmanager
def no_calls_of(module: nn.Module) -> Iterator[None]:
    """Fail if a module of this class is called."""
    with unittest.mock.patch.object(type(module), "forward", side_effect=AssertionError("called")):
        yield
