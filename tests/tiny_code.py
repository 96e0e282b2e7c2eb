"""A tiny model that brings code of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tiny_runs import inputs

CODE = """
from pathlib import Path
from transformers import BertConfig, BertForSequenceClassification, BertModel

Path({ran!r}).touch()


class OwnConfig(BertConfig):
    model_type = {model_type!r}


class OwnModel(BertModel):
    config_class = OwnConfig


class OwnClassifier(BertForSequenceClassification):
    config_class = OwnConfig
"""
CLASSES = {
    "AutoConfig": "OwnConfig",
    "AutoModel": "OwnModel",
    "AutoModelForSequenceClassification": "OwnClassifier",
}


def settings_with_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch, model_type: str = "bert"
) -> dict[str, Any]:
    """Return settings for a model with code beside it, which leaves a file when it runs.

    The code leaves ``code has run`` in the folder; transformers' copies go to another. Of a family
    that transformers knows, its own class is taken without trust.
    """
    modules = "transformers.dynamic_module_utils.HF_MODULES_CACHE"
    monkeypatch.setattr(modules, str(folder / "modules"))
    given = inputs(folder)
    model = shutil.copytree(given["model"], folder / "own")
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config["model_type"] = model_type
    config["auto_map"] = {auto: f"own_code.{name}" for auto, name in CLASSES.items()}
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    code = CODE.format(ran=str(folder / "code has run"), model_type=model_type)
    (model / "own_code.py").write_text(code, encoding="utf-8")
    return given | {"model": str(model), "strategy": "full(steps=2)"}
