"""Heads on their own: kept bit for bit, put back only where they fit."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from headstart.errors import Faults, ModelError
from headstart.models.backbone import SplitModel, tensor_bytes
from headstart.models.checkpoints.loading import load_classifier
from headstart.models.head_choice import Target
from headstart.models.headfile import RECORD, WEIGHTS, Head, describe_pooling
from headstart.models.heads import EncoderClassifier, HeadSpec

LABELS = ("no", "yes")
ABOUT: dict[str, Any] = {
    "backbone": "some/model", "strategy": "bitfit > full", "scores": {"accuracy": 0.75},
}  # fmt: skip


def head(family: str = "bert", **about: Any) -> Head:
    return Head.of(SplitModel(tiny.build(family)), LABELS, **about)


def same(left: dict[str, torch.Tensor], right: Any) -> bool:
    return left.keys() == right.keys() and all(
        tensor_bytes(left[name]) == tensor_bytes(right[name]) for name in left
    )


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_head_comes_back_bit_for_bit(family: str, tmp_path: Path) -> None:
    saved = head(family, **ABOUT)
    saved.save(tmp_path / "a" / "head")
    for source in (tmp_path / "a" / "head", tmp_path / "a", str(tmp_path / "a")):
        again = Head.from_pretrained(source)
        assert same(again.tensors, saved.tensors)
        assert again.record() == saved.record()
        assert again.labels == LABELS

    split = SplitModel(tiny.build(family))
    for parameter in split.head.values():
        parameter.data.add_(1)
    again.apply(split, LABELS)
    assert same(split.head_state(), saved.tensors)
    assert any("bias" in name for name in saved.tensors)


def test_a_head_is_described_by_its_shapes_not_its_numbers() -> None:
    assert repr(head()) == (
        "Head(BertForSequenceClassification: classifier.weight 2x32, classifier.bias 2; "
        "predicts no, yes)"
    )
    many = Head({}, "C", tuple("abcdefg"), "f")
    assert repr(many) == "Head(C: ; predicts a, b, c, d, e and 2 more)"
    assert "predicts a number" in repr(Head({}, "C", (), "f"))


def test_a_head_is_a_copy() -> None:
    split = SplitModel(tiny.build("bert"))
    taken = Head.of(split, LABELS)
    before = {name: tensor.clone() for name, tensor in taken.tensors.items()}
    split.head["classifier.bias"].data.add_(1)
    assert same(taken.tensors, before)
    taken.tensors["classifier.bias"] += 5
    assert not torch.equal(split.head["classifier.bias"], taken.tensors["classifier.bias"])


def test_the_record_says_where_the_head_belongs() -> None:
    record = head(**ABOUT).record()
    assert record["shapes"] == {"classifier.weight": [2, 32], "classifier.bias": [2]}
    assert record["labels"] == ["no", "yes"]
    assert record["model_class"] == "BertForSequenceClassification"
    assert record["fingerprint"] == SplitModel(tiny.build("bert")).fingerprint()
    assert record["pooling"] == "first token through the checkpoint's own pooler"
    assert "tensors" not in record
    assert ABOUT.items() <= record.items()
    json.dumps(record)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "modernbert"])
def test_a_plain_checkpoint_that_has_a_head_gives_it(family: str, tmp_path: Path) -> None:
    tiny.save_pretrained(family, tmp_path / "model", head=True)
    for source in (tmp_path / "model", tmp_path):  # a run's folder holds the model inside
        extracted = Head.from_pretrained(source)
        split = SplitModel(tiny.build(family))
        assert same(extracted.tensors, split.head_state())
        assert extracted.fingerprint == split.fingerprint()
        assert extracted.labels == ("LABEL_0", "LABEL_1")
        assert extracted.backbone == str(tmp_path / "model")


def test_a_checkpoint_without_a_head_is_refused(tmp_path: Path) -> None:
    tiny.save_pretrained("bert", tmp_path)
    with pytest.raises(ModelError, match="a trained head"):
        Head.from_pretrained(tmp_path)


def test_all_that_does_not_fit_is_told_at_once() -> None:
    split = SplitModel(tiny.build("roberta", num_labels=3))
    before = split.head_state()
    with pytest.raises(Faults) as error:
        head(backbone="some/model").apply(split, ("a", "b", "c"))
    labels, shapes = error.value.faults
    assert "['a', 'b', 'c']" in labels.expected
    assert "['no', 'yes']" in labels.found
    assert "classifier.out_proj.weight (3, 32)" in shapes.expected
    assert "classifier.weight (2, 32)" in shapes.found
    assert "RobertaForSequenceClassification" in shapes.expected
    assert "BertForSequenceClassification" in shapes.found
    assert same(split.head_state(), before)


def own_head(kind: str) -> SplitModel:
    spec = HeadSpec.mlp(2) if kind == "mlp" else HeadSpec.linear(2)
    return SplitModel(EncoderClassifier(tiny.build("bert").bert, spec))  # type: ignore[arg-type]


def other_backbone() -> SplitModel:
    return SplitModel(tiny.build("bert", seed=1))


def test_another_backbone_is_refused_unless_allowed() -> None:
    split = other_backbone()
    fingerprint = split.fingerprint()
    with pytest.raises(ModelError, match="trained on this backbone") as error:
        head(backbone="some/model").apply(split, LABELS)
    assert fingerprint in error.value.expected
    assert "some/model" in error.value.found
    assert "--ignore-backbone-mismatch" in error.value.fix
    head().apply(split, LABELS, ignore_backbone=True)
    assert same(split.head_state(), head().tensors)
    assert split.fingerprint() == fingerprint


@pytest.mark.parametrize(
    ("split", "labels", "told"),
    [
        (lambda: SplitModel(tiny.build("bert")), ("yes", "no"), "in this order"),
        (lambda: SplitModel(tiny.build("bert")), (), "for a number; found one for the labels"),
        (lambda: SplitModel(tiny.build("bert", num_labels=3)), LABELS, r"weight \(3, 32\)"),
        (lambda: SplitModel(tiny.build("bert", hidden_size=48)), LABELS, "Give the head's own"),
        (lambda: SplitModel(tiny.build("roberta")), LABELS, "a head of the same model class"),
        (lambda: own_head("mlp"), LABELS, "Pass --head-type native"),
        (lambda: own_head("linear"), LABELS, r"\(linear, EncoderClassifier\)"),
    ],
)
def test_nothing_else_can_be_ignored(
    split: Callable[[], SplitModel], labels: tuple[str, ...], told: str
) -> None:
    with pytest.raises(ModelError, match=told):
        head().apply(split(), labels, ignore_backbone=True)


def rewrite(folder: Path, **changes: Any) -> None:
    record = json.loads((folder / RECORD).read_text()) | changes
    (folder / RECORD).write_text(json.dumps(record))


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / WEIGHTS).unlink(),
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-1]),
        lambda f: (f / RECORD).write_text("{"),
        lambda f: (f / RECORD).write_text("[]"),
        lambda f: (f / RECORD).write_text("{}"),
        lambda f: (f / RECORD).write_text("3"),
        lambda f: rewrite(f, version=2, of_later=1),
        lambda f: rewrite(f, labels=None),
        lambda f: rewrite(f, unheard_of=1),
        lambda f: rewrite(f, version=2),
        lambda f: rewrite(f, shapes={"classifier.weight": [3, 32]}),
        lambda f: save_file({"x": torch.zeros(1)}, f / WEIGHTS),
    ],
)
def test_a_damaged_head_folder_is_refused(damage: Callable[[Path], object], tmp_path: Path) -> None:
    head().save(tmp_path)
    damage(tmp_path)
    with pytest.raises(ModelError) as error:
        Head.from_pretrained(tmp_path)
    assert str(tmp_path) in error.value.found
    assert "extract" in error.value.fix


def test_the_weights_are_plain_safetensors(tmp_path: Path) -> None:
    saved = head()
    saved.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {WEIGHTS, RECORD}
    assert same(load_file(tmp_path / WEIGHTS), saved.tensors)


def test_pooling_is_told_in_words() -> None:
    pooler = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    described = {
        "own": describe_pooling(SplitModel(tiny.build("bert"))),
        "fresh": describe_pooling(SplitModel(tiny.build("bert"), pooler)),
        "none": describe_pooling(SplitModel(tiny.build("distilbert"))),
        "mean": describe_pooling(SplitModel(tiny.build("modernbert", classifier_pooling="mean"))),
    }
    assert described == {
        "own": "first token through the checkpoint's own pooler",
        "fresh": "first token through a pooler that belongs to the head",
        "none": "first token vector",
        "mean": "mean vector",
    }


def test_other_poolings_are_told_too(gpt2: Path, folder: Path) -> None:
    target = Target(LABELS, spans=2)
    assert describe_pooling(load_classifier(str(gpt2), Target(LABELS))) == "last token vector"
    own = load_classifier(str(folder), target)
    assert describe_pooling(own) == "first token vector and 2 span vectors"


def test_a_failed_write_leaves_the_head_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = head(strategy="first")
    (tmp_path / "notes.txt").write_text("mine")
    first.save(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="space"):
            head(strategy="second").save(tmp_path)
    assert Head.from_pretrained(tmp_path).strategy == "first"
    head(strategy="third").save(tmp_path)
    assert Head.from_pretrained(tmp_path).strategy == "third"
    assert {path.name for path in tmp_path.iterdir()} == {WEIGHTS, RECORD, "notes.txt"}


def test_a_crash_between_the_files_leaves_no_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head().save(tmp_path)
    replace = Path.replace

    def crash(path: Path, target: Path) -> Path:
        if target.name == RECORD:
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        head().save(tmp_path)
    with pytest.raises(ModelError, match="with neither"):
        Head.from_pretrained(tmp_path)


def test_what_is_no_head_folder_is_told(tmp_path: Path) -> None:
    head().save(tmp_path / "head")
    for name in (WEIGHTS, RECORD):
        with pytest.raises(ModelError) as error:
            Head.from_pretrained(tmp_path / "head" / name)
        assert str(tmp_path / "head") in error.value.fix
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"head.json, or a run or checkpoint with config.json"):
        Head.from_pretrained(tmp_path / "empty")


def test_the_home_folder_is_put_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    head().save("~/head")
    assert (tmp_path / "head" / RECORD).is_file()
    assert Head.from_pretrained("~/head").labels == LABELS


def test_a_checkpoints_own_head_goes_back_onto_its_backbone(
    checkpoint: Callable[..., Path],
) -> None:
    """What `fit --model X` leaves out, `fit --model X --head X` puts in."""
    source = str(checkpoint(head=True))
    given = Head.from_pretrained(source)
    assert given.labels == ("LABEL_0", "LABEL_1")
    split = load_classifier(source, Target(given.labels), seed=1)
    assert not same(split.head_state(), given.tensors)
    given.apply(split, given.labels)
    assert same(split.head_state(), given.tensors)
    given.apply(split, ("0", "1"))  # nobody has named the classes, here or there
    with pytest.raises(ModelError, match="LABEL_0"):
        given.apply(split, LABELS)
