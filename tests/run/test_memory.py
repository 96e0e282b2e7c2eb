"""Runs that save memory save the same model as others, and refuse what they cannot do."""

from __future__ import annotations

import contextlib
import gc
import json
import weakref
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.errors import ConfigError, ModelError
from headstart.steps.stages import loaders, runner
from headstart.training.loop import StageLoop
from headstart.training.machine import recompute
from headstart.training.state import LoopState
from tiny_runs import inputs, same, saved


def files(run: Path) -> dict[str, Any]:
    """Return what a model's folder says beside its tensors."""
    return {path.name: json.loads(path.read_text()) for path in run.glob("model/*config.json")}


@pytest.fixture
def layers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One item for every layer that was prepared to be computed twice."""
    seen: list[str] = []
    twice = recompute.twice_the_same

    def heard() -> Any:
        seen.append("layer")
        return twice()

    monkeypatch.setattr(recompute, "twice_the_same", heard)
    return seen


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_without_dropout_the_same_model_is_saved(
    precision: str, layers: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is computed twice is not computed in fewer steps, which rounds otherwise.
    monkeypatch.setattr(loaders, "fused_layers", lambda _: contextlib.nullcontext())
    line = "head(steps=3) > lora(steps=3) > full(steps=3)"
    settings = inputs(tmp_path, strategy=line, guard=False, dropout=0.0, precision=precision)
    hs.fit(out=tmp_path / "plain", **settings)
    assert not layers
    saving = {"gradient_checkpointing": True, "offload_optimizer": True}
    hs.fit(out=tmp_path / "saving", **settings, **saving)
    # The head stage has no use for it, nor has the last of two layers, of whose tokens one is read.
    assert len(layers) == 2 * 3
    assert same(saved(tmp_path / "plain"), saved(tmp_path / "saving"))
    assert files(tmp_path / "plain") == files(tmp_path / "saving")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_stage_leaves_no_moments_to_the_collector(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[weakref.ref[Any]] = []

    class Loop(StageLoop):
        def run(self) -> LoopState:
            assert [ref for ref in left if ref()] == []
            state = super().run()
            moments = [t for kept in self.optimizer.state.values() for t in kept.values()]
            left.extend(map(weakref.ref, [self.optimizer, *moments]))
            return state

    monkeypatch.setattr(runner, "StageLoop", Loop)
    line = "bitfit(steps=2) > full(steps=2)"
    settings = inputs(tmp_path, strategy=line, guard=False, precision=precision)
    gc.disable()
    try:
        hs.fit(out=tmp_path / "run", **settings)
    finally:
        gc.enable()
    assert len(left) > 2 * 10
    assert [ref for ref in left if ref()] == []


def test_with_dropout_a_seed_gives_the_same_model(tmp_path: Path) -> None:
    settings = inputs(tmp_path, strategy="full(steps=4)", gradient_checkpointing=True)
    runs = {name: saved(Path(hs.fit(out=tmp_path / name, **settings).out)) for name in "ab"}
    assert same(runs["a"], runs["b"])
    plain = hs.fit(out=tmp_path / "c", **settings | {"gradient_checkpointing": False})
    assert not same(runs["a"], saved(Path(plain.out)))  # layers draw masks of their own


def test_a_frozen_backbone_has_no_activations_to_compute_twice(tmp_path: Path) -> None:
    settings = inputs(tmp_path, gradient_checkpointing=True)
    with pytest.raises(ConfigError, match="trains the backbone; found head"):
        hs.plan(strategy="head(steps=3)", **settings)
    hs.plan(strategy="head(steps=3) > full", **settings)


def test_a_model_that_cannot_is_refused_before_training(tmp_path: Path) -> None:
    settings = inputs(tmp_path, "mpnet", strategy="full", gradient_checkpointing=True)
    with pytest.raises(ModelError, match="found MPNetModel, which does not"):
        hs.plan(**settings)
