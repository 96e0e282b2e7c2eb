"""Checkpoints, heads and tokenizers that cannot be used, each refused with what to do."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from headstart.errors import ModelError
from headstart.models.checkpoints.loading import (
    OWN_HEAD_FILE,
    OWN_HEAD_WEIGHTS,
    load_classifier,
    load_saved,
    load_tokenizer,
)
from headstart.models.checkpoints.saving import save_classifier
from headstart.models.head_choice import Target

WEIGHTS = "model.safetensors"
TWO = Target(("no", "yes"))


def drop(folder: Path, *parts: str) -> None:
    """Take the tensors whose names contain one of the parts out of a checkpoint."""
    tensors = load_file(folder / WEIGHTS)
    kept = {name: t for name, t in tensors.items() if not any(part in name for part in parts)}
    assert len(kept) < len(tensors)
    save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})


def edit_config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def cut(folder: Path, size: int = -100) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:size])


def pickle_weights(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


DAMAGE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "weights as safetensors", "model.safetensors"),
    "pickled weights": (pickle_weights, "weights as safetensors", "pickles"),
    "cut off": (cut, "a complete safetensors file", "again"),
    "cut off in its header": (lambda f: cut(f, 100), "a complete safetensors file", "again"),
    "empty": (lambda f: cut(f, 0), "a complete safetensors file", "again"),
    "a pipe": (
        lambda f: (f / WEIGHTS).unlink() or os.mkfifo(f / WEIGHTS),
        "a config.json that is JSON", "again",
    ),
    "more numbers than the weights hold": (
        edit_config(vocab_size=10**9), "config.json and weights", "both",
    ),
    "as many layers as stars": (
        edit_config(num_hidden_layers=10**9), "transformers can read", "Compare",
    ),
    "as many labels as stars": (
        edit_config(num_labels=10**9), "transformers can read", "Compare",
    ),
    "a number for its class": (edit_config(architectures=3), "transformers can read", "Compare"),
    "a lost shard": (
        lambda f: (f / WEIGHTS).rename(f / "x") and (f / f"{WEIGHTS}.index.json").write_text(
            '{"metadata": {}, "weight_map": {"a": "lost.safetensors"}}'
        ),
        "weights as safetensors", "model.safetensors",
    ),
    "no config": (lambda f: (f / "config.json").unlink(), "with config.json", "save_pretrained"),
    "unknown family": (edit_config(model_type="?"), "a model_type that transformers", "newer"),
    "misspelt family": (edit_config(model_type="brt"), "a model_type that", "mean 'bert'"),
    "own code": (edit_config(model_type="?", auto_map={}), "has the code of", "--trust-remote"),
    "a word for a width": (edit_config(hidden_size="x"), "transformers can read", "Compare"),
    "a word for labels": (edit_config(id2label="x"), "transformers can read", "Compare"),
    "quantised": (edit_config(quantization_config={"quant_method": "gptq"}), "plain", "made from"),
    "a broken index": (
        lambda f: (f / WEIGHTS).rename(f / "x") and (f / f"{WEIGHTS}.index.json").write_text("{"),
        "config.json and weights", "both",
    ),
    "a padding token too high": (edit_config(pad_token_id=999), "config.json and weights", "both"),
    "no attention heads": (edit_config(num_attention_heads=0), "config.json and weights", "both"),
    "a layer is missing": (lambda f: drop(f, "layer.1."), "the whole encoder", "belong together"),
    "a word table is missing": (lambda f: drop(f, "word_emb"), "the whole encoder", "belong"),
    "another width": (edit_config(hidden_size=64), "the whole encoder", "belong together"),
    "more layers": (edit_config(num_hidden_layers=3), "the whole encoder", "belong together"),
    "an impossible shape": (edit_config(num_attention_heads=5), "config.json and weights", "both"),
    "an unknown activation": (edit_config(hidden_act="?"), "config.json and weights", "both"),
}  # fmt: skip


@pytest.mark.parametrize("head", ["native", "linear"])
@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_checkpoint_is_refused(case: str, head: str, folder: Path) -> None:
    damage, expected, fix = DAMAGE[case]
    damage(folder)
    with pytest.raises(ModelError) as error:
        load_classifier(str(folder), TWO, head=head)
    assert expected in error.value.expected
    assert str(folder) in error.value.found
    assert fix in error.value.fix
    assert error.value.__suppress_context__ or error.value.__cause__ is None


@pytest.mark.parametrize(
    ("family", "part"),
    [
        ("electra", "embeddings_project"), ("deberta-v2", "rel_embeddings"),
        ("deberta-v2", "encoder.LayerNorm"), ("mpnet", "relative_attention_bias"),
        ("albert", "embedding_hidden_mapping_in"), ("distilbert", "position_embeddings"),
        ("modernbert", "layers.2."),
    ],
)  # fmt: skip
def test_a_hole_in_the_encoder_is_no_head(
    family: str, part: str, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint(family), tmp_path / family))
    drop(folder, part)
    for head in ("native", "mlp"):
        with pytest.raises(ModelError, match="the whole encoder") as error:
            load_classifier(str(folder), TWO, head=head)
        assert part in error.value.found


def test_a_family_without_such_a_class_is_pointed_to_our_heads(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "splinter"}')
    with pytest.raises(ModelError, match="SequenceClassification") as error:
        load_classifier(str(tmp_path), TWO)
    assert "--head-type linear" in error.value.fix


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (OWN_HEAD_WEIGHTS, None), (OWN_HEAD_WEIGHTS, b"cut off"), (OWN_HEAD_FILE, b"{"),
        (OWN_HEAD_FILE, b"{}"), (OWN_HEAD_FILE, b'{"labels": [], "kind": "x", "head": 3}'),
    ],
)  # fmt: skip
def test_a_damaged_head_of_ours_is_refused(
    file: str, content: bytes | None, folder: Path, tmp_path: Path
) -> None:
    split = load_classifier(str(folder), TWO, head="linear")
    save_classifier(split, TWO, tiny.tokenizer(), tmp_path / "saved", "card")
    path = tmp_path / "saved" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError):
        load_saved(str(tmp_path / "saved"))


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_the_tokenizer_comes_with_the_checkpoint(
    family: str, checkpoint: Callable[..., Path]
) -> None:
    tokenizer = load_tokenizer(str(checkpoint(family)), tiny.VOCABULARY)
    text = "a great film"
    assert tokenizer(text)["input_ids"] == tiny.tokenizer(family)(text)["input_ids"]


def no_tokenizer(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name not in {"config.json", WEIGHTS}:
            path.unlink()


@pytest.mark.parametrize(
    "damage",
    [
        no_tokenizer,
        lambda f: (f / "tokenizer.json").unlink(),
        lambda f: (f / "tokenizer.json").write_text('{"version": '),
    ],
)
def test_a_missing_tokenizer_is_told(damage: Callable[[Path], object], folder: Path) -> None:
    damage(folder)
    with pytest.raises(ModelError) as error:
        load_tokenizer(str(folder), tiny.VOCABULARY)
    assert error.value.expected == "a tokenizer beside the model"
    assert str(folder) in error.value.found
    assert "tokenizer.json" in error.value.fix


def test_a_tokenizer_of_another_model_is_told(folder: Path) -> None:
    size = len(tiny.tokenizer())
    assert len(load_tokenizer(str(folder), size)) == size
    with pytest.raises(ModelError) as error:
        load_tokenizer(str(folder), size - 1)
    assert f"at most {size - 1} tokens" in error.value.expected
    assert str(size) in error.value.found
