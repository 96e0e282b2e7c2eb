"""R3F, SMART and HyPe: what they add, and that they leave the model as it was."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import tiny
from headstart.errors import ModelError
from headstart.kernels.fuse import fused_layers
from headstart.kernels.mode import FastKernels
from headstart.models.backbone import SplitModel
from headstart.techniques import TECHNIQUES, smart
from headstart.techniques._base import Technique
from headstart.techniques._noise import noise_as, symmetric_kl
from headstart.techniques.hype import Hype
from headstart.techniques.r3f import R3f
from headstart.techniques.smart import Smart, ascended, divergence, one_sided
from techniques.made import setting

BATCH = tiny.batch()


def quiet(split: SplitModel) -> SplitModel:
    """Turn dropout off, in training mode."""
    split.model.train()
    for module in split.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return split


@pytest.fixture
def split() -> Iterator[SplitModel]:
    made = quiet(SplitModel(tiny.build("bert")))
    yield made
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in made.model.modules())


def logits(split: SplitModel) -> torch.Tensor:
    found: torch.Tensor = split.model(**BATCH).logits
    return found


def added(technique: Technique, split: SplitModel, step: int = 0) -> torch.Tensor | None:
    technique.begin(setting(split))
    try:
        technique.before_step(step)
        return technique.extra_loss(BATCH, logits(split), step)
    finally:
        technique.close()


def test_symmetric_kl_by_hand() -> None:
    left, right = torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([[0.0, 0.0]])
    # p = (3/4, 1/4), q = (1/2, 1/2): KL(p||q) + KL(q||p) = sum (p - q) ln(p / q)
    expected = 0.25 * math.log(1.5) - 0.25 * math.log(0.5)
    assert symmetric_kl(left, right).item() == pytest.approx(expected)
    both = torch.nn.functional.kl_div(
        right.log_softmax(1), left.softmax(1), reduction="sum"
    ) + torch.nn.functional.kl_div(left.log_softmax(1), right.softmax(1), reduction="sum")
    assert symmetric_kl(left, right).item() == pytest.approx(both.item())


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_noise_has_the_size_that_it_is_said_to_have(kind: Any) -> None:
    states = torch.zeros(100, 300)
    noise = noise_as(states, kind, 0.5, torch.Generator().manual_seed(0))
    spread = 0.5 if kind == "normal" else 0.5 / math.sqrt(3)
    assert noise.std().item() == pytest.approx(spread, rel=0.02)
    assert abs(noise.mean().item()) < 0.01
    assert (noise.abs().max().item() <= 0.5) == (kind == "uniform")


def test_r3f_is_the_divergence_of_a_second_pass_with_noise(split: SplitModel) -> None:
    found = added(R3f(weight=0.7, eps=0.3), split, step=4)
    assert found is not None
    generator = torch.Generator().manual_seed(1000 * len("r3f") + 4)
    words = split.base.get_input_embeddings()  # type: ignore[operator]
    states = words(BATCH["input_ids"])
    noise = torch.empty(states.shape).uniform_(-0.3, 0.3, generator=generator)
    inputs = {name: tensor for name, tensor in BATCH.items() if name != "input_ids"}
    noised = split.model(inputs_embeds=states + noise, **inputs).logits
    torch.testing.assert_close(found, 0.7 * symmetric_kl(logits(split), noised))
    assert (found > 0).all()


def test_r3f_without_noise_adds_nothing(split: SplitModel) -> None:
    assert added(R3f(eps=0.0), split) is None


def test_no_gradient_of_the_noised_pass_reaches_the_table(split: SplitModel) -> None:
    technique = R3f(eps=0.1)
    technique.begin(setting(split))
    technique.before_step(0)
    clean = logits(split).detach()
    extra = technique.extra_loss(BATCH, clean, 0)
    technique.close()
    assert extra is not None
    extra.sum().backward()
    assert split.base.get_input_embeddings().weight.grad is None  # type: ignore[operator]
    assert split.layers()[0][1].attention.self.query.weight.grad is not None  # type: ignore[union-attr]


def test_an_ascent_step_by_hand() -> None:
    noise = torch.tensor([[0.1, 0.0], [0.0, 0.0]])
    gradient = torch.tensor([[-4.0, 2.0], [0.0, 0.0]])
    found = ascended(noise, gradient, 0.5)
    assert found.flatten().tolist() == pytest.approx([-0.4, 0.25, 0.0, 0.0], abs=1e-6)


def test_smart_finds_worse_than_noise_of_the_same_size(split: SplitModel) -> None:
    # In a model without dropout the ascent has only the noise to begin from.
    worst = added(Smart(weight=1.0, sigma=0.02, step=0.05), split)
    noise = added(R3f(weight=1.0, eps=0.05), split)
    assert worst is not None
    assert noise is not None
    assert worst.sum() > 2 * noise.sum()


def test_smart_disturbs_a_row_alike_in_batches_of_any_size(
    split: SplitModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[torch.Tensor] = []

    def noted(noise: torch.Tensor, gradient: torch.Tensor, size: float) -> torch.Tensor:
        found.append(ascended(noise, gradient, size))
        return found[-1]

    monkeypatch.setattr(smart, "ascended", noted)
    technique = Smart()
    technique.begin(setting(split))
    for rows in (4, 1):  # the first row gets the first numbers of the step's noise in both
        technique.before_step(0)
        batch = {name: tensor[:rows] for name, tensor in BATCH.items()}
        technique.extra_loss(batch, split.model(**batch).logits, 0)
    technique.close()
    four, one = found
    # Gradients this small (1e-6) differ by a few percent with the rounding of their forward pass.
    assert (four[0] - one[0]).abs().max() < 0.1 * one.abs().max()


def test_smart_leaves_no_gradient_of_the_ascent(split: SplitModel) -> None:
    technique = Smart(step=0.05)
    technique.begin(setting(split))
    technique.before_step(0)
    technique.extra_loss(BATCH, logits(split), 0)
    technique.close()
    assert all(p.grad is None for p in split.model.parameters())


def test_numbers_are_compared_by_their_squared_difference() -> None:
    left, right = torch.tensor([[1.0], [2.0]]), torch.tensor([[4.0], [2.0]])
    assert divergence(left, right).tolist() == [9.0, 0.0]
    assert one_sided(left, right).tolist() == [9.0, 0.0]


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert", "deberta-v2"])
def test_hype_disturbs_the_input_of_every_layer_in_training_alone(family: str) -> None:
    split = quiet(SplitModel(tiny.build(family)))
    plain = logits(split)
    technique = Hype(eps=0.1)
    technique.begin(setting(split))
    seen: list[torch.Tensor] = []
    handles = [
        layer.register_forward_pre_hook(
            lambda _, args, named: seen.append((args or (named["hidden_states"],))[0]),
            with_kwargs=True,
        )
        for _, layer in split.layers()
    ]
    technique.before_step(3)
    first, again = logits(split), logits(split)
    assert torch.equal(first, again), "one draw serves all passes of a step"
    assert not torch.equal(first, plain)
    technique.before_step(4)
    assert not torch.equal(first, logits(split))
    assert len(seen) == 3 * len(split.layers())
    for handle in handles:
        handle.remove()
    split.model.eval()
    torch.testing.assert_close(logits(split), plain)
    technique.close()
    assert not any(m._forward_pre_hooks for m in split.model.modules())


@pytest.mark.parametrize("name", ["r3f", "smart", "hype"])
def test_fused_layers_compute_the_same(split: SplitModel, name: str) -> None:
    knobs = {"r3f": R3f(eps=0.1), "smart": Smart(sigma=0.1, step=0.1), "hype": Hype(eps=0.1)}[name]
    assert isinstance(knobs, TECHNIQUES.get(name))

    def gradients() -> dict[str, torch.Tensor]:
        split.model.zero_grad()
        knobs.begin(setting(split))
        knobs.before_step(1)
        clean = logits(split)
        extra = knobs.extra_loss(BATCH, clean, 1)
        (clean.square().sum(1) + (0 if extra is None else extra)).sum().backward()
        knobs.close()
        grads = {n: p.grad for n, p in split.model.named_parameters()}
        return {n: g.to_dense().clone() for n, g in grads.items() if g is not None}

    plain = gradients()
    with fused_layers(split.model) as halves, FastKernels(0):
        assert halves == 2 * len(split.layers())
        fused = gradients()
    assert plain.keys() == fused.keys()
    for parameter, gradient in plain.items():
        torch.testing.assert_close(fused[parameter], gradient, atol=1e-4, rtol=1e-3)


def test_a_model_that_tells_no_embeddings_is_refused(
    split: SplitModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> None:
        raise NotImplementedError

    monkeypatch.setattr(split.base, "get_input_embeddings", none)
    with pytest.raises(ModelError, match="input embeddings"):
        added(R3f(), split)
