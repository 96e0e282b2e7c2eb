"""Tags from rows to a saved model: what other roads have for texts, on words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import pipeline
from typer.testing import CliRunner

import headstart as hs
import tiny
import tiny_tags
from headstart.cli import app
from headstart.config import FitConfig
from headstart.data.tokens.encode_words import encode_words
from headstart.errors import HeadstartError
from headstart.inputs._rows import build_rows
from headstart.models.checkpoints.loading import load_classifier
from headstart.models.head_choice import Target
from headstart.run import plan_run, run
from headstart.targets.tags import Tags
from headstart.tasks.userfile import from_columns
from headstart.techniques import TECHNIQUES
from headstart.training.evaluate import predict_logits
from headstart.training.frozen.features import frozen_features
from headstart.training.loader import ExamplesLoader
from headstart.training.machine.runtime import Runtime

SETTINGS: dict[str, Any] = {
    "train": "-", "validation": "-", "text": "tokens", "label": "tags", "target": "tags",
    "batch_size": 8, "threads": 1, "precision": "fp32", "guard": False, "select": "last",
}  # fmt: skip
FAST = "bitfit(epochs=2, lr=1e-2, head_lr=1e-1) > full(epochs=3, lr=3e-3)"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_pretrained("bert", tmp_path_factory.mktemp("bert"))


def frames(**more: Any) -> dict[str, pd.DataFrame]:
    return {"train": tiny_tags.frame(32, **more), "validation": tiny_tags.frame(12, seed=1)}


def config(model: Path, out: Path, **more: Any) -> FitConfig:
    return FitConfig.build(SETTINGS | {"model": str(model), "out": out, "strategy": FAST} | more)


def invoke(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


def plain(spans: Any) -> list[tuple[int, int, str]]:
    return [
        (span["start"], span["end"], span.get("label") or span["entity_group"]) for span in spans
    ]


def test_from_the_command_line_to_predictions_that_the_pipeline_gives_too(
    model: Path, tmp_path: Path
) -> None:
    train, held_out = tiny_tags.frame(48), tiny_tags.frame(16, seed=1)
    train.to_json(tmp_path / "train.jsonl", orient="records", lines=True)
    held_out.to_json(tmp_path / "held_out.jsonl", orient="records", lines=True)
    told = invoke(
        "fit", "--model", model, "--train", tmp_path / "train.jsonl",
        "--validation", tmp_path / "held_out.jsonl", "--text", "tokens", "--label", "tags",
        "--strategy", FAST, "--batch-size", 8, "--precision", "fp32", "--threads", 1,
        "--out", tmp_path / "run",
    )  # fmt: skip
    result = hs.RunResult.read(tmp_path / "run" / "result.json")
    assert result.last["entity_f1"] > 0.9
    assert "(tokens, tags)" in told  # recognised
    assert f"{result.last['entity_f1']:.4f}" in invoke(
        "evaluate", tmp_path / "run", "--data", tmp_path / "held_out.jsonl"
    )
    # The columns may be named anew, as they must be for a checkpoint from elsewhere.
    for place in (tmp_path / "run", tmp_path / "run" / "model"):
        assert f"{result.last['entity_f1']:.4f}" in invoke(
            "evaluate", place, "--data", tmp_path / "held_out.jsonl", "--text", "tokens",
            "--label", "tags",
        )  # fmt: skip
    invoke(
        "predict", tmp_path / "run", "--data", tmp_path / "held_out.jsonl",
        "--out", tmp_path / "told.jsonl",
    )  # fmt: skip
    invoke(
        "predict", tmp_path / "run", "--data", tmp_path / "held_out.jsonl",
        "--out", tmp_path / "told.csv",
    )  # fmt: skip
    found = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]
    table = pd.read_csv(tmp_path / "told.csv")
    assert list(map(json.loads, table["prediction_tags"])) == [r["prediction_tags"] for r in found]
    for cell, row in zip(table["prediction"], found, strict=True):
        assert plain(json.loads(cell)) == plain(row["prediction"])
    texts = [" ".join(row["tokens"]) for row in found]
    tag = pipeline(
        "token-classification", model=str(tmp_path / "run" / "model"), device="cpu",
        aggregation_strategy="first",
    )  # fmt: skip
    several = hs.load(str(tmp_path / "run")).predict(texts)
    for row, text, own, theirs in zip(found, texts, several, tag(texts), strict=True):
        assert plain(row["prediction"]) == plain(own.label) == plain(theirs)
        scores = [span["score"] for span in row["prediction"]]
        np.testing.assert_allclose([span["score"] for span in theirs], scores, atol=1e-5)
        assert own.tags == row["prediction_tags"]
        assert all(text[s["start"] : s["end"]] == s["text"] for s in row["prediction"])


def test_texts_with_spans_train_as_their_words_do(model: Path, tmp_path: Path) -> None:
    told = {}
    for name, make, columns in (
        ("lists", tiny_tags.frame, ("tokens", "tags")),
        ("spans", tiny_tags.with_spans, ("text", "entities")),
    ):
        own = {"text": columns[0], "label": columns[1], "target": "auto"}
        data = {"train": make(24), "validation": make(8, 1)}
        told[name] = run(config(model, tmp_path / name, **own), frames=data)
    assert told["lists"].last == told["spans"].last
    assert told["lists"].last["entity_f1"] > 0.5


def test_micro_batches_give_the_same_step(model: Path, tmp_path: Path) -> None:
    line = {"strategy": "full(epochs=2)", "dropout": 0}
    one = run(config(model, tmp_path / "a", **line), frames=frames())
    parts = run(config(model, tmp_path / "b", **line, micro_batch_size=3), frames=frames())
    assert parts.last["loss"] == pytest.approx(one.last["loss"], rel=1e-4)


def test_the_loss_of_a_step_is_the_mean_over_its_words(model: Path, tmp_path: Path) -> None:
    line = {"strategy": "head(steps=1)", "dropout": 0, "batch_size": 64}
    result = run(
        config(model, tmp_path / "a", **line),
        frames={k: f[:12] for k, f in frames().items()} | {"validation": frames()["train"][:12]},
    )
    (stage,) = result.stages
    trained = stage.curve[-1]
    loss = trained["train_loss"] if isinstance(trained, dict) else trained.train_loss
    assert loss == pytest.approx(stage.start["loss"], rel=1e-4)


@pytest.mark.parametrize("head", ["native", "linear", "mlp"])
def test_features_of_words_give_the_logits_of_the_model(model: Path, head: str) -> None:
    task = from_columns(("tokens",), "tags", target="tags")
    frame = tiny_tags.frame(20)
    kind = Tags.learn(frame, task, where="the rows")
    rows = build_rows(frame, task, kind, where="the rows")
    loader = ExamplesLoader(encode_words(rows, tiny.tokenizer(), 16, 4), torch.device("cpu"))
    split = load_classifier(str(model), Target(kind.names, "tokens"), head=head)
    runtime = Runtime("cpu", "fp32")
    whole = predict_logits(split.model, loader, runtime, kind.outputs)
    with frozen_features(split, [loader], runtime) as stored:
        assert stored is not None
        found = predict_logits(split.model, stored[0], runtime, kind.outputs)
        assert stored[0].batch(np.arange(3))["word_places"].tolist() == list(
            range(int(loader.units[:3].sum()))  # type: ignore[index]
        )
    np.testing.assert_allclose(found, whole, atol=1e-5)


def test_long_rows_are_read_in_windows_or_cut_and_that_is_told(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut = run(config(model, tmp_path / "cut", max_length=12), frames=frames())
    assert any("longer than 12 tokens and were cut" in told for told in cut.warnings)
    own = {"max_length": 12, "long_texts": "windows"}
    windows = run(config(model, tmp_path / "windows", **own), frames=frames())
    assert not any("were cut" in told for told in windows.warnings)
    assert windows.last["entity_f1"] > cut.last["entity_f1"] + 0.1
    words = [row["tokens"] for row in tiny_tags.rows(4)]
    short = hs.load(str(tmp_path / "cut")).predict(words)
    assert "were cut" in caplog.text
    assert all(set(row.tags[10:]) <= {"O"} for row in short if row.tags)
    long = hs.load(str(tmp_path / "windows")).predict(words)
    assert any(set(row.tags[12:]) - {"O"} for row in long if row.tags)
    assert [len(row.tags or ()) for row in long] == [len(row) for row in words]


ON_TAGS = [name for name in sorted(TECHNIQUES) if "tags" in TECHNIQUES.get(name).targets]


@pytest.mark.parametrize("extra", ON_TAGS)
def test_techniques_act_on_words(extra: str, model: Path, tmp_path: Path) -> None:
    own = config(model, tmp_path / extra, strategy=f"full(steps=2)+{extra}", micro_batch_size=4)
    result = run(own, frames=frames())
    assert np.isfinite(result.last["loss"])
    assert result.stages[0].steps == 2


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "calibrate": (
        {"calibrate": True},
        r"(?s)the target tags, .*Drop --calibrate\.$",
    ),
    "threshold": ({"tune_threshold": True}, "the target tags"),
    "labels": ({"head_init": "labels"}, "tags of words"),
    "pooling": (
        {"head_type": "linear", "pooling": "mean"},
        r"(?s)each word has logits of its own.*Drop --pooling mean\.$",
    ),
    "pooled": ({"pooling": "mean"}, r"(?s)each word has logits of its own.*Drop --pooling mean\.$"),
    "pair": ({"text": ("tokens", "more")}, "1 text column"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_has_no_meaning_for_words_is_refused_by_name(
    name: str, model: Path, tmp_path: Path
) -> None:
    settings, wanted = REFUSED[name]
    data = {split: frame.assign(more="a") for split, frame in frames().items()}
    with pytest.raises(HeadstartError, match=wanted):
        plan_run(config(model, tmp_path / "x", **settings), frames=data)


def test_a_slow_tokenizer_is_refused(model: Path, tmp_path: Path, monkeypatch: Any) -> None:
    slow = tiny.tokenizer()
    monkeypatch.setattr(type(slow), "is_fast", property(lambda _: False))
    with pytest.raises(HeadstartError, match="a fast tokenizer, which tells the word"):
        plan_run(config(model, tmp_path / "x"), frames=frames())


def test_a_head_goes_from_run_to_run(model: Path, tmp_path: Path) -> None:
    run(config(model, tmp_path / "a"), frames=frames())
    second = run(
        config(model, tmp_path / "b", head=str(tmp_path / "a"), strategy="full(steps=1)",
               ignore_backbone_mismatch=True),
        frames=frames(),
    )  # fmt: skip
    assert second.stages[0].start["entity_f1"] > 0.3
