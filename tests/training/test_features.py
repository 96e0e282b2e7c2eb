"""Stored features stand in for the base model: same logits, same gradients, one pass over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput

import headstart.training.frozen.features as module
import tiny
from headstart.data.tokens.encode import Encoded, Padding
from headstart.models.backbone import SplitModel
from headstart.models.heads import EncoderClassifier, HeadSpec
from headstart.targets._base import TargetKind
from headstart.targets.classes import Classes
from headstart.targets.number import Number
from headstart.training.evaluate import predict_logits
from headstart.training.frozen.features import frozen_features
from headstart.training.loader import ExamplesLoader
from headstart.training.machine.runtime import Runtime
from headstart.training.seeds import seeded

CASES = [(family, kind) for family in tiny.FAMILIES for kind in ("sequence", "choice", "mlp")]
BATCHES = ([4, 0, 9], [1], list(range(12)))


def plain(labels: torch.Tensor) -> TargetKind:
    return Number() if labels.is_floating_point() else Classes(("a", "b"))


def build(family: str, kind: str = "sequence", **settings: Any) -> SplitModel:
    native: Any = tiny.build(family, kind="choice" if kind == "choice" else "sequence", **settings)
    if kind == "mlp":
        backbone = getattr(native, native.base_model_prefix)
        with seeded(0):  # a unit at the very edge of ReLU would differ by rounding alone
            native = EncoderClassifier(backbone, HeadSpec.mlp(2)).eval()
    split = SplitModel(native)
    split.train_only({})
    return split


def logits_and_gradients(
    split: SplitModel, loader: Any, rows: list[int]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    batch = loader.batch(np.array(rows))
    labels = batch.pop("labels")
    logits = split.model(**batch).logits
    gradients = torch.autograd.grad(
        plain(labels).row_losses(logits, labels).sum(), list(split.head.values())
    )
    return logits.detach(), list(gradients)


def check(split: SplitModel, loader: Any, runtime: Runtime) -> None:
    expected = [logits_and_gradients(split, loader, rows) for rows in BATCHES]
    with frozen_features(split, [loader], runtime) as loaders:
        assert loaders is not None
        (stored,) = loaders
        assert stored.lengths is loader.lengths
        for rows, (logits, gradients) in zip(BATCHES, expected, strict=True):
            found, slopes = logits_and_gradients(split, stored, rows)
            torch.testing.assert_close(found, logits, atol=1e-5, rtol=1e-5)
            for slope, gradient in zip(slopes, gradients, strict=True):
                torch.testing.assert_close(slope, gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_logits_and_gradients_are_those_of_the_whole_model(
    family: str, kind: str, make_loader: Callable[..., Any], runtime: Runtime
) -> None:
    assert len(CASES) == 3 * len(tiny.FAMILIES) >= 27
    loader = make_loader(12, choices=2 if kind == "choice" else 1)
    check(build(family, kind), loader, runtime)


def test_a_head_that_reads_every_token_gets_every_token(
    make_loader: Callable[..., Any], runtime: Runtime
) -> None:
    check(build("modernbert", classifier_pooling="mean"), make_loader(12), runtime)


def test_only_the_first_token_is_stored_where_no_more_is_read(
    make_loader: Callable[..., Any], runtime: Runtime
) -> None:
    for pooling, several in (("cls", False), ("mean", True)):
        split, loader = build("modernbert", classifier_pooling=pooling), make_loader(12)
        with frozen_features(split, [loader], runtime) as loaders:
            assert loaders is not None
            loaders[0].batch(np.arange(12))
            states, _ = split.base.stored  # type: ignore[misc]
            assert states.shape[:2] == (12, int(loader.lengths.max()) if several else 1)


@pytest.mark.parametrize(("pooling", "width"), [("first", 1), ("mean", 1), ("attention", 24)])
def test_heads_of_ours_get_what_they_pool(pooling: str, width: int, runtime: Runtime) -> None:
    native: Any = tiny.build("bert")
    spec = HeadSpec.linear(2, pooling=pooling)
    split = SplitModel(EncoderClassifier(native.bert, spec).eval())
    with torch.no_grad():
        for parameter in split.head.values():
            parameter.normal_()
    split.train_only({})
    # 23 tokens in batches that are 24 wide, and shorter rows beside them.
    lengths = np.array([9, 23, 17, 30, 12])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.random.default_rng(0).integers(5, tiny.VOCABULARY, starts[-1]).astype(np.int32)
    encoded = Encoded(
        {"input_ids": tokens}, starts, lengths, np.zeros(5, bool),
        Padding({"input_ids": tiny.PAD}), labels=np.array([0, 1, 1, 0, 1]),
    )  # fmt: skip
    loader, rows = ExamplesLoader(encoded, runtime.device), [1, 0, 2]
    assert loader.batch(np.array(rows))["input_ids"].shape[1] == 24
    expected, gradients = logits_and_gradients(split, loader, rows)
    with frozen_features(split, [loader], runtime) as loaders:
        assert loaders is not None
        found, slopes = logits_and_gradients(split, loaders[0], rows)
        assert split.base.stored[0].shape[1] == width  # type: ignore[index]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for slope, gradient in zip(slopes, gradients, strict=True):
        torch.testing.assert_close(slope, gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["sequence", "choice"])
def test_the_base_model_sees_each_row_once(
    kind: str, make_loader: Callable[..., Any], runtime: Runtime
) -> None:
    choices = 2 if kind == "choice" else 1
    split = build("bert", kind)
    train, validation = make_loader(12, choices=choices), make_loader(7, choices=choices, seed=1)
    seen: list[int] = []
    split.base.register_forward_pre_hook(
        lambda _, args, inputs: seen.append(len(args[0] if args else inputs["input_ids"])),
        with_kwargs=True,
    )
    with frozen_features(split, [train, validation], runtime) as loaders:
        assert loaders is not None
        # Two rows more tell, by their gradient, which tokens the head reads.
        assert sum(seen) == (12 + 7 + 2) * choices
        assert sorted(i for rows in train.asked[1:] for i in rows) == list(range(12))
        seen.clear()
        for _ in range(3):
            for loader, rows in zip(loaders, (12, 7), strict=True):
                logits_and_gradients(split, loader, list(range(rows)))
                predict_logits(split.model, loader, runtime, 2)
        assert seen == []
    split.model(**tiny.batch(choices=choices if choices > 1 else 0))
    assert seen == [4 * choices]


def test_the_model_is_put_back_even_after_an_error(
    make_loader: Callable[..., Any], runtime: Runtime
) -> None:
    split = build("bert", hidden_dropout_prob=0.1)
    split.model.train()
    base, fingerprint, names = split.base, split.fingerprint(), list(split.model.state_dict())
    modes = [m.training for m in split.model.modules()]
    hooks = len(base._forward_hooks)

    def use() -> None:
        with frozen_features(split, [make_loader(6)], runtime):
            assert split.base is not base
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert split.base is base
    assert split.fingerprint() == fingerprint
    assert list(split.model.state_dict()) == names
    assert [m.training for m in split.model.modules()] == modes
    assert len(base._forward_hooks) == hooks
    assert all(p.grad is None for p in split.model.parameters())


def test_features_carry_no_dropout_but_the_head_does(
    make_loader: Callable[..., Any], runtime: Runtime
) -> None:
    split = build("bert", hidden_dropout_prob=0.5, classifier_dropout=0.0)
    rows = list(range(6))
    expected = logits_and_gradients(split, make_loader(6), rows)[0]
    split.model.train()
    with frozen_features(split, [make_loader(6)], runtime) as loaders:
        assert loaders is not None
        first, second = (logits_and_gradients(split, loaders[0], rows)[0] for _ in range(2))
        assert torch.equal(first, second)
        torch.testing.assert_close(first, expected, atol=1e-5, rtol=1e-5)
        for dropout in (m for m in split.model.modules() if isinstance(m, nn.Dropout)):
            dropout.p = 0.5
        assert not torch.equal(logits_and_gradients(split, loaders[0], rows)[0], first)


def missing_pooler(family: str, pooler: str) -> tuple[SplitModel, set[str]]:
    native: Any = tiny.build(family)
    inside = {f"{native.base_model_prefix}.{pooler}.{part}" for part in ("weight", "bias")}
    split = SplitModel(native, inside)
    split.train_only({})
    return split, inside


def test_a_pooler_that_belongs_to_the_head_trains(
    make_loader: Callable[..., Any], runtime: Runtime
) -> None:
    split, inside = missing_pooler("bert", "pooler.dense")
    assert inside <= split.head.keys()
    loader = make_loader(12)
    check(split, loader, runtime)
    start = split.head_state()
    with frozen_features(split, [loader], runtime) as loaders:
        assert loaders is not None
        optimizer = torch.optim.AdamW(split.head.values(), lr=0.01)
        batch = loaders[0].batch(np.arange(12))
        plain(batch["labels"]).row_losses(
            split.model(**batch).logits, batch["labels"]
        ).sum().backward()
        optimizer.step()
        trained = predict_logits(split.model, loaders[0], runtime, 2)
    assert all(not torch.equal(start[name], split.head[name]) for name in inside)
    np.testing.assert_allclose(predict_logits(split.model, loader, runtime, 2), trained, atol=1e-5)


def test_a_head_elsewhere_in_the_base_model_is_not_served(
    make_loader: Callable[..., Any], runtime: Runtime
) -> None:
    native: Any = tiny.build("modernbert")
    norm = SplitModel(native, {"model.final_norm.weight"})
    albert, _ = missing_pooler("albert", "pooler")  # whose pooled output is not the pooler's own
    for split in (norm, albert):
        split.train_only({})
        base = split.base
        with frozen_features(split, [make_loader(6)], runtime) as loaders:
            assert loaders is None
            assert split.base is base


def test_too_many_features_are_not_kept(
    make_loader: Callable[..., Any], runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    bytes_needed = 4 * 32 * (6 + 6)  # the first token of each row, 32 wide
    for limit, kept in ((bytes_needed, True), (bytes_needed - 1, False)):
        monkeypatch.setattr(module, "LARGEST_STORE", limit)
        with frozen_features(
            build("roberta"), [make_loader(6), make_loader(6)], runtime
        ) as loaders:
            assert (loaders is not None) == kept
        pairs = make_loader(6, choices=2)
        with frozen_features(build("roberta", "choice"), [pairs], runtime) as loaders:
            assert (loaders is not None) == kept


def test_models_without_a_mask_are_served(
    make_loader: Callable[..., Any], runtime: Runtime
) -> None:
    loader = make_loader(6)
    plain = loader.batch

    def unmasked(rows: Any) -> dict[str, torch.Tensor]:
        return {name: t for name, t in plain(rows).items() if name != "attention_mask"}

    loader.batch = unmasked
    split = build("bert")
    with frozen_features(split, [loader], runtime) as loaders:
        assert loaders is not None
        assert predict_logits(split.model, loaders[0], runtime, 2).shape == (6, 2)


@pytest.mark.parametrize("reads", [False, True])
def test_further_parts_of_an_output_matter_where_the_head_reads_them(
    reads: bool, make_loader: Callable[..., Any], runtime: Runtime
) -> None:
    @dataclass
    class Longer(BaseModelOutputWithPooling):
        global_attentions: torch.Tensor | None = None

    class Reads(nn.Module):
        base_model_prefix = "bert"

        def __init__(self, native: Any) -> None:
            super().__init__()
            self.bert, self.classifier, self.config = native.bert, native.classifier, native.config

        def forward(self, **inputs: Any) -> SequenceClassifierOutput:
            inputs.pop("labels", None)
            output = self.bert(**inputs)
            more = output.global_attentions.sum() if reads else 0.0
            return SequenceClassifierOutput(logits=self.classifier(output.pooler_output) + more)

    split = SplitModel(Reads(tiny.build("bert")))
    split.train_only({})
    split.base.register_forward_hook(
        lambda *call: Longer(*call[-1].to_tuple(), global_attentions=torch.ones(1))
    )
    if not reads:
        check(split, make_loader(12), runtime)
    with frozen_features(split, [make_loader(6)], runtime) as loaders:
        assert (loaders is None) == reads


def test_a_head_of_zeros_does_not_hide_what_it_reads(
    make_loader: Callable[..., Any], runtime: Runtime
) -> None:
    split, loader = build("modernbert", classifier_pooling="mean"), make_loader(12)
    for name, parameter in split.head.items():
        if name.startswith("classifier"):
            parameter.data.zero_()
    with frozen_features(split, [loader], runtime) as loaders:
        assert loaders is not None
        loaders[0].batch(np.arange(12))
        states, _ = split.base.stored  # type: ignore[misc]
        assert states.shape[1] == int(loader.lengths.max())
