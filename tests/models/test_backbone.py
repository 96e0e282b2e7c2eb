"""What counts as head, and that it and the backbone can be told apart, remembered and put back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

import tiny
from headstart.errors import ModelError
from headstart.models.backbone import Snapshot, SplitModel, tensor_bytes

HEADS = {
    "bert": {"classifier"},
    "albert": {"classifier"},
    "distilbert": {"pre_classifier", "classifier"},
    "deberta-v2": {"pooler.dense", "classifier"},
    "modernbert": {"head.dense", "head.norm", "classifier"},
}
for _family in ("roberta", "xlm-roberta", "camembert", "electra", "mpnet"):
    HEADS[_family] = {"classifier.dense", "classifier.out_proj"}
ABOVE = {"bert": {"pooler"}, "albert": {"pooler"}, "modernbert": {"final_norm"}}


@pytest.fixture
def split() -> SplitModel:
    return SplitModel(tiny.build("bert"))


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_head_is_what_a_backbone_checkpoint_lacks(family: str, tmp_path: Any) -> None:
    assert len(HEADS) == len(tiny.FAMILIES)
    folder = tiny.save_pretrained(family, tmp_path)
    model, info = AutoModelForSequenceClassification.from_pretrained(
        folder, output_loading_info=True
    )
    split = SplitModel(model)
    assert split.head.keys() == set(info["missing_keys"])
    assert {name.rsplit(".", 1)[0] for name in split.head} == HEADS[family]
    assert SplitModel(tiny.build(family)).fingerprint() == split.fingerprint()


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_head_and_backbone_are_all_there_is(family: str) -> None:
    split = SplitModel(tiny.build(family))
    named = dict(split.model.named_parameters())
    assert split.head.keys().isdisjoint(split.backbone)
    assert {**split.head, **split.backbone} == named


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_layers_come_bottom_to_top_under_their_own_names(family: str) -> None:
    split = SplitModel(tiny.build(family))
    layers = split.layers()
    modules = dict(split.model.named_modules())
    assert len(layers) == {"albert": 1, "modernbert": 3}.get(family, 2)
    assert [int(name.rsplit(".", 1)[1]) for name, _ in layers] == list(range(len(layers)))
    assert all(modules[name] is layer for name, layer in layers)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_what_comes_above_the_layers(family: str) -> None:
    split = SplitModel(tiny.build(family))
    found = {name.removeprefix(f"{split.prefix}.").split(".")[0] for name in split.above_layers()}
    # MPNet's and DeBERTa's relative positions lie in the encoder, beside its layers.
    assert found == ABOVE.get(family, set())


def test_a_missing_part_of_the_base_model_belongs_to_the_head() -> None:
    pooler = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    split = SplitModel(tiny.build("bert"), pooler)
    assert pooler <= split.head.keys()
    assert pooler.isdisjoint(split.backbone)
    assert split.fingerprint() != SplitModel(tiny.build("bert")).fingerprint()


def test_a_model_without_base_or_head_is_refused() -> None:
    with pytest.raises(ModelError, match="no base model"):
        SplitModel(nn.Linear(2, 2))
    model = nn.Module()
    model.base_model_prefix = "body"  # type: ignore[assignment]
    model.body = nn.Linear(2, 2)
    with pytest.raises(ModelError, match="belong to its base model"):
        SplitModel(model)
    model.out = nn.Linear(2, 2)
    with pytest.raises(ModelError, match="module list"):
        SplitModel(model).layers()


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_fingerprint_sees_one_bit_of_any_backbone_tensor(family: str) -> None:
    split = SplitModel(tiny.build(family))
    fingerprint = split.fingerprint()
    assert fingerprint.startswith("sha256:")
    assert len(fingerprint) == len("sha256:") + 32
    for parameter in list(split.backbone.values())[:: max(1, len(split.backbone) // 6)]:
        bits = parameter.data.view(-1).view(torch.int32)
        bits[-1] ^= 1
        assert split.fingerprint() != fingerprint
        bits[-1] ^= 1
    for parameter in split.head.values():
        parameter.data.add_(1)
    assert split.fingerprint() == fingerprint


def test_the_fingerprint_does_not_depend_on_the_model_class() -> None:
    sequence = tiny.build("bert")
    choice = tiny.build("bert", kind="choice", seed=1)
    choice.bert.load_state_dict(sequence.bert.state_dict())  # type: ignore[union-attr]
    assert SplitModel(choice).fingerprint() == SplitModel(sequence).fingerprint()


def test_the_fingerprint_sees_saved_buffers(split: SplitModel) -> None:
    before = split.fingerprint()
    split.base.register_buffer("running", torch.zeros(2))
    with_buffer = split.fingerprint()
    split.base.running += 1  # type: ignore[operator]
    assert len({before, with_buffer, split.fingerprint()}) == 3


def test_a_head_is_copied_bit_for_bit(split: SplitModel) -> None:
    state = SplitModel(tiny.build("bert", seed=1)).head_state()
    split.load_head(state)
    for name, parameter in split.head.items():
        assert tensor_bytes(parameter) == tensor_bytes(state[name])
    kept = split.head_state()
    for parameter in split.head.values():
        parameter.data.zero_()
    assert all(torch.equal(kept[name], state[name]) for name in state)


def test_a_head_that_does_not_fit_is_told_in_full(split: SplitModel) -> None:
    before = split.head_state()
    state = {"classifier.weight": torch.zeros(3, 32), "other.bias": torch.zeros(2)}
    with pytest.raises(ModelError) as error:
        split.load_head(state)
    assert "classifier.bias is missing" in error.value.found
    assert "other.bias is not part of this head" in error.value.found
    assert "classifier.weight has shape (3, 32) instead of (2, 32)" in error.value.found
    assert all(torch.equal(split.head[n], before[n]) for n in before)


def test_train_only_sets_and_counts(split: SplitModel) -> None:
    name = "bert.encoder.layer.0.output.dense.bias"
    head = 32 * 2 + 2
    total = sum(p.numel() for p in split.model.parameters())
    count = split.train_only({name: split.backbone[name]})
    assert (count.head, count.tuner, count.trainable) == (head, 32, head + 32)
    assert count.frozen == total - head - 32
    trainable = {n for n, p in split.model.named_parameters() if p.requires_grad}
    assert trainable == {name, "classifier.weight", "classifier.bias"}
    assert split.train_only({}).trainable == head
    assert not split.backbone[name].requires_grad


def test_a_head_parameter_is_not_counted_twice(split: SplitModel) -> None:
    assert split.train_only(dict(split.head)).tuner == 0


def test_a_snapshot_puts_back_every_bit(split: SplitModel) -> None:
    chosen = dict(list(split.backbone.items())[:4])
    fingerprint, snapshot = split.fingerprint(), Snapshot(chosen)
    for parameter in chosen.values():
        parameter.data.mul_(-3)
    assert split.fingerprint() != fingerprint
    snapshot.restore()
    assert split.fingerprint() == fingerprint


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_tensor_bytes_are_the_values_in_row_major_order(dtype: torch.dtype) -> None:
    tensor = torch.arange(6).view(2, 3).to(dtype)
    assert len(tensor_bytes(tensor)) == 6 * tensor.element_size()
    assert tensor_bytes(tensor.t()) == tensor_bytes(tensor.t().contiguous())
    assert tensor_bytes(tensor.t()) != tensor_bytes(tensor)
