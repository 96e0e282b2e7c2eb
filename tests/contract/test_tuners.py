"""What every registered tuner promises, on every family: to train, and to leave without a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tiny
from alike import chosen, spread
from headstart.errors import ConfigError, ModelError
from headstart.models.backbone import SplitModel
from headstart.models.heads import EncoderClassifier, HeadSpec
from headstart.tuners import TUNERS
from headstart.tuners._base import Tuner
from tiny_tuners import CASES, EVERY, PAIRS, REFUSALS, VARIANTS, make

TEXT = [(line, family) for line, family in CASES if family in tiny.FAMILIES]
MERGEABLE = [(line, family) for line, family in CASES if not make(line).no_merge]
FINAL = [(line, family) for line, family in CASES if make(line).no_merge]
OURS = [(name, family) for name, family in PAIRS if family in ("bert", "modernbert")]
LABELS = torch.tensor([0, 1, 1, 0])


def attached(
    name: str, split: SplitModel, *, reversible: bool = True, seed: int = 0
) -> tuple[Tuner, dict[str, nn.Parameter]]:
    torch.manual_seed(seed)
    tuner = make(name)
    return tuner, tuner.attach(split, reversible=reversible)


def train(
    split: SplitModel,
    tuned: dict[str, nn.Parameter],
    batch: dict[str, torch.Tensor],
    steps: int = 3,
) -> None:
    """Train head and tuner as a stage does, large steps with dropout on."""
    split.train_only(tuned)
    split.model.train()
    optimizer = torch.optim.AdamW([*split.head.values(), *tuned.values()], lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(split.model(**batch).logits, LABELS).backward()
        optimizer.step()
    split.model.eval()


@torch.no_grad()
def logits(split: SplitModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    output: torch.Tensor = split.model(**batch).logits
    return output


def copies(tensors: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in dict(tensors).items()}


def anatomy(model: Any) -> dict[str, Any]:
    """Everything about a model that a tuner could leave a trace in, apart from values."""
    parts = {
        name: (type(module), module.training, sorted(vars(module)), sorted(module._parameters))
        for name, module in model.named_modules()
    }
    config = model.config.to_dict() | {"attention": model.config._attn_implementation}
    return {"modules": parts, "config": config, "identity": [id(p) for p in model.parameters()]}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def reloaded(model: Any, family: str, folder: Path) -> SplitModel:
    """Save as a user would, and load with plain transformers, which must find every tensor."""
    model.save_pretrained(folder)
    plain, info = tiny.auto_class(family).from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    return SplitModel(plain.eval())


def test_the_contract_covers_every_tuner_and_every_family() -> None:
    ours = {"adapter", "bitfit", "full", "head", "histogram", "hydra", "layernorm", "prefix", "top"}
    named = {"bert", "roberta", "mpnet", "deberta-v2", "electra", "distilbert", "modernbert"}
    assert set(TUNERS) >= ours | {"lora"}
    assert set(tiny.FAMILIES) >= named
    assert len(EVERY) == len(set(EVERY)) == len(tiny.FAMILIES) + 2 >= 12
    assert len(set(PAIRS)) == len(TUNERS) * len(EVERY) - len(REFUSALS) >= 117
    assert len(set(CASES)) == len(PAIRS) + sum(len(families) for families in VARIANTS.values())
    assert len(MERGEABLE) + len(FINAL) == len(CASES)
    assert len(FINAL) >= 3 * len(tiny.FAMILIES)


def test_every_tuner_and_every_family_is_in_what_make_test_runs() -> None:
    lines, together = {line for line, _ in CASES}, set()
    for turn in ("trains", "detaches", "follows", "seeds"):
        cases = chosen(spread(CASES, turn, times=1))
        assert ({line for line, _ in cases}, {family for _, family in cases}) == (lines, {*EVERY})
        together |= {*cases}
    assert len(together) > len(CASES) / 3


@pytest.mark.parametrize("name", TUNERS)
def test_it_serves_the_kinds_that_it_names(name: str) -> None:
    carried = {tiny.kind_of(family) for tuner, family in PAIRS if tuner == name}
    assert carried == TUNERS.get(name).serves


@pytest.mark.parametrize(("name", "family"), REFUSALS)
def test_a_refusal_says_why_and_what_would_work_and_touches_nothing(name: str, family: str) -> None:
    split = SplitModel(tiny.build(family))
    shape, tensors = anatomy(split.model), copies(split.model.state_dict())
    for ask in (make(name).attach, make(name).count):
        with pytest.raises(ModelError) as error:
            ask(split)
        assert REFUSALS[name, family] in f"{error.value.expected} {error.value.found}"
        others = [tuner for tuner in TUNERS if f"'{tuner}" in error.value.fix]
        assert any(f"'{line}" in error.value.fix for line in VARIANTS) or others
        assert all((tuner, family) not in REFUSALS or tuner == name for tuner in others)
    assert anatomy(split.model) == shape
    assert same(copies(split.model.state_dict()), tensors)


@pytest.mark.parametrize("name", TUNERS)
def test_it_is_described(name: str) -> None:
    tuner = TUNERS.get(name)
    assert TUNERS.summary(name).endswith(".")
    assert tuner.lr > 0
    assert tuner.head_lr > 0
    assert tuner.where
    assert tuner.formula
    assert tuner.serves <= {"text", "image", "audio"}
    tuner()  # every knob has a default


@pytest.mark.parametrize(("name", "family"), spread(CASES, "trains", times=1))
def test_it_trains_exactly_what_it_says(name: str, family: str) -> None:
    batch = tiny.batch_for(family)
    split = SplitModel(tiny.build(family))
    _, tuned = attached(name, split)
    named = dict(split.model.named_parameters())
    assert all(named[n] is p for n, p in tuned.items())
    assert not tuned.keys() & split.head.keys()

    counted = make(name).count(SplitModel(tiny.build(family)))
    assert counted == sum(p.numel() for p in tuned.values())
    count = split.train_only(tuned)
    wanted = tuned.keys() | split.head.keys()
    assert {n for n, p in named.items() if p.requires_grad} == wanted
    assert count.head == sum(p.numel() for p in split.head.values())
    assert count.tuner == sum(p.numel() for p in tuned.values())
    assert count.trainable + count.frozen == sum(p.numel() for p in named.values())

    before = copies(named)
    start = logits(split, batch)
    train(split, tuned, batch)
    assert {n for n, p in named.items() if p.grad is not None} == wanted
    changed = {n for n, p in named.items() if not torch.equal(p, before[n])}
    assert changed <= wanted
    assert split.head.keys() <= changed
    assert bool(changed & tuned.keys()) == bool(tuned)
    assert not torch.equal(logits(split, batch), start)


@pytest.mark.parametrize(("name", "family"), spread(CASES, "detaches", times=1))
def test_detach_leaves_no_trace_and_keeps_the_head(name: str, family: str, tmp_path: Path) -> None:
    batch = tiny.batch_for(family)
    split = SplitModel(tiny.build(family))
    first_head, shape = split.head_state(), anatomy(split.model)
    fingerprint, start = split.fingerprint(), logits(split, batch)
    tensors = copies(split.model.state_dict())

    tuner, tuned = attached(name, split)
    train(split, tuned, batch)
    head = split.head_state()
    tuner.detach(split)

    assert split.fingerprint() == fingerprint
    assert same(split.head_state(), head)
    assert any("bias" in n and not torch.equal(head[n], first_head[n]) for n in head)
    assert anatomy(split.model) == shape
    plain = reloaded(split.model, family, tmp_path)
    assert torch.equal(logits(plain, batch), logits(split, batch))
    assert plain.fingerprint() == fingerprint
    split.load_head(first_head)
    assert same(copies(split.model.state_dict()), tensors)
    assert torch.equal(logits(split, batch), start)


@pytest.mark.parametrize(("name", "family"), spread(TEXT, "choices", times=1))
def test_it_serves_multiple_choice(name: str, family: str) -> None:
    split = SplitModel(tiny.build(family, kind="choice"))
    batch = tiny.batch(choices=2)
    fingerprint, head, start = split.fingerprint(), split.head_state(), logits(split, batch)
    tuner, tuned = attached(name, split)
    train(split, tuned, batch, steps=1)
    tuner.detach(split)
    split.load_head(head)
    assert split.fingerprint() == fingerprint
    assert torch.equal(logits(split, batch), start)


@pytest.mark.parametrize(("name", "family"), spread(OURS, "heads", times=1))
def test_it_serves_a_head_of_ours(name: str, family: str) -> None:
    batch = tiny.batch_for(family)
    native: Any = tiny.build(family)
    backbone = getattr(native, native.base_model_prefix)
    split = SplitModel(EncoderClassifier(backbone, HeadSpec.linear(2)).eval())
    fingerprint, head, start = split.fingerprint(), split.head_state(), logits(split, batch)
    tuner, tuned = attached(name, split)
    train(split, tuned, batch, steps=1)
    tuner.detach(split)
    split.load_head(head)
    assert split.fingerprint() == fingerprint
    assert torch.equal(logits(split, batch), start)


@pytest.mark.parametrize(("name", "family"), spread(CASES, "follows", times=1))
def test_a_second_stage_finds_the_first_ones_start(name: str, family: str) -> None:
    batch = tiny.batch_for(family)
    split = SplitModel(tiny.build(family))
    first, tuned = attached(name, split)
    start = logits(split, batch)
    head = split.head_state()
    train(split, tuned, batch, steps=1)
    first.detach(split)
    split.load_head(head)
    attached(name, split)
    assert torch.equal(logits(split, batch), start)


@pytest.mark.parametrize(("name", "family"), spread(MERGEABLE, "merges", times=1))
def test_merge_changes_nothing_and_leaves_plain_weights(
    name: str, family: str, tmp_path: Path
) -> None:
    batch = tiny.batch_for(family)
    split = SplitModel(tiny.build(family))
    fingerprint = split.fingerprint()
    tuner, tuned = attached(name, split, reversible=False)
    train(split, tuned, batch)
    unmerged, head = logits(split, batch), split.head_state()
    tuner.merge(split)

    torch.testing.assert_close(logits(split, batch), unmerged, atol=1e-5, rtol=0)
    assert same(split.head_state(), head)
    assert (split.fingerprint() != fingerprint) == bool(tuned)
    model: Any = split.model
    fresh = type(model)(model.config)
    assert fresh.state_dict().keys() == model.state_dict().keys()
    named = dict(model.named_parameters())
    assert {**split.backbone, **split.head}.keys() == named.keys()
    plain = reloaded(model, family, tmp_path)
    assert torch.equal(logits(plain, batch), logits(split, batch))
    assert plain.fingerprint() == split.fingerprint()


@pytest.mark.parametrize(("name", "family"), spread(MERGEABLE, "after", times=1))
def test_another_tuner_can_follow_a_merge(name: str, family: str) -> None:
    batch = tiny.batch_for(family)
    split = SplitModel(tiny.build(family))
    tuner, tuned = attached(name, split, reversible=False)
    train(split, tuned, batch, steps=1)
    tuner.merge(split)
    merged, start = split.fingerprint(), logits(split, batch)
    following, tuned = attached("full", split)
    assert tuned.keys() == dict(split.model.named_parameters()).keys() - split.head.keys()
    head = split.head_state()
    train(split, tuned, batch, steps=1)
    following.detach(split)
    split.load_head(head)
    assert split.fingerprint() == merged
    assert torch.equal(logits(split, batch), start)


@pytest.mark.parametrize(("name", "family"), spread(FINAL, "refuses", times=1))
def test_what_cannot_merge_says_why_and_still_detaches(name: str, family: str) -> None:
    split = SplitModel(tiny.build(family))
    fingerprint = split.fingerprint()
    tuner, _ = attached(name, split)
    with pytest.raises(ConfigError) as error:
        tuner.merge(split)
    assert make(name).no_merge in str(error.value)
    assert error.value.found == name.split("(", maxsplit=1)[0]
    tuner.detach(split)
    assert split.fingerprint() == fingerprint


@pytest.mark.parametrize(("name", "family"), spread(CASES, "seeds", times=1))
def test_one_seed_gives_one_tuner(name: str, family: str) -> None:
    batch = tiny.batch_for(family)

    def trained() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        split = SplitModel(tiny.build(family))
        _, tuned = attached(name, split, seed=1)
        start = copies(tuned)
        train(split, tuned, batch, steps=2)
        return start, copies(split.model.named_parameters())

    first, second = trained(), trained()
    assert same(first[0], second[0])
    assert same(first[1], second[1])
