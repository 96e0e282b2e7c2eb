"""Activations that are computed twice: the same gradients and dropout, no trace afterwards."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers.modeling_layers import GradientCheckpointingLayer

import tiny
from headstart.errors import ModelError
from headstart.kernels.masks import Randomness
from headstart.kernels.mode import FastKernels, twice_the_same
from headstart.models.backbone import SplitModel
from headstart.training.loop import StageLoop
from headstart.training.machine.recompute import recomputed, require_recomputable
from tiny_tuners import make

CPU = torch.device("cpu")
WITHOUT = ("albert", "mpnet")
"""Families whose classes in transformers cannot do it."""
FAMILIES = [name for name in tiny.FAMILIES if name not in WITHOUT]
Gradients = dict[str, torch.Tensor]


def model(family: str, dropout: float, tuner: str = "full") -> SplitModel:
    split = SplitModel(tiny.build(family))
    for module in split.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
        for name in ("dropout_prob", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, dropout)
    torch.manual_seed(1)
    split.train_only(make(tuner).attach(split))
    split.model.train()
    return split


def gradients(split: SplitModel) -> Gradients:
    """Return the gradients of a loss under the kernels, as a training step computes them."""
    torch.manual_seed(5)
    ids = torch.randint(5, tiny.VOCABULARY, (4, 9))
    mask = (torch.arange(9) < torch.tensor([[9], [4], [7], [2]])).long()
    with FastKernels():
        logits = split.model(input_ids=ids, attention_mask=mask).logits
        (logits**2).sum().backward()
    return {n: p.grad for n, p in split.model.named_parameters() if p.grad is not None}


@contextlib.contextmanager
def kept(split: SplitModel) -> Any:
    """Let layers draw the masks of ``recomputed``, but keep everything."""

    def once(function: Callable[..., Any], *args: Any) -> Any:
        with twice_the_same()[0]:
            return function(*args)

    with recomputed(split, CPU):
        for module in split.model.modules():
            if isinstance(module, GradientCheckpointingLayer):
                module._gradient_checkpointing_func = once
        yield


def check(left: Gradients, right: Gradients) -> None:
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name].to_dense(), right[name].to_dense()), name


@pytest.mark.parametrize("family", FAMILIES)
def test_without_dropout_gradients_are_those_of_plain_training(family: str) -> None:
    split = model(family, 0.0)
    twin = copy.deepcopy(split)
    with recomputed(split, CPU):
        found = gradients(split)
    check(found, gradients(twin))


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_drop_the_same_when_they_are_computed_again(family: str) -> None:
    split = model(family, 0.4)
    twin = copy.deepcopy(split)
    with recomputed(split, CPU):
        found = gradients(split)
    with kept(twin):
        expected = gradients(twin)
    check(found, expected)


@pytest.mark.parametrize(
    "tuner",
    ["bitfit", "lora", "prefix", "top", "hydra", "adapter", "adapter(kind=parallel)", "histogram"],
)
def test_every_tuner_can_train_so(tuner: str) -> None:
    split = model("bert", 0.4, tuner)
    twin = copy.deepcopy(split)
    with recomputed(split, CPU):
        found = gradients(split)
    with kept(twin):
        expected = gradients(twin)
    check(found, expected)


def test_each_layers_masks_are_drawn_twice_and_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[torch.Tensor] = []
    draw = Randomness.keep_mask

    def heard(*args: Any) -> torch.Tensor:
        drawn.append(draw(*args).clone())
        return drawn[-1]

    monkeypatch.setattr(Randomness, "keep_mask", heard)
    split = model("bert", 0.4)
    with recomputed(split, CPU):
        gradients(split)
    # Embeddings, two layers with three masks each, classifier; then the layers from the top down.
    assert len(drawn) == 14
    first, second = drawn[1:4], drawn[4:7]
    for mask, again in zip([*second, *first], drawn[8:], strict=True):
        assert torch.equal(mask, again)
    assert not torch.equal(first[0], second[0])


def test_fewer_numbers_are_kept() -> None:
    def kept_numbers(split: SplitModel, context: Any) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.data_ptr()] = tensor.numel()
            return tensor

        with context, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            gradients(split)
        return sum(sizes.values())

    plain = kept_numbers(model("bert", 0.4), contextlib.nullcontext())
    split = model("bert", 0.4)
    assert kept_numbers(split, recomputed(split, CPU)) < plain / 2


def test_afterwards_the_model_is_what_it_was() -> None:
    split = model("bert", 0.4)
    config = split.base.config.to_dict()  # type: ignore[operator, union-attr]
    with pytest.raises(KeyError), recomputed(split, CPU):
        assert any(getattr(m, "gradient_checkpointing", False) for m in split.model.modules())
        raise KeyError
    assert not any(getattr(m, "gradient_checkpointing", False) for m in split.model.modules())
    assert not any(m._forward_hooks for m in split.model.modules())
    assert split.base.config.to_dict() == config  # type: ignore[operator, union-attr]
    check(gradients(split), gradients(model("bert", 0.4)))


def test_a_frozen_backbone_below_what_trains_needs_no_gradient() -> None:
    split = model("bert", 0.0, "top")
    with recomputed(split, CPU):
        embeddings = split.base.get_input_embeddings()  # type: ignore[operator]
        assert not embeddings(torch.tensor([[1]])).requires_grad


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_models_that_cannot_are_refused(family: str) -> None:
    split = SplitModel(tiny.build(family))
    if family not in WITHOUT:
        require_recomputable(split)
        return
    with pytest.raises(ModelError, match=r"expected .*--gradient-checkpointing; found .*Model"):
        require_recomputable(split)


def trained(loop: StageLoop, *, twice: bool) -> dict[str, torch.Tensor]:
    split = SplitModel(loop.model)
    with recomputed(split, CPU) if twice else contextlib.nullcontext():
        loop.run()
    return {name: p.detach() for name, p in loop.trained.items()}


def test_a_stage_without_dropout_ends_at_the_same_parameters(
    make_loop: Callable[..., StageLoop],
) -> None:
    one, other = (trained(make_loop(), twice=twice) for twice in (True, False))
    check(one, other)


def test_a_stage_goes_on_to_the_same_bits(make_loop: Callable[..., StageLoop]) -> None:
    saved: list[Any] = []
    settings: dict[str, Any] = {"dropout": 0.3, "micro_batch_size": 3}

    def save(loop: StageLoop, _stop: bool) -> None:
        saved.append(copy.deepcopy((loop.snapshot(), loop.tensors())))

    whole = trained(make_loop(pause=lambda: True, checkpoint=save, **settings), twice=True)
    check(whole, trained(make_loop(**settings), twice=True))
    for state, tensors in saved[1::3]:
        loop = make_loop(**settings)
        loop.restore(state, tensors)
        check(whole, trained(loop, twice=True))
