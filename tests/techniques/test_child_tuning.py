"""Which gradients Child-Tuning masks, what it multiplies the others by, and how it chooses them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import tiny
from headstart.models.backbone import SplitModel
from headstart.techniques.child_tuning import ChildTuning, most_important
from headstart.tuners import TUNERS
from headstart.tuners.lora import Lora
from techniques.made import setting


def masked(technique: ChildTuning, split: SplitModel, step: int = 0) -> dict[str, torch.Tensor]:
    """Return what becomes of gradients of one."""
    for parameter in split.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    technique.gradients(step)
    return {n: p.grad for n, p in split.model.named_parameters() if p.grad is not None}


def in_layers(split: SplitModel, name: str) -> bool:
    return name.startswith(tuple(f"{layer}." for layer, _ in split.layers()))


def test_mode_f_keeps_the_mean_with_another_mask_in_every_step() -> None:
    split = SplitModel(tiny.build("bert"))
    technique = ChildTuning("F", 0.25)
    technique.begin(setting(split))
    first, second = masked(technique, split, 0), masked(technique, split, 1)
    inner = torch.cat([g.flatten() for n, g in first.items() if in_layers(split, n)])
    assert inner.unique().tolist() == [0.0, 4.0]
    error = 4 * (0.25 * 0.75 / len(inner)) ** 0.5
    assert inner.mean().item() == pytest.approx(1.0, abs=4 * error)
    assert all((g == 1).all() for n, g in first.items() if not in_layers(split, n))
    name = "bert.encoder.layer.0.output.dense.weight"
    assert not torch.equal(first[name], second[name])


def test_mode_d_chooses_by_squared_gradients_without_dropout() -> None:
    split = SplitModel(tiny.build("bert"))
    split.model.train()
    made = setting(split)
    technique = ChildTuning("D", 0.2)
    technique.begin(made)
    assert split.model.training
    found = masked(technique, split)
    assert all((g == 1).all() for n, g in found.items() if not in_layers(split, n))

    split.model.eval().zero_grad()
    (batch,) = made.batches()
    made.loss(batch).backward()
    inner = {n: p.grad for n, p in split.backbone.items() if in_layers(split, n)}
    scores = torch.cat([g.flatten() for g in inner.values() if g is not None]).square()
    kept = torch.cat([found[n].flatten() for n in inner]) == 1
    assert kept.sum().item() == pytest.approx(0.2 * len(kept), abs=1)
    assert scores[kept].min() >= scores[~kept].max()


def test_mode_d_sums_the_squares_of_batches_and_not_their_gradients() -> None:
    """Two batches that pull in opposite directions both count (the Fisher information)."""
    split = SplitModel(tiny.build("bert"))
    made = setting(split)
    (first,) = made.batches()
    second = first | {"labels": 1 - first["labels"]}
    technique = ChildTuning("D", 0.2)
    technique.begin(replace(made, batches=lambda: iter([first, second])))
    found = technique.tensors()

    sums = {name: torch.zeros_like(split.backbone[name]) for name in found}
    for batch in (first, second):
        split.model.zero_grad()
        (made.loss(batch) / len(batch["labels"])).backward()
        for name in sums:
            sums[name] += split.backbone[name].grad.square()  # type: ignore[union-attr]
    wanted = most_important(sums, 0.2)
    agreeing = [(found[name] != 0) == wanted[name] for name in found]
    assert torch.cat([a.flatten() for a in agreeing]).float().mean() > 0.999


def test_mode_d_computes_no_more_rows_at_once_than_training_does() -> None:
    split = SplitModel(tiny.build("bert"))
    made, rows = setting(split), list[int]()

    def counted(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        rows.append(len(batch["labels"]))
        return made.loss(batch)

    found = []
    for size in (None, 3):
        technique = ChildTuning("D", 0.2)
        technique.begin(replace(made, loss=counted, micro_batch_size=size))
        found.append(torch.cat([mask.flatten() for mask in technique.tensors().values()]))
    assert rows == [4, 3, 1]
    assert (found[0] != found[1]).float().mean() < 1e-3, "the gradient is that of the whole batch"


def test_mode_d_never_chooses_the_first_factor_of_a_product_that_starts_at_zero() -> None:
    """Why such a pair is refused; mode F masks both alike."""
    split = SplitModel(tiny.build("bert"))
    chosen = Lora().attach(split)
    technique = ChildTuning("D", 0.3)
    technique.begin(setting(split, trained=chosen))
    found = masked(technique, split)
    assert not any(found[name].any() for name in chosen if "lora_A" in name)
    assert any(found[name].any() for name in chosen if "lora_B" in name)
    free = ChildTuning("F", 0.3)
    free.begin(setting(split, trained=chosen))
    assert all(g.any() for n, g in masked(free, split).items() if n in chosen)


@pytest.mark.parametrize("name", sorted(TUNERS))
def test_a_tuner_is_refused_beside_mode_d_where_parts_have_no_gradient_at_first(name: str) -> None:
    split = SplitModel(tiny.build("bert"))
    knobs: Any = {"block": 8} if name == "oft" else {}
    tuner = TUNERS.get(name).chosen(knobs)(**knobs)
    torch.manual_seed(0)
    trained = tuner.attach(split)
    split.model.eval()
    split.model.zero_grad()
    batch = tiny.batch()
    logits = split.model(**batch).logits
    torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)) % 2).backward()
    outside = {n for n in split.backbone if not in_layers(split, n)}  # not masked
    inside = {n: p.grad for n, p in trained.items() if n not in outside}
    assert inside or name == "head"
    dead = [n for n, grad in inside.items() if grad is None or not grad.any()]
    assert bool(dead) == tuner.part_at_zero, dead
