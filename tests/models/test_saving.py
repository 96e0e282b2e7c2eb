"""What is saved reads back bit for bit, by us and by plain transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

import headstart.models.checkpoints.saving
import tiny
from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.loading import OWN_HEAD_FILE, load_classifier, load_saved
from headstart.models.checkpoints.saving import save_classifier
from headstart.models.head_choice import Target

TARGET = Target(("no", "yes", "näja"))


def classifier(family: str, folder: Path, head: str = "native") -> SplitModel:
    """Load a checkpoint as a classifier and change every parameter, as training does."""
    split = load_classifier(str(tiny.save_pretrained(family, folder)), TARGET, head=head)
    torch.manual_seed(0)
    for parameter in split.model.parameters():
        parameter.data.add_(0.01 * torch.randn_like(parameter))
    return split


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model.eval()(**tiny.batch()).logits
    return found


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_plain_transformers_loads_a_native_head(family: str, tmp_path: Path) -> None:
    split = classifier(family, tmp_path / "checkpoint")
    out = tmp_path / "deep" / "model"
    save_classifier(split, TARGET, tiny.tokenizer(family), out, "# A card\n")
    plain, info = AutoModelForSequenceClassification.from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert torch.equal(logits(plain), logits(split.model))
    assert plain.config.id2label == {0: "no", 1: "yes", 2: "näja"}
    text = "a great film"
    tokens = AutoTokenizer.from_pretrained(out)(text)["input_ids"]
    assert tokens == tiny.tokenizer(family)(text)["input_ids"]
    assert (out / "README.md").read_text(encoding="utf-8") == "# A card\n"
    again, target = load_saved(str(out))
    assert target == TARGET
    assert torch.equal(logits(again.model), logits(split.model))
    assert not (out / OWN_HEAD_FILE).exists()


@pytest.mark.parametrize("head", ["linear", "mlp"])
@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
def test_a_head_of_ours_stands_beside_a_plain_backbone(
    family: str, head: str, tmp_path: Path
) -> None:
    split = classifier(family, tmp_path / "checkpoint", head)
    save_classifier(split, TARGET, tiny.tokenizer(family), tmp_path / "model", "card")
    again, target = load_saved(str(tmp_path / "model"))
    assert target == TARGET
    assert torch.equal(logits(again.model), logits(split.model))
    assert again.fingerprint() == split.fingerprint()
    plain = AutoModel.from_pretrained(tmp_path / "model").eval()
    backbone: Any = split.base
    batch = tiny.batch()
    with torch.no_grad():
        states = plain(**batch).last_hidden_state
        assert torch.equal(states, backbone.eval()(**batch).last_hidden_state)
    record = json.loads((tmp_path / "model" / OWN_HEAD_FILE).read_text())
    assert record["labels"] == list(TARGET.labels)
    assert record["head"]["kind"] == head


@pytest.mark.parametrize("head", ["native", "linear"])
def test_a_write_that_went_wrong_is_noticed(
    head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = classifier("bert", tmp_path / "checkpoint", head)
    read = headstart.models.checkpoints.saving.load_saved
    name = "layer.1.output.dense.bias"

    def flip_one_bit(folder: str, **_: bool) -> Any:
        path = Path(folder) / "model.safetensors"
        tensors = load_file(path)
        (key,) = (key for key in tensors if key.endswith(name))
        tensors[key].view(torch.int32)[3] ^= 1
        save_file(tensors, path, metadata={"format": "pt"})
        return read(folder)

    monkeypatch.setattr(headstart.models.checkpoints.saving, "load_saved", flip_one_bit)
    with pytest.raises(ModelError, match="bit for bit") as error:
        save_classifier(split, TARGET, tiny.tokenizer(), tmp_path / "model", "card")
    assert "1 tensors that differ" in error.value.found
    assert name in error.value.found


def test_a_model_that_a_tuner_still_sits_on_is_noticed(tmp_path: Path) -> None:
    split = classifier("bert", tmp_path / "checkpoint")
    split.base.register_parameter("left_over", torch.nn.Parameter(torch.zeros(2)))
    with pytest.raises(ModelError, match="left_over"):
        save_classifier(split, TARGET, tiny.tokenizer(), tmp_path / "model", "card")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split, out = classifier("bert", tmp_path / "checkpoint"), tmp_path / "out" / "model"
    save_classifier(split, TARGET, tiny.tokenizer(), out, "first")

    def fail(_folder: str, **_: bool) -> None:
        assert "model" in names(out.parent)
        assert len(names(out.parent)) == 2  # the new one is written under a name of its own
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(headstart.models.checkpoints.saving, "load_saved", fail)
        with pytest.raises(OSError, match="space"):
            save_classifier(split, TARGET, tiny.tokenizer(), out, "second")
    assert (out / "README.md").read_text() == "first"
    save_classifier(split, TARGET, tiny.tokenizer(), out, "third")
    assert (out / "README.md").read_text() == "third"
    assert names(out.parent) == {"model"}
