"""A model that brings code of its own: run when asked for, saved with it, and loaded again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import headstart as hs
from headstart.errors import ModelError
from tiny_runs import inputs

CODE = """
from transformers import BertConfig, BertForSequenceClassification, BertModel


class OwnConfig(BertConfig):
    model_type = "ownbert"


class OwnModel(BertModel):
    config_class = OwnConfig


class OwnClassifier(BertForSequenceClassification):
    config_class = OwnConfig
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Settings for a model of unknown type, its code beside it."""
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    given = inputs(tmp_path)
    model = shutil.copytree(given["model"], tmp_path / "own")
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    classes = {
        "AutoConfig": "OwnConfig",
        "AutoModel": "OwnModel",
        "AutoModelForSequenceClassification": "OwnClassifier",
    }
    config |= {
        "model_type": "ownbert",
        "auto_map": {auto: f"own_code.{name}" for auto, name in classes.items()},
    }
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (model / "own_code.py").write_text(CODE, encoding="utf-8")
    return given | {"model": str(model), "strategy": "full(steps=2)", "out": tmp_path / "run"}


def test_code_of_a_models_own_runs_when_asked_for(
    settings: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="--trust-remote-code"):
        hs.fit(**settings)
    result = hs.fit(**settings, trust_remote_code=True)
    assert (tmp_path / "run" / "model" / "own_code.py").is_file()
    with pytest.raises(ModelError, match="--trust-remote-code"):
        hs.load(result)
    data = tmp_path / "validation.csv"
    again = hs.evaluate(result, data, trust_remote_code=True)
    assert again == pytest.approx(result.scores, abs=1e-6)
