"""The encoder alone of families with a decoder: from a whole checkpoint, or saved by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForTextEncoding

import tiny
import tiny_families
from headstart.errors import ModelError
from headstart.models.checkpoints.loading import load_classifier, load_saved
from headstart.models.checkpoints.saving import save_classifier
from headstart.models.head_choice import Target

TARGET = Target(("no", "yes"))
MEAN: dict[str, Any] = {"head": "linear", "pooling": "mean"}


@pytest.mark.parametrize("family", ["bart", "t5"])
def test_it_is_the_whole_models_encoder_and_reads_back(family: str, tmp_path: Path) -> None:
    folder = tiny_families.save_pretrained(family, tmp_path / "whole")
    whole: Any = AutoModel.from_pretrained(folder).eval()
    alone = tmp_path / "alone"
    encoder = AutoModelForTextEncoding.from_pretrained(folder) if family == "t5" else None
    (encoder or whole.get_encoder()).save_pretrained(alone)
    batch = tiny.batch()
    with torch.no_grad():
        expected = whole.get_encoder()(**batch).last_hidden_state
    splits = [load_classifier(str(source), TARGET, **MEAN) for source in (folder, alone)]
    for split in splits:
        split.model.eval()
        with torch.no_grad():
            assert torch.equal(split.base(**batch).last_hidden_state, expected)
    assert splits[0].fingerprint() == splits[1].fingerprint()
    save_classifier(splits[0], TARGET, tiny.tokenizer("roberta"), tmp_path / "saved", "card")
    again, target = load_saved(str(tmp_path / "saved"))
    assert target == TARGET
    assert again.fingerprint() == splits[0].fingerprint()
    # AutoModel, by which sentence-transformers loads, would put a decoder of noise beside BART's.
    assert (tmp_path / "saved" / "modules.json").is_file() == (family == "t5")


@pytest.mark.parametrize("family", ["bart", "t5"])
def test_a_native_head_is_refused_with_one_that_works(family: str, tmp_path: Path) -> None:
    folder = tiny_families.save_pretrained(family, tmp_path / family)
    with pytest.raises(ModelError, match="encoder and a decoder") as caught:
        load_classifier(str(folder), TARGET)
    assert "--head-type linear --pooling mean" in caught.value.fix


def test_a_family_without_a_width_of_its_encoder_is_refused(tmp_path: Path) -> None:
    folder = tiny_families.save_pretrained("t5gemma", tmp_path / "model", weights=False)
    with pytest.raises(ModelError, match="encoder and a decoder") as caught:
        load_classifier(str(folder), TARGET, **MEAN)
    assert "--head-type" not in caught.value.fix
