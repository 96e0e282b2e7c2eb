"""The command without options works for every family of which transformers has a classifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

import headstart as hs
import tiny_families
from alike import first
from headstart.errors import ConfigError, ModelError
from tiny_runs import BATCH_SIZE, frame

FAMILIES = tuple(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)
TWO_PARTS, NO_TEXT = "has an encoder and a decoder", "reads no text or not text alone"
ENCODERS = ("bart", "bigbird_pegasus", "mbart", "mt5", "mvp", "plbart", "t5", "umt5")
"""Families with a decoder, of which the encoder alone is used, with a head of ours."""
_TWO_PARTS = ("t5gemma", "t5gemma2")
# CANINE reads characters and has no vocabulary; the others read pictures too.
_NO_TEXT = (
    "canine", "gemma3", "layoutlmv2", "modernvbert", "perceiver", "qwen3_5", "ultravbert",
)  # fmt: skip
REFUSED = dict.fromkeys(_TWO_PARTS, TWO_PARTS) | dict.fromkeys(_NO_TEXT, NO_TEXT)
REFUSED["reformer"] = "of the family reformer"  # its rows must all have the one length it names
"""Families that are refused from the configuration alone, and what is said of them."""
_NATIVE = [f for f in FAMILIES if f not in REFUSED and f not in ENCODERS]
TRAIN, VALIDATION = frame(16), frame(16, 1)


@pytest.mark.slow
@pytest.mark.parametrize("family", first(_NATIVE, every=11))
def test_the_default_trains_it_and_saves_what_transformers_loads(
    family: str, tmp_path: Path
) -> None:
    settings = _settings(tiny_families.save_pretrained(family, tmp_path / family))
    hs.plan(**settings)
    result = hs.fit(**settings, out=str(tmp_path / "run"))
    assert result.status == "done"
    assert result.scores
    assert np.isfinite(list(result.scores.values())).all()
    assert len(result.stages) == 2
    texts = list(VALIDATION.sentence[:6])
    ours = [list(one.probabilities.values()) for one in hs.load(result).predict(texts)]
    folder = tmp_path / "run" / "model"
    again = AutoModelForSequenceClassification.from_pretrained(folder)
    tokens = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        theirs = softmax(again(**tokens).logits.numpy(), axis=1)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("family", first(ENCODERS, every=2))
def test_the_default_trains_the_encoder_alone(family: str, tmp_path: Path) -> None:
    settings = _settings(tiny_families.save_pretrained(family, tmp_path / family))
    result = hs.fit(**settings, out=str(tmp_path / "run"))
    assert result.status == "done"
    assert len(result.stages) == 2
    model = hs.load(result)
    right = [one.label for one in model.predict(list(VALIDATION.sentence))] == VALIDATION.label
    assert right.mean() == pytest.approx(result.scores["accuracy"])
    assert not any("decoder" in name for name in model._split.model.state_dict())


@pytest.mark.parametrize("family", list(REFUSED))
def test_it_is_refused_by_name(family: str, tmp_path: Path) -> None:
    settings = _settings(tiny_families.save_pretrained(family, tmp_path / "model", weights=False))
    for call in (hs.plan, hs.fit):
        more = {"out": str(tmp_path / "run")} if call is hs.fit else {}
        with pytest.raises((ModelError, ConfigError), match=REFUSED[family]) as caught:
            call(**settings, **more)
        assert family in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_documented_table_tells_the_same_families() -> None:
    file = Path(__file__).parents[1] / "benchmarks" / "families.json"
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    assert len(rows) >= 100
    assert {
        family for family, row in rows.items() if "refused" in row
    } == REFUSED.keys() & rows.keys()
    assert {family for family, row in rows.items() if row.get("precision") == "fp32"} == {
        "deberta", "xmod"
    } & rows.keys()  # fmt: skip
    assert rows.keys() <= set(FAMILIES)


def test_xmod_without_a_language_is_refused(tmp_path: Path) -> None:
    folder = tiny_families.save_pretrained("xmod", tmp_path / "xmod", default_language=None)
    with pytest.raises((ModelError, ConfigError), match="language"):
        hs.fit(**_settings(folder), out=str(tmp_path / "run"))


def _settings(model: Path) -> dict[str, Any]:
    return {
        "model": str(model),
        "train": TRAIN,
        "validation": VALIDATION,
        "text": "sentence",
        "epochs": 1,
        "batch_size": BATCH_SIZE,
        "device": "cpu",
        "precision": "fp32",
    }
