"""Checkpoints of a run in progress: safetensors and JSON, complete at any moment.

Each is written into a folder of its own; ``latest.json`` is then replaced in one step to name it,
with the digests of its files, and only after that the one before is removed. A crash leaves the
earlier one in force, and a run goes on from nothing but what it has written.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from headstart.errors import RunError
from headstart.files.contents import UnreadableError, digest_of
from headstart.files.jsonfile import read_table
from headstart.files.tensors import read_tensors
from headstart.files.writing import even_modes, sync, write_text

_POINTER = "latest.json"
_STATE, _TENSORS = "state.json", "tensors.safetensors"


def save_checkpoint(
    folder: Path, name: str, state: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Write a checkpoint and make it the latest.

    The folder is created; ``name`` differs from the latest one's; tensors are copied to the CPU.
    """
    new = folder / name
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    plain = {key: t.detach().cpu().contiguous().clone() for key, t in tensors.items()}
    save_file(plain, new / _TENSORS)
    even_modes(new)
    sync(new / _TENSORS)
    write_text(new / _STATE, json.dumps(state))
    digests = {file: digest_of(new / file) for file in (_STATE, _TENSORS)}
    write_text(folder / _POINTER, json.dumps({"checkpoint": name, "digests": digests}))
    for other in folder.iterdir():
        if other.is_dir() and other.name != name:
            shutil.rmtree(other, ignore_errors=True)


def load_checkpoint(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
    """Read the latest checkpoint, plain data and tensors; ``None`` if there is none.

    Raises ``RunError`` if it is damaged.
    """
    pointer = folder / _POINTER
    if not pointer.is_file():
        return None
    try:
        told = read_table(pointer)
        latest = folder / told["checkpoint"]
        for file, digest in told["digests"].items():
            if digest_of(latest / file) != digest:
                raise UnreadableError(f"{file} was changed after it had been written")
        state = read_table(latest / _STATE, finite=False)  # a loss may be no number
        return state, read_tensors(latest / _TENSORS)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            "a complete checkpoint",
            f"{folder}: {error}",
            "Start the run again with --overwrite.",
        ) from None


def under(part: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint under a part's name, by the rest of their names."""
    return {n.removeprefix(f"{part}/"): t for n, t in tensors.items() if n.startswith(f"{part}/")}
