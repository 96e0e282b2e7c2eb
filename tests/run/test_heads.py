"""Pooling and initialisation of the head through whole runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoModel

import headstart as hs
from headstart.errors import ConfigError, HeadstartError, ModelError
from headstart.models.headfile import Head
from headstart.steps.output.folder import MODEL
from tiny_runs import Watch, frame, inputs, watching

STRATEGY = "head(steps=2) > full(steps=2)"
OWN = {"head_type": "linear", "pooling": "attention", "head_init": "labels", "guard": False}


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_a_saved_run_predicts_what_it_scored(tmp_path: Path, pooling: str) -> None:
    settings = inputs(tmp_path, strategy=STRATEGY, **OWN | {"pooling": pooling})
    result = hs.fit(out=tmp_path / "run", **settings)
    scored = hs.evaluate(tmp_path / "run", tmp_path / "validation.csv")
    assert scored["loss"] == pytest.approx(result.last["loss"], abs=1e-4)
    assert result.backbone["pooling"] == pooling
    assert result.backbone["head_init"] == "labels"
    assert result.settings["pooling"] == pooling
    # Without headstart the backbone still loads, all of it.
    _, info = AutoModel.from_pretrained(tmp_path / "run" / MODEL, output_loading_info=True)
    assert {k for k in info["missing_keys"] if "pooler" not in k} == set()
    record = json.loads((tmp_path / "run" / "head" / "head.json").read_text())
    assert "token vectors" in record["pooling"]


def test_the_query_is_handed_on(tmp_path: Path) -> None:
    settings = inputs(tmp_path, strategy=STRATEGY, head_lr=0.1, **OWN)
    watch = Watch()
    with watching(watch):
        hs.fit(out=tmp_path / "run", callback=watch, **settings)
    first, second = watch.stages
    assert not first.head["head.query"].any()
    assert first.last_head["head.query"].any()
    assert torch.equal(second.head["head.query"], first.last_head["head.query"])
    kept = Head.from_pretrained(tmp_path / "run" / "head").tensors["head.query"]
    assert torch.equal(kept, first.last_head["head.query"])


def test_the_hidden_part_of_another_tasks_head(tmp_path: Path) -> None:
    settings = inputs(tmp_path, **OWN | {"head_type": "mlp"})
    hs.fit(out=tmp_path / "one", strategy="head(steps=3)", **settings)
    rows = frame()
    rows["label"] = [["good", "bad", "middling"][i % 3] for i in range(len(rows))]
    for name in ("train", "validation"):
        rows.to_csv(tmp_path / f"{name}3.csv", index=False)
        settings[name] = str(tmp_path / f"{name}3.csv")
    given: dict[str, Any] = {"head": str(tmp_path / "one" / "head")}
    with pytest.raises(HeadstartError, match="--head-part hidden"):
        hs.plan(strategy=STRATEGY, **settings | given | {"head_init": "normal"})
    with pytest.raises(ConfigError, match="add --head-part hidden"):
        hs.plan(strategy=STRATEGY, **settings | given)
    given["head_part"] = "hidden"
    watch = Watch()
    with watching(watch):
        hs.fit(out=tmp_path / "two", callback=watch, strategy=STRATEGY, **settings | given)
    assert len(watch.stages) == 2
    start, source = watch.stages[0].head, Head.from_pretrained(given["head"]).tensors
    assert torch.equal(start["head.query"], source["head.query"])
    assert torch.equal(start["head.dense.weight"], source["head.dense.weight"])
    assert start["head.out.weight"].shape == (3, 2048)


def test_bad_combinations_are_refused_before_training(tmp_path: Path) -> None:
    settings = inputs(tmp_path)
    for wrong, kind, told in (
        ({"pooling": "mean"}, ModelError, "--head-type linear"),
        ({"head_type": "span"}, ModelError, "--head-type mlp"),
        ({"head_part": "hidden"}, ConfigError, "drop --head-part"),
        ({"head_init": "label"}, ConfigError, "'normal', 'zero' or 'labels'"),
    ):
        with pytest.raises(kind, match=told):
            hs.plan(**settings | wrong)
    numbered = pd.read_csv(settings["train"]).replace({"good": 1, "bad": 0})
    for name in ("train", "validation"):
        numbered.to_csv(tmp_path / f"{name}n.csv", index=False)
        settings[name] = str(tmp_path / f"{name}n.csv")
    with pytest.raises(ModelError, match="words"):
        hs.plan(head_init="labels", target="classes", **settings)
