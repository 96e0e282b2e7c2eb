"""Every kind of input with every kind of target: it trains, or is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import headstart as hs
import tiny
import tiny_pictures
import tiny_sound
import tiny_tags
from headstart.config import FitConfig
from headstart.errors import HeadstartError
from headstart.inputs import INPUTS
from headstart.run import run
from headstart.targets import TARGETS

ROWS = 24
SETTINGS: dict[str, Any] = {
    "strategy": "bitfit(steps=1) > full(steps=1)", "batch_size": 8, "max_length": 32, "threads": 1,
    "guard": False,
}  # fmt: skip


def texts(seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(tiny.WORDS, 5)) for _ in range(ROWS)]


INPUT_COLUMNS: dict[str, Callable[[], dict[str, Any]]] = {
    "single": lambda: {"text": texts(0)},
    "pair": lambda: {"text": texts(0), "text2": texts(1)},
    "choice": lambda: {"text": texts(0), "a": texts(1), "b": texts(2)},
    "tokens": lambda: {"text": tiny_tags.frame(ROWS)["tokens"].tolist()},
    "image": lambda: {"image": tiny_pictures.frame(ROWS // 3)["image"].tolist()},
    "audio": lambda: {
        "sound": [(tiny_sound.tone(90 + i, 0.2), tiny_sound.RATE) for i in range(ROWS)]
    },
}
"""Rows of each kind of input."""
INPUT_SETTINGS: dict[str, dict[str, Any]] = {
    "single": {"text": ("text",)},
    "pair": {"text": ("text", "text2")},
    "choice": {"text": ("text",), "choices": ("a", "b")},
    "tokens": {"text": ("text",)},
    "image": {"image": "image", "max_length": None},
    "audio": {"audio": "sound", "max_length": None},
}
"""How they are named."""
FAMILIES = dict.fromkeys(INPUT_COLUMNS, "bert") | {"image": "vit", "audio": "wav2vec2"}
"""The tiny model that reads them."""
LABELS: dict[str, list[Any]] = {
    "classes": ["0", "1"] * (ROWS // 2),
    "multilabel": [["x"], ["x", "y"], [], ["y"]] * (ROWS // 4),
    "number": np.linspace(0.05, 1.05, ROWS).tolist(),
    "tags": tiny_tags.frame(ROWS)["tags"].tolist(),
}
REFUSED = {
    ("audio", "tags"): "rows of words",
    ("choice", "multilabel"): "multiple choice",
    ("choice", "number"): "multiple choice",
    ("choice", "tags"): "target tags for rows of words",
    ("pair", "tags"): "1 text column",
    ("image", "tags"): "shape tokens",
    ("single", "tags"): "one tag for each word",
    ("tokens", "classes"): "Write one text into each of these cells",
    ("tokens", "multilabel"): "Write one text into each of these cells",
    ("tokens", "number"): "Write one text into each of these cells",
}
"""Pairs that have no meaning, and what the message says."""
PAIRS = [(i, t) for i in INPUTS for t in TARGETS]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    media = {
        "vit": tiny_pictures.save(root / "vit"),
        "wav2vec2": Path(tiny_sound.save(root / "wav2vec2", "wav2vec2")),
    }
    texts = {*FAMILIES.values()} - media.keys()
    return {name: tiny.save_pretrained(name, root / name) for name in texts} | media


def config(given: str, target: str, model: Path, out: Path) -> FitConfig:
    own = INPUT_SETTINGS[given] | {"label": "label", "target": target}
    return FitConfig.build(
        SETTINGS | own | {"model": str(model), "train": "-", "validation": "-", "out": out}
    )


def test_every_kind_is_in_these_tests() -> None:
    assert set(LABELS) == set(TARGETS)
    assert set(INPUT_COLUMNS) == set(INPUT_SETTINGS) == set(FAMILIES)
    assert len(PAIRS) == len(INPUT_COLUMNS) * len(TARGETS)


@pytest.mark.parametrize(("given", "target"), PAIRS)
def test_a_pair_trains_or_is_refused_by_name(
    given: str, target: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    labels = pd.Series(LABELS[target], dtype=object)
    frame = pd.DataFrame({**INPUT_COLUMNS[given](), "label": labels})
    frames = {"train": frame, "validation": frame}
    own = config(given, target, folders[FAMILIES[given]], tmp_path / "run")
    if (given, target) in REFUSED:
        with pytest.raises(HeadstartError, match=REFUSED[given, target]):
            run(own, frames=frames)
        return
    result = run(own, frames=frames)
    assert [stage.steps for stage in result.stages] == [1, 1]
    saved = hs.load(str(tmp_path / "run"))
    again = saved.evaluate_frame(frame)
    assert again["score"] == pytest.approx(result.last["score"], abs=1e-4)
    predicted = saved.predict_frame(frame.drop(columns="label"))
    assert len(predicted) == ROWS
    assert not predicted["prediction"].isna().any()
