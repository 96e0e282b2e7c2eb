"""Checkpoints for sentence vectors: what they pool is used, and written in their own form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

import headstart as hs
from headstart.models.checkpoints.sentence import MODULES, sentence_pooling
from tiny_runs import frame, inputs, watched


def make_sentence(folder: Path, **pooling: Any) -> None:
    """Add to a checkpoint what sentence-transformers keeps beside one."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [{"path": p, "type": f"sentence_transformers.models.{k}"} for p, k in kinds.items()]
    (folder / MODULES).write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, "first"),
        ({"pooling_mode": "mean", "embedding_dimension": 32}, "mean"),
        ({"pooling_mode": "cls"}, "first"),
        ({"pooling_mode_max_tokens": True}, None),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, None),
        ({}, None),
    ],
)
def test_what_a_checkpoint_pools_is_read(
    settings: dict[str, Any], expected: str | None, tmp_path: Path
) -> None:
    make_sentence(tmp_path, **settings)
    assert sentence_pooling(str(tmp_path)) == expected


@pytest.mark.parametrize("text", ["", "{", "[1]", "[{}]", '{"a": 1}', "[" * 50_000, "null"])
def test_a_damaged_list_of_modules_says_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / MODULES).write_text(text)
    assert sentence_pooling(str(tmp_path)) is None


def test_a_plain_checkpoint_says_nothing(tmp_path: Path) -> None:
    assert sentence_pooling(str(tmp_path)) is None


def given(tmp_path: Path, **more: Any) -> dict[str, Any]:
    settings = inputs(tmp_path, **more)
    make_sentence(Path(settings["model"]), pooling_mode_mean_tokens=True)
    return settings


def test_a_run_pools_as_the_checkpoint_does_and_says_so(tmp_path: Path) -> None:
    settings = given(tmp_path, strategy="full(steps=2)")
    plan = hs.plan(**settings)
    assert dict(plan.facts)["head input"] == "mean of the token vectors"
    assert "--head-type native" in dict(plan.facts)["head"]
    result = watched(out=tmp_path / "run", **settings).result
    assert (result.backbone["head"], result.backbone["pooling"]) == ("linear", "mean")


def test_whoever_asks_for_another_head_gets_it(tmp_path: Path) -> None:
    settings = given(tmp_path, strategy="full(steps=1)")
    native = hs.plan(**settings, head_type="native")
    assert dict(native.facts)["head"].startswith("native")
    first = hs.plan(**settings, head_type="linear")
    assert dict(first.facts)["head input"] == "first token vector"
    assert dict(first.facts)["head"] == "linear"


def test_the_result_has_the_form_of_sentence_transformers(tmp_path: Path) -> None:
    """Computed by hand from the files alone, it gives the logits of the saved model."""
    watched(strategy="full(steps=2)", out=tmp_path / "run", **given(tmp_path))
    folder = tmp_path / "run/model"
    modules = json.loads((folder / MODULES).read_text())
    assert [m["type"].rsplit(".", 1)[1] for m in modules] == ["Transformer", "Pooling", "Dense"]
    assert json.loads((folder / "1_Pooling/config.json").read_text())["pooling_mode_mean_tokens"]
    dense = json.loads((folder / "2_Dense/config.json").read_text())
    assert dense["activation_function"] == "torch.nn.modules.linear.Identity"
    weights = load_file(folder / "2_Dense/model.safetensors")
    assert weights["linear.weight"].shape == (dense["out_features"], dense["in_features"])
    backbone = AutoModel.from_pretrained(folder).eval()
    batch = AutoTokenizer.from_pretrained(folder)("a great film", return_tensors="pt")
    with torch.no_grad():
        vector = backbone(**batch).last_hidden_state.mean(1)
        logits = vector @ weights["linear.weight"].T + weights["linear.bias"]
    card = (folder / "README.md").read_text()
    assert 'SentenceTransformer("path/to/this/folder").encode(["a text"])' in card
    (told,) = hs.load(tmp_path / "run").predict(["a great film"])
    shares = logits.softmax(-1)[0].tolist()
    assert list(told.probabilities.values()) == pytest.approx(shares, abs=1e-5)


def test_the_card_of_a_model_of_pairs_gives_it_a_pair(tmp_path: Path) -> None:
    pairs = frame(24).assign(other=frame(24, 1)["sentence"])
    settings = given(tmp_path) | {"train": pairs, "validation": pairs[:8]}
    settings["text"] = ("sentence", "other")
    hs.fit(strategy="full(steps=1)", out=tmp_path / "run", **settings)
    card = (tmp_path / "run/model/README.md").read_text()
    assert '.encode([("a text", "another")])' in card
    assert "the vector of a pair is its logits" in card


def test_a_saved_run_goes_on_as_the_same_kind(tmp_path: Path) -> None:
    settings = given(tmp_path, strategy="full(steps=1)")
    watched(out=tmp_path / "run", **settings)
    again = hs.plan(**{**settings, "model": str(tmp_path / "run")})
    assert dict(again.facts)["head input"] == "mean of the token vectors"
    head = hs.plan(**settings, head=str(tmp_path / "run"), ignore_backbone_mismatch=True)
    assert dict(head.facts)["head"].startswith("linear")


def test_a_head_of_the_class_itself_is_not_put_on_the_other_form(tmp_path: Path) -> None:
    settings = inputs(tmp_path, strategy="full(steps=1)")
    watched(out=tmp_path / "native", **settings)
    make_sentence(Path(settings["model"]), pooling_mode_mean_tokens=True)
    plan = hs.plan(**settings, head=str(tmp_path / "native"), ignore_backbone_mismatch=True)
    assert dict(plan.facts)["head"].startswith("native")


def test_heads_without_that_form_are_not_written_so(tmp_path: Path) -> None:
    settings = inputs(tmp_path, strategy="full(steps=1)", head_type="mlp")
    watched(out=tmp_path / "run", **settings)
    assert not (tmp_path / "run/model" / MODULES).exists()
