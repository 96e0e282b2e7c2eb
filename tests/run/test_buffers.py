"""Running statistics of a model come back between stages and over an interrupt.

I-BERT's quantising layers keep some, and put a new tensor in the place of the old with each batch.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import headstart as hs
import tiny_families
from headstart.models.backbone import BufferSnapshot
from headstart.models.checkpoints.loading import load_classifier
from headstart.models.head_choice import Target
from tiny_runs import Watch, frame, same, saved, watched

LINE = "bitfit(steps=4) > full(steps=4)"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    rows = frame(24)
    return {
        "model": str(tiny_families.save_pretrained("ibert", tmp_path / "ibert")),
        "train": rows, "validation": rows, "text": "sentence", "batch_size": 8, "device": "cpu",
        "precision": "fp32", "strategy": LINE, "guard": False, "select": "last",
    }  # fmt: skip


def test_they_are_put_back_wherever_they_are_by_now(settings: dict[str, Any]) -> None:
    split = load_classifier(settings["model"], Target(("a", "b")))
    before = {name: b.clone() for name, b in split.buffers()}
    snapshot = BufferSnapshot(split)
    for name, buffer in list(split.buffers()):
        module, _, key = name.rpartition(".")
        split.model.get_submodule(module)._buffers[key] = torch.cat((buffer, buffer)) + 1
    assert not same(before, dict(split.buffers()))
    kept = {name: tensor.clone() for name, tensor in snapshot.tensors().items()}
    snapshot.restore()
    assert before
    assert same(before, dict(split.buffers()))
    other = BufferSnapshot(split)
    other.resume(kept)
    assert all(
        torch.equal(b, torch.cat((before[name], before[name])) + 1) for name, b in split.buffers()
    )
    other.restore()
    assert same(before, dict(split.buffers()))


@pytest.mark.parametrize("at", [(1, 2), (2, 2)])
def test_the_second_stage_begins_with_the_checkpoints_own(
    settings: dict[str, Any], at: tuple[int, int], tmp_path: Path
) -> None:
    whole = watched(out=tmp_path / "whole", **settings)
    first, second = whole.stages
    assert first.fingerprint == first.handed_fingerprint == second.fingerprint

    def at_step(attempt: int, step: int) -> None:
        if (attempt, step) == at:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        hs.fit(callback=Watch(at_step), out=tmp_path / "run", **settings)
    again = watched(out=tmp_path / "run", resume=True, **settings)
    assert again.stages[-1].handed_fingerprint == second.handed_fingerprint
    tensors = saved(tmp_path / "whole")
    assert any("x_min" in name for name in tensors)
    assert same(tensors, saved(tmp_path / "run"))
