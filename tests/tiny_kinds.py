"""Rows in files and a tiny model for each kind of input and of target that is more than a text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import tiny
import tiny_pictures
import tiny_sound
import tiny_tags

Settings = dict[str, Any]
WORDS = {"joy": "abc", "anger": "uvw", "fear": "xyz"}


def several(n: int, seed: int) -> pd.DataFrame:
    """Make texts of up to three labels, each told by letters of its own; some have none."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(n):
        own = [name for name in WORDS if rng.random() < 0.5]
        letters = [rng.choice(list(WORDS[name])) for name in own] or ["the"]
        texts.append(" ".join(rng.permutation([*letters, *letters])))
        labels.append(own)
    return pd.DataFrame({"sentence": texts, "label": labels})


def _table(folder: Path, make: Callable[[int, int], pd.DataFrame], **columns: Any) -> Settings:
    files = {"train": (25, 0), "validation": (12, 1)}
    for name, drawn in files.items():
        make(*drawn).to_json(folder / f"{name}.jsonl", orient="records", lines=True)
    model = str(tiny.save_pretrained("bert", folder / "bert"))
    return {"model": model, **{n: str(folder / f"{n}.jsonl") for n in files}, **columns}


def _pictures(folder: Path) -> Settings:
    for seed, name in enumerate(("train", "validation")):
        tiny_pictures.folder_of_classes(folder / name, 8 - 4 * seed, seed)
    files = {name: str(folder / name) for name in ("train", "validation")}
    return {"model": str(tiny_pictures.save(folder / "vit")), **files, "image": "image"}


def _sounds(folder: Path) -> Settings:
    for each, name in ((10, "train"), (4, "validation")):
        tiny_sound.folder_of_tones(folder / name, each)
    files = {name: str(folder / name) for name in ("train", "validation")}
    model = tiny_sound.save(folder / "wav2vec2", "wav2vec2")
    return {"model": model, **files, "audio": "audio"}


_TAGS = {"text": "tokens", "label": "tags"}
KINDS: dict[str, Callable[[Path], Settings]] = {
    "tags": lambda folder: _table(folder, tiny_tags.frame, **_TAGS),
    "tags in windows": lambda folder: _table(
        folder, tiny_tags.frame, **_TAGS, max_length=8, long_texts="windows"
    ),
    "several labels": lambda folder: _table(folder, several, text="sentence"),
    "pictures": _pictures,
    "sounds": _sounds,
}
"""What writes the files of a kind into an empty folder, and returns settings for ``headstart.fit``;
only the strategy and the output are missing."""


def settings(name: str, folder: Path, **more: Any) -> Settings:
    """Write the files of a kind into an empty folder and return the settings of a run of it."""
    folder.mkdir(parents=True, exist_ok=True)
    common = {"batch_size": 8, "device": "cpu", "precision": "fp32", "guard": False}
    return {**KINDS[name](folder), **common, **more}


def options(settings: Settings) -> list[str]:
    """Return settings as words of a command line."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
