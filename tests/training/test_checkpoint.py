"""Checkpoints: back bit for bit, and whole at whatever moment the machine stops."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import headstart.training.checkpoint as module
from headstart.errors import RunError
from headstart.training.checkpoint import load_checkpoint, save_checkpoint


def content(number: int) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    state = {"step": number, "seconds": 0.1, "best": float("-inf"), "name": "ä"}
    tensors = {
        "now/w": torch.full((2, 3), number / 3),
        "half": torch.tensor([number + 0.1], dtype=torch.bfloat16),
        "step": torch.tensor(float(number)),
        "turned": torch.arange(6.0).reshape(2, 3).t() + number,
    }
    return state, tensors


def holds(folder: Path, number: int) -> bool:
    found = load_checkpoint(folder)
    state, tensors = content(number)
    return (
        found is not None
        and found[0] == state
        and found[1].keys() == tensors.keys()
        and all(
            torch.equal(found[1][n], t) and found[1][n].dtype == t.dtype for n, t in tensors.items()
        )
    )


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "checkpoint"
    assert load_checkpoint(folder) is None
    save_checkpoint(folder, "1", *content(1))
    assert holds(folder, 1)


def test_the_latest_counts_and_earlier_ones_are_removed(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        save_checkpoint(tmp_path, str(number), *content(number))
        assert holds(tmp_path, number)
        assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [str(number)]


def test_tensors_that_share_memory_can_be_saved(tmp_path: Path) -> None:
    tensor = torch.arange(4.0)
    save_checkpoint(tmp_path, "1", {}, {"a": tensor, "b": tensor, "c": tensor[1:]})
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert torch.equal(found[1]["c"], tensor[1:])


class CrashError(Exception):
    """Stands for a machine that stops."""


def crash(*_: Any, **__: Any) -> None:
    raise CrashError


def half_written(tensors: Any, path: Path) -> None:
    Path(path).write_bytes(b"\x10\x00\x00")
    raise CrashError


@pytest.mark.parametrize("leftovers", [False, True])
@pytest.mark.parametrize(
    ("where", "name", "fake", "survivor"),
    [
        (module, "save_file", crash, 1),
        (module, "save_file", half_written, 1),
        (module.json, "dumps", crash, 1),
        (os, "fsync", crash, 1),
        (Path, "replace", crash, 1),
        (Path, "iterdir", crash, 2),
    ],
)
def test_a_crash_at_any_moment_leaves_a_whole_checkpoint(
    tmp_path: Path, where: Any, name: str, fake: Callable[..., Any], survivor: int, leftovers: bool
) -> None:
    save_checkpoint(tmp_path, "1", *content(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, fake)
        with pytest.raises(CrashError):
            save_checkpoint(tmp_path, "2", *content(2))
    assert holds(tmp_path, survivor)
    if leftovers:  # the run goes on over what the crash left behind
        save_checkpoint(tmp_path, "3", *content(3))
        assert holds(tmp_path, 3)
        assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["3"]


def flip_last_bit(path: Path) -> None:
    """Change a number that stays one."""
    whole = bytearray(path.read_bytes())
    place = max(i for i, byte in enumerate(whole) if path.suffix != ".json" or chr(byte).isdigit())
    whole[place] ^= 1
    path.write_bytes(whole)


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "latest.json").write_text("{"),
        lambda f: (f / "latest.json").write_text("[]"),
        lambda f: (f / "latest.json").write_text("{}"),
        lambda f: (f / "latest.json").write_text('{"checkpoint": 3}'),
        lambda f: (f / "latest.json").write_bytes(b"\xff"),
        lambda f: shutil.rmtree(f / "1"),
        lambda f: (f / "1" / "state.json").unlink(),
        lambda f: (f / "1" / "state.json").write_text('{"step"'),
        lambda f: (f / "1" / "tensors.safetensors").unlink(),
        lambda f: (f / "1" / "tensors.safetensors").write_bytes(b"cut off"),
        lambda f: flip_last_bit(f / "1" / "tensors.safetensors"),
        lambda f: flip_last_bit(f / "1" / "state.json"),
    ],
)
def test_a_damaged_checkpoint_is_told(damage: Callable[[Path], object], tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "1", *content(1))
    damage(tmp_path)
    with pytest.raises(RunError) as error:
        load_checkpoint(tmp_path)
    assert str(tmp_path) in error.value.found
    assert "--overwrite" in error.value.fix
