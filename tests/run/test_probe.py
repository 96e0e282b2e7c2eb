"""``probe`` gives what ``fit`` gives with the head alone, for many seeds and rates at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import headstart as hs
import tiny_tags
from headstart.cli import main
from headstart.errors import ConfigError
from headstart.models.checkpoints.loading import draw_head, load_classifier
from headstart.models.head_choice import Target
from headstart.results import RunResult
from headstart.training.frozen.probe import _side_by_side
from headstart.training.seeds import stream
from models.test_sentence import make_sentence
from tiny_runs import inputs

SEEDS, RATES = (0, 3), (1e-3, 2e-2)


def single_runs(
    tmp_path: Path, found: pd.DataFrame, settings: dict[str, Any]
) -> Iterator[tuple[Any, RunResult]]:
    """Yield each row of a probe with the run that trains its head alone, their losses alike."""
    for row in found.itertuples():
        single = hs.fit(
            strategy="head", seed=row.seed, head_lr=row.lr, dropout=0.0, guard=False,
            out=tmp_path / f"run-{row.Index}", **settings,
        )  # fmt: skip
        assert row.loss == pytest.approx(single.last["loss"], abs=1e-3)
        yield row, single


@pytest.mark.parametrize(
    "head",
    [
        {"head_type": "native"}, {"head_type": "linear"},
        {"head_type": "linear", "pooling": "mean"},
        {"head_type": "mlp", "pooling": "attention", "head_init": "labels"},
    ],
)  # fmt: skip
def test_scores_are_those_of_single_runs(tmp_path: Path, head: dict[str, str]) -> None:
    settings = inputs(tmp_path, epochs=3, **head)
    found = hs.probe(seeds=SEEDS, lrs=RATES, **settings)
    assert list(found.columns) == ["seed", "lr", "accuracy", "score", "loss"]
    assert list(found["seed"]) == [0, 0, 3, 3]
    assert len(set(found["loss"])) == len(found)
    for row, single in single_runs(tmp_path, found, settings):
        assert row.score == pytest.approx(single.last["score"], abs=0.1)


@pytest.mark.parametrize(
    "given",
    [
        {}, {"head_type": "mlp"}, {"max_length": 12, "long_texts": "windows"}, {"max_length": 9},
    ],
)  # fmt: skip
@pytest.mark.parametrize("sentence", [False, True])
def test_words_are_probed_as_single_runs_train_them(
    tmp_path: Path, sentence: bool, given: dict[str, Any]
) -> None:
    settings = inputs(tmp_path, epochs=3, **given) | {"text": "tokens", "label": "tags"}
    if sentence:
        make_sentence(Path(settings["model"]), pooling_mode_mean_tokens=True)
    # 29 rows: the last batch of an epoch is smaller, and no batch has as many words as another.
    rows = {"train": tiny_tags.frame(29), "validation": tiny_tags.frame(12, seed=1)}
    settings |= {"target": "auto", **rows}
    found = hs.probe(seeds=SEEDS, lrs=RATES, **settings)
    assert len(set(found["loss"])) == len(found) == 4
    for row, single in single_runs(tmp_path, found, settings):
        assert row.entity_f1 == pytest.approx(single.last["entity_f1"], abs=0.05)


def test_a_batch_without_words_weighs_nothing() -> None:
    inputs = {"states": torch.zeros(0, 1, 4), "labels": torch.zeros(0, dtype=torch.long)}
    weights = _side_by_side(inputs, np.zeros((2, 3), np.int64), np.ones((2, 3)))
    assert weights.shape == (2, 0)
    assert [len(tensor) for tensor in inputs.values()] == [0, 0, 0]


def test_words_that_fill_up_and_rows_that_repeat_weigh_nothing() -> None:
    inputs = {"states": torch.arange(6.0).view(6, 1, 1), "labels": torch.arange(6)}
    counts, real = np.array([[2, 0], [1, 3]]), np.array([[1.0, 1], [0, 1]])
    weights = _side_by_side(inputs, counts, real)
    assert weights.tolist() == [[1, 1, 0, 0], [0, 1, 1, 1]]
    assert inputs["labels"].tolist() == [0, 1, 0, 0, 2, 3, 4, 5]
    assert inputs["states"].flatten().tolist() == inputs["labels"].tolist()
    assert inputs["word_places"].tolist() == [0, 1, 2, 3] * 2


@pytest.mark.parametrize("kind", ["native", "linear", "mlp"])
def test_a_head_drawn_later_is_the_one_that_loading_draws(tmp_path: Path, kind: str) -> None:
    model, target = inputs(tmp_path)["model"], Target(("bad", "good"))
    split = load_classifier(model, target, head=kind, seed=1)
    for seed in (7, stream(7, "head")):
        expected = load_classifier(model, target, head=kind, seed=seed).head_state()
        drawn = draw_head(split, seed)
        assert all(torch.equal(drawn[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize(
    "wrong",
    [{"strategy": "full"}, {"lr": 1e-3}, {"seeds": []}, {"seeds": [1, 1]}, {"lrs": [0.0]}],
)
def test_what_a_probe_has_no_use_for_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        hs.probe(**inputs(tmp_path, **wrong))


def test_the_command_writes_every_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings, out = inputs(tmp_path), tmp_path / "scores.csv"
    words = ["probe", "--text", "sentence", "--seeds", "2", "--lr", "1e-3", "--out", str(out)]
    for name in ("model", "train", "validation"):
        words += [f"--{name}", settings[name]]
    assert main(words) == 0
    assert len(pd.read_csv(out)) == 2
    assert "0.001" in capsys.readouterr().out
