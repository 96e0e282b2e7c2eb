"""Observers in tiny real runs: what stands still is measured as 0, and what moves is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
import tiny_runs
from headstart.config import FitConfig
from headstart.errors import ConfigError
from headstart.models.backbone import SplitModel
from headstart.observers import OBSERVERS, observer
from headstart.observers.change import mean_change, place
from headstart.run import run_in_memory

CHANGE, DRIFT = {"name": "change"}, {"name": "drift", "rows": 10}


def measured(folder: Path, measure: dict[str, Any], strategy: str, **more: Any) -> dict[str, Any]:
    """Carry out a run without a guard, and return what was measured in it."""
    own = {**tiny_runs.inputs(folder, **more), "guard": False, "strategy": strategy}
    return run_in_memory(FitConfig.build(own), observer=observer(measure)).measured


def changed(found: dict[str, Any], *, bias: bool) -> set[float]:
    return {t["change"] for t in found["tensors"] if t["bias"] == bias}


def test_the_head_alone_leaves_every_tensor_and_feature(tmp_path: Path) -> None:
    found = measured(tmp_path, CHANGE, "head(steps=3)")
    assert len(found["tensors"]) > 20
    assert changed(found, bias=False) == changed(found, bias=True) == {0.0}
    (stage,) = measured(tmp_path, DRIFT, "head(steps=3)")["stages"]
    for at in stage["read_at"].values():
        assert at["l2"] == 0.0
        assert at["cka"] == pytest.approx(1.0)


def test_bitfit_alone_changes_biases_of_the_layers_and_nothing_else(tmp_path: Path) -> None:
    found = measured(tmp_path, CHANGE, "bitfit(steps=3)")
    assert changed(found, bias=False) == {0.0}
    biases = [t for t in found["tensors"] if t["bias"]]
    assert all((t["change"] > 0) == t["part"].startswith("layer ") for t in biases)
    (stage,) = measured(tmp_path, DRIFT, "bitfit(steps=3)")["stages"]
    assert stage["read_at"]["first token"]["l2"] > 0


@pytest.mark.parametrize(("arrow", "still"), [(">", True), (">>", False)])
def test_change_is_that_from_the_pretrained_backbone(
    tmp_path: Path, arrow: str, still: bool
) -> None:
    """The last stage cannot move anything: what is left is what the first has handed on."""
    line = f"bitfit(steps=3, lr=1e-3) {arrow} head(steps=1)"
    found = measured(tmp_path, CHANGE, line)
    assert changed(found, bias=False) == {0.0}
    assert (changed(found, bias=True) == {0.0}) == still
    stages = measured(tmp_path, DRIFT, line)["stages"]
    assert len(stages) == (1 if still else 2)  # a restored backbone has no features of its own
    assert (stages[-1]["read_at"]["first token"]["l2"] == 0.0) == still


def test_an_observer_changes_nothing_of_a_run(tmp_path: Path) -> None:
    own = tiny_runs.inputs(tmp_path, guard=False, strategy="bitfit(steps=2) > full(steps=3)")
    alone = run_in_memory(FitConfig.build(own))
    for measure in (CHANGE, DRIFT):
        seen = run_in_memory(FitConfig.build(own), observer=observer(measure))
        assert (seen.logits == alone.logits).all()
        assert tiny_runs.scores(seen.result) == tiny_runs.scores(alone.result)


def test_a_bias_that_was_added_was_0(tmp_path: Path) -> None:
    line = "bitfit(steps=3, add=true)"
    found = measured(tmp_path, CHANGE, line, family="modernbert")
    added = [t for t in found["tensors"] if t["bias"]]
    assert len(added) == 3 * 4
    assert all(t["before"] == 0 < t["change"] for t in added)


def test_rows_are_drawn_by_the_seed_up_to_a_number(tmp_path: Path) -> None:
    assert measured(tmp_path, DRIFT, "head(steps=1)")["rows"] == 10
    assert measured(tmp_path, {"name": "drift"}, "head(steps=1)")["rows"] == 24


def test_features_of_one_row_have_no_alignment_that_json_lacks(tmp_path: Path) -> None:
    (stage,) = measured(tmp_path, {"name": "drift", "rows": 1}, "full(steps=1)")["stages"]
    assert stage["read_at"]["first token"]["cka"] is None


def test_changes_by_hand() -> None:
    before = torch.tensor([[1.0, -2.0], [0.0, 1.0]])
    after = torch.tensor([[1.0, -1.0], [0.5, -1.5]])
    assert mean_change(before, after) == (1.0, 1.0)  # (0 + 1 + 0.5 + 2.5) / 4, (1 + 2 + 0 + 1) / 4
    assert mean_change(torch.zeros(2), torch.tensor([0.0, -3.0])) == (1.5, 0.0)
    half = torch.tensor([1.0, 1.0], dtype=torch.bfloat16)
    assert mean_change(half, half + 2**-7) == (2**-7, 1.0)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_tensor_has_a_place_that_the_layers_share(family: str) -> None:
    split = SplitModel(tiny.build(family))
    places: dict[str, list[str]] = {}
    for name in split.backbone:
        part, kind = place(split, name)
        places.setdefault(part, []).append(f"{kind}{' bias' * name.endswith('bias')}")
    layers = [part for part in places if part.startswith("layer ")]
    assert layers == [f"layer {i}" for i in range(len(split.layers()))]
    kinds = [set(places[layer]) for layer in layers]
    shared = set.intersection(*kinds)
    assert len(shared) >= 5
    # ModernBERT's first layer has no norm of its own in front; nothing else differs.
    assert all(len(kind - shared) <= 1 for kind in kinds)
    assert any("embeddings" in kind for kind in places["embeddings"])
    assert all(len(set(found)) == len(found) for found in places.values())


def test_a_pooler_and_a_last_norm_lie_above() -> None:
    for family, name in (
        ("bert", "bert.pooler.dense.bias"),
        ("modernbert", "model.final_norm.weight"),
    ):
        split = SplitModel(tiny.build(family))
        assert place(split, name)[0] == "above"


def test_an_unknown_observer_suggests() -> None:
    assert {"drift", "change"} <= set(OBSERVERS)
    with pytest.raises(ConfigError, match="drift"):
        observer({"name": "drft"})
