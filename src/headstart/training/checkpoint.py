"""Checkpoints of a run in progress: safetensors and JSON, complete at any moment.

Each is written into a folder of its own; ``latest.json`` is then replaced in one step to name it,
and only after that the one before is removed. A crash leaves the earlier one in force.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from headstart.errors import RunError
from headstart.models.folders import sync

_POINTER = "latest.json"


def save_checkpoint(
    folder: Path, name: str, state: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Write a checkpoint and make it the latest.

    Args:
        folder: The run's checkpoint folder; created.
        name: Name of this checkpoint, different from the latest one's.
        state: Plain data.
        tensors: Tensors by name; copied to the CPU.
    """
    new = folder / name
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    plain = {key: t.detach().cpu().contiguous().clone() for key, t in tensors.items()}
    save_file(plain, new / "tensors.safetensors")
    sync(new / "tensors.safetensors")
    replace_text(new / "state.json", json.dumps(state))
    replace_text(folder / _POINTER, json.dumps({"checkpoint": name}))
    for other in folder.iterdir():
        if other.is_dir() and other.name != name:
            shutil.rmtree(other, ignore_errors=True)


def load_checkpoint(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
    """Read the latest checkpoint.

    Args:
        folder: The run's checkpoint folder.

    Returns:
        Plain data and tensors, or ``None`` if there is no checkpoint.

    Raises:
        RunError: If it is damaged.
    """
    pointer = folder / _POINTER
    if not pointer.is_file():
        return None
    try:
        latest = folder / json.loads(pointer.read_text(encoding="utf-8"))["checkpoint"]
        state = json.loads((latest / "state.json").read_text(encoding="utf-8"))
        return state, load_file(latest / "tensors.safetensors")
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RunError(
            "a complete checkpoint",
            f"{folder}: {error}",
            "Start the run again with --overwrite.",
        ) from None


def replace_text(path: Path, text: str) -> None:
    """Write a file so that it holds either the old text or the whole new one.

    Args:
        path: The file.
        text: Its new contents.
    """
    new = path.with_name(f".{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def under(part: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return what a checkpoint holds of one part of a run.

    Args:
        part: What its names begin with, up to a slash.
        tensors: All of the checkpoint.

    Returns:
        The tensors by the rest of their names.
    """
    return {n.removeprefix(f"{part}/"): t for n, t in tensors.items() if n.startswith(f"{part}/")}
