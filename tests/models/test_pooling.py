"""Pooling of our own heads: by hand, whatever the padding, through files and hand-overs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from headstart.errors import HeadstartError, ModelError
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.loading import draw_head, load_classifier, load_saved
from headstart.models.checkpoints.saving import save_classifier
from headstart.models.head_choice import Target
from headstart.models.headfile import Head, describe_pooling
from headstart.models.heads import POOLINGS, HeadSpec, PooledHead

TWO, THREE = Target(("no", "yes")), Target(("a", "b", "c"))
Make = Callable[..., Path]


def own(source: Path, pooling: str, target: Target = TWO, head: str = "linear") -> SplitModel:
    split: Any = load_classifier(str(source), target, head=head, pooling=pooling, seed=1)
    if pooling == "attention":
        with torch.no_grad():
            split.model.head.query.normal_(generator=torch.Generator().manual_seed(0))
    split.model.eval()
    return split


def test_the_mean_is_that_of_all_tokens_but_padding() -> None:
    states, head = torch.randn(2, 4, 8), PooledHead(8, HeadSpec.linear(2, pooling="mean"))
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    expected = torch.stack([states[0].mean(0), (states[1, 0] + states[1, 1]) / 2])
    torch.testing.assert_close(head.pool(states, mask), expected)
    torch.testing.assert_close(head.pool(states), states.mean(1))


def test_attention_weighs_tokens_by_their_product_with_the_query() -> None:
    states, head = torch.randn(1, 3, 4), PooledHead(4, HeadSpec.linear(2, pooling="attention"))
    mask = torch.tensor([[1, 1, 0]])
    torch.testing.assert_close(head.pool(states, mask), states[:, :2].mean(1))
    head.query.data.normal_()
    scores = [float(states[0, i] @ head.query.detach()) / 2 for i in range(2)]
    weights = torch.tensor(scores).exp() / torch.tensor(scores).exp().sum()
    expected = weights[0] * states[0, 0] + weights[1] * states[0, 1]
    torch.testing.assert_close(head.pool(states, mask)[0], expected)
    head.pool(states, mask).sum().backward()
    assert head.query.grad is not None
    assert head.query.grad.any()


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_more_padding_changes_nothing(checkpoint: Make, pooling: str, left: bool) -> None:
    if left:  # absolute positions would shift, so only what is pooled is looked at
        head = PooledHead(8, HeadSpec.linear(2, pooling=pooling))
        states, mask = torch.randn(2, 5, 8), torch.tensor([[0, 0, 1, 1, 1]] * 2)
        torch.testing.assert_close(head.pool(states, mask), head.pool(states[:, 2:], mask[:, 2:]))
        return
    split, batch = own(checkpoint(), pooling), tiny.batch()
    more = {
        "input_ids": torch.cat((batch["input_ids"], torch.full((4, 7), tiny.PAD)), 1),
        "attention_mask": torch.cat((batch["attention_mask"], torch.zeros(4, 7, dtype=int)), 1),
    }
    with torch.no_grad():
        expected, found = split.model(**batch).logits, split.model(**more).logits
        alone = {name: t[1:2, : int(batch["attention_mask"][1].sum())] for name, t in batch.items()}
        torch.testing.assert_close(split.model(**alone).logits, expected[1:2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_multiple_choice_pools_each_candidate(checkpoint: Make) -> None:
    split = own(checkpoint(), "mean", Target(("a", "b", "c"), "choice"))
    batch = tiny.batch(choices=3)
    with torch.no_grad():
        logits = split.model(**batch).logits
        alone = split.model(**{name: t[:, 1] for name, t in batch.items()}).logits
    torch.testing.assert_close(logits[:, 1], alone[:, 0], atol=1e-5, rtol=1e-5)


def test_pooling_draws_no_numbers(checkpoint: Make) -> None:
    first = own(checkpoint(), "first").head_state()
    plain = load_classifier(str(checkpoint()), TWO, head="linear", seed=1).head_state()
    assert first.keys() == plain.keys()
    for pooling in POOLINGS:
        drawn = draw_head(own(checkpoint(), pooling), 1)
        assert all(torch.equal(drawn[name], tensor) for name, tensor in plain.items())
        assert ("head.query" in drawn) == (pooling == "attention")


@pytest.mark.parametrize("pooling", list(POOLINGS))
@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_files_keep_pooling_and_query(
    checkpoint: Make, tmp_path: Path, head: str, pooling: str
) -> None:
    split = own(checkpoint(), pooling, head=head)
    save_classifier(split, TWO, tiny.tokenizer(), tmp_path / "model", "card")
    again, _ = load_saved(str(tmp_path / "model"))
    with torch.no_grad():
        expected = split.model(**tiny.batch()).logits
        assert torch.equal(again.model(**tiny.batch()).logits, expected)
    Head.of(split, TWO.labels).save(tmp_path / "head")
    assert json.loads((tmp_path / "head" / "head.json").read_text())["pooling"] == POOLINGS[pooling]
    fresh = load_classifier(str(checkpoint()), TWO, head=head, pooling=pooling, seed=9)
    Head.from_pretrained(tmp_path / "head").apply(fresh, TWO.labels)
    fresh.model.eval()
    with torch.no_grad():
        assert torch.equal(fresh.model(**tiny.batch()).logits, expected)


def test_a_head_that_reads_another_vector_is_refused(checkpoint: Make) -> None:
    for pooling, other in (("mean", "first"), ("first", "attention"), ("attention", "mean")):
        given = Head.of(own(checkpoint(), pooling), TWO.labels)
        with pytest.raises(ModelError) as error:
            given.apply(own(checkpoint(), other), TWO.labels)
        assert f"--pooling {pooling}" in error.value.fix
        assert POOLINGS[other] in error.value.expected


@pytest.mark.parametrize(
    ("head", "pooling"), [("mlp", "first"), ("mlp", "attention"), ("linear", "attention")]
)
def test_the_hidden_part_of_a_head_fits_other_labels(
    checkpoint: Make, head: str, pooling: str
) -> None:
    source = own(checkpoint(), pooling, TWO, head)
    with torch.no_grad():
        for parameter in source.head.values():
            parameter.add_(1)
    given, split = Head.of(source, TWO.labels), own(checkpoint(), pooling, THREE, head)
    before = split.head_state()
    with pytest.raises(HeadstartError, match="--head-part hidden"):
        given.apply(split, THREE.labels)
    given.apply_hidden(split, 3)
    for name, tensor in split.head_state().items():
        last = name.startswith("head.out")
        assert torch.equal(tensor, before[name] if last else given.tensors[name])


def test_a_native_head_gives_its_hidden_layers_too(checkpoint: Make) -> None:
    roberta = str(checkpoint("roberta"))
    given = Head.of(load_classifier(roberta, TWO, seed=5), TWO.labels)
    split = load_classifier(roberta, THREE, seed=6)
    given.apply_hidden(split, 3)
    found = split.head_state()
    assert torch.equal(found["classifier.dense.weight"], given.tensors["classifier.dense.weight"])
    assert found["classifier.out_proj.weight"].shape[0] == 3


def test_what_has_no_hidden_part_or_does_not_fit_is_refused(checkpoint: Make) -> None:
    linear = Head.of(own(checkpoint(), "mean"), TWO.labels)
    with pytest.raises(ModelError, match="only the map"):
        linear.apply_hidden(own(checkpoint(), "mean", THREE), 3)
    with pytest.raises(ModelError, match="--pooling mean"):
        linear.apply_hidden(own(checkpoint(), "attention", THREE), 3)
    with pytest.raises(ModelError, match="--head-type linear"):
        linear.apply_hidden(own(checkpoint(), "mean", THREE, "mlp"), 3)
    other = Head.of(own(checkpoint(), "first", TWO, "mlp"), TWO.labels)
    other.fingerprint = "sha256:0"
    split = own(checkpoint(), "first", THREE, "mlp")
    with pytest.raises(ModelError, match="--ignore-backbone-mismatch"):
        other.apply_hidden(split, 3)
    other.apply_hidden(split, 3, ignore_backbone=True)


@pytest.mark.parametrize(
    ("head", "pooling", "advice"),
    [
        ("native", "mean", "Add --head-type linear"), ("native", "first", "--head-type linear"),
        ("linear", "native", "--head-type native"), ("span", None, "--head-type mlp"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(
    checkpoint: Make, head: str, pooling: str | None, advice: str
) -> None:
    with pytest.raises(ModelError) as error:
        load_classifier(str(checkpoint()), TWO, head=head, pooling=pooling)
    assert advice in error.value.fix


def test_the_span_head_is_the_papers_with_spans(checkpoint: Make) -> None:
    target = Target(("no", "yes"), spans=2)
    span, mlp = (own(checkpoint(), "mean", target, head) for head in ("span", "mlp"))
    assert describe_pooling(span) == "mean of the token vectors and 2 span vectors"
    for name, tensor in mlp.head_state().items():
        assert torch.equal(tensor, span.head_state()[name])
    assert span.head["head.dense.weight"].shape == (2048, 5 * 32)
