"""Runs on long texts in windows: trained, saved, measured and predicted alike, or refused."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import pipeline

import headstart as hs
from alike import ALL
from headstart.data.tables.stream import TableParts
from headstart.errors import ConfigError, HeadstartError
from headstart.inputs.text import longtexts
from headstart.training.loader import ExamplesLoader
from tiny_runs import Watch, inputs, same, saved, watched

LENGTH, OVERLAP = 12, 3
WINDOWS: dict[str, Any] = {"max_length": LENGTH, "long_texts": "windows", "window_overlap": OVERLAP}


def long_rows(rows: int, seed: int) -> pd.DataFrame:
    """Make texts of 2 to 40 words, a few of them many times as long as an input may be."""
    rng = np.random.default_rng(seed)
    good = rng.permutation(np.arange(rows) % 2 == 0)
    texts = [
        " ".join(rng.choice(list("abcdef" if g else "uvwxyz"), n))
        for g, n in zip(good, rng.choice([2, 5, 9, 40], rows), strict=True)
    ]
    return pd.DataFrame({"sentence": texts, "label": np.where(good, "good", "bad")})


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("windows")
    long_rows(24, 0).to_csv(folder / "train.csv", index=False)
    long_rows(12, 1).to_csv(folder / "validation.csv", index=False)
    return inputs(folder, epochs=2, lr=1e-3, head_lr=1e-2, **WINDOWS)


@pytest.fixture(scope="module")
def run(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "x"
    hs.fit(out=out, head_type="native", **settings | {"strategy": "ft"})
    return out


def scores_of(run: Path) -> dict[str, float]:
    scores: dict[str, float] = json.loads((run / "result.json").read_text())["last"]
    return scores


def test_the_plan_tells_rows_and_windows(settings: dict[str, Any]) -> None:
    facts = dict(hs.plan(**settings).facts)
    table = pd.read_csv(settings["train"])["sentence"].str.split().str.len()
    long = int((table > LENGTH - 2).sum())
    assert f"{long} of 24 training ({24 + 5 * long} windows in all)" in facts["rows in windows"]
    assert facts["rows cut"] == "0 training, 0 validation"
    assert "12 tokens, 3 of them shared" in facts["windows"]
    cut = dict(hs.plan(**settings | {"long_texts": "cut", "window_overlap": None}).facts)
    assert cut["rows cut"].startswith(f"{long} training")
    assert "windows" not in cut
    # Lengths are those of whole rows, whatever becomes of the long ones.
    whole = np.sort(table + 2)
    told = (
        f"median {np.median(whole):.0f}, 95 % {np.percentile(whole, 95):.0f}, longest {whole[-1]}"
    )
    assert whole[-1] > LENGTH
    assert facts["tokens a row"] == f"{told}, in windows of {LENGTH}"
    assert cut["tokens a row"] == f"{told}, cut at {LENGTH}"


def test_evaluate_gives_the_scores_of_the_run(run: Path, settings: dict[str, Any]) -> None:
    told = json.loads((run / "model" / "config.json").read_text())["long_texts"]
    assert told == {"length": LENGTH, "overlap": OVERLAP}
    rows = settings["validation"]
    scores = scores_of(run)
    assert hs.evaluate(run, rows) == pytest.approx(scores)
    cut = hs.evaluate(run, rows, long_texts="cut")
    assert cut["loss"] != pytest.approx(scores["loss"], abs=1e-4)
    assert hs.evaluate(run, rows, window_overlap=OVERLAP) == pytest.approx(scores)
    assert hs.evaluate(run, rows, window_overlap=0)["loss"] != pytest.approx(scores["loss"])


def test_a_pipeline_cuts_and_the_card_says_how_to_get_the_same(
    run: Path, settings: dict[str, Any]
) -> None:
    rows = pd.read_csv(settings["validation"])["sentence"].tolist()
    text = max(rows, key=len)
    classify = pipeline("text-classification", model=str(run / "model"), top_k=None)
    (answer,) = classify([text], truncation=True, max_length=LENGTH)
    plain = {found["label"]: found["score"] for found in answer}
    cut = hs.load(run, long_texts="cut").predict([text])[0].probabilities
    assert plain == pytest.approx(cut, abs=1e-5)
    whole = hs.load(run).predict([text])[0].probabilities
    assert whole != pytest.approx(cut, abs=1e-5)
    # What the card shows, carried out as it stands there.
    card = (run / "model" / "README.md").read_text(encoding="utf-8")
    code = card.partition("## Long texts")[2].split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {"text": text}
    exec(code.replace("path/to/this/folder", str(run / "model")), names)  # noqa: S102  our card
    found = names["logits"].softmax(-1).tolist()
    assert found == pytest.approx([whole[name] for name in ("bad", "good")], abs=1e-5)


def test_a_model_folder_alone_reads_as_the_run(
    run: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    away = tmp_path / "away"
    away.symlink_to(run / "model")
    (tmp_path / "copy").mkdir()
    for file in (run / "model").iterdir():
        (tmp_path / "copy" / file.name).write_bytes(file.read_bytes())
    texts = pd.read_csv(settings["validation"])["sentence"].tolist()
    there, here = hs.load(run).predict(texts), hs.load(tmp_path / "copy").predict(texts)
    for one, other in zip(there, here, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)


def test_rows_in_parts_give_what_all_at_once_give(
    run: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = hs.load(run).predict_frame(pd.read_csv(settings["train"]))
    monkeypatch.setattr(longtexts, "ROWS_IN_WINDOWS", 4)
    parts = TableParts(settings["train"], size=7)
    found = pd.concat(hs.load(run).predict_parts(parts), ignore_index=True)
    assert found["prediction"].tolist() == whole["prediction"].tolist()
    assert found["p_good"].to_numpy() == pytest.approx(whole["p_good"].to_numpy(), abs=1e-5)


def test_no_batch_is_larger_than_without_windows(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = long_rows(24, 0)
    table.loc[0, "sentence"] = "a b c d " * 100
    seen: list[tuple[int, int]] = []
    batch = ExamplesLoader.batch

    def noted(self: ExamplesLoader, rows: Any, draw: int | None = None) -> dict[str, torch.Tensor]:
        found = batch(self, rows, draw)
        seen.append((len(rows), found["input_ids"].shape[1]))
        return found

    monkeypatch.setattr(ExamplesLoader, "batch", noted)
    hs.fit(**settings | {"train": table, "strategy": "ft", "epochs": 1}, out=tmp_path / "run")
    trained = [rows for rows, _ in seen if rows <= settings["batch_size"]]
    assert len(trained) > 8
    assert max(width for _, width in seen) <= LENGTH
    assert max(rows * width for rows, width in seen) <= 4096


@pytest.mark.parametrize(
    "strategy",
    [
        "default",
        "lora(epochs=1) > full+ema",
        pytest.param("lp-ft", marks=ALL),
        pytest.param("full+ema", marks=ALL),
    ],
)
def test_runs_that_fit_are_the_same_bit_for_bit(
    settings: dict[str, Any], strategy: str, tmp_path: Path
) -> None:
    common = settings | {"strategy": strategy, "max_length": 64, "epochs": 1}
    for name, how in (("cut", None), ("windows", 5)):
        own = {"long_texts": name, "window_overlap": how}
        hs.fit(**common | own, out=tmp_path / name)
    assert same(saved(tmp_path / "cut"), saved(tmp_path / "windows"))


@pytest.mark.parametrize(
    "more",
    [
        {"strategy": "default", "head_type": "linear", "pooling": "mean"},
        {"strategy": "full+label_smoothing+class_weights", "calibrate": True},
        {"strategy": "bitfit > full+r3f", "selection": "carve", "select": "best"},
        {"strategy": "head > full", "micro_batch_size": 3},
        pytest.param(
            {"strategy": "default", "head_type": "linear", "pooling": "attention"}, marks=ALL
        ),
        pytest.param({"strategy": "full+child_tuning"}, marks=ALL),
    ],
    ids=lambda more: more["strategy"],
)
def test_ways_to_train_evaluate_to_what_was_recorded(
    settings: dict[str, Any], more: dict[str, Any], tmp_path: Path
) -> None:
    result = hs.fit(**settings | more, out=tmp_path / "run")
    again = hs.evaluate(tmp_path / "run", settings["validation"])
    scores = result.untouched or result.last
    assert again["accuracy"] == pytest.approx(scores["accuracy"])
    if not more.get("calibrate"):
        assert again["loss"] == pytest.approx(scores["loss"], abs=1e-4)


def test_it_goes_on_after_an_interrupt(settings: dict[str, Any], tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "run"
    settings = settings | {"strategy": "bitfit(steps=3) > full(steps=3)", "guard": False}
    settings = {name: value for name, value in settings.items() if name != "epochs"}
    hs.fit(out=whole, **settings)

    def ctrl_c(attempt: int, step: int) -> None:
        if (attempt, step) == (2, 2):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        hs.fit(callback=Watch(ctrl_c), out=out, **settings)
    hs.fit(out=out, resume=True, **settings)
    assert same(saved(whole), saved(out))
    assert scores_of(whole) == scores_of(out)


def test_the_training_loss_is_the_mean_over_rows_of_their_windows(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    few = settings | {"strategy": "full(steps=1)", "dropout": 0, "batch_size": 200, "threads": 1}
    few = {name: value for name, value in few.items() if name != "epochs"}
    few |= {"lr": 1e-9, "head_lr": 1e-9}
    watch = watched(out=tmp_path / "run", **few)
    told = watch.result.stages[0].curve[-1].train_loss
    classifier = hs.load(tmp_path / "run")
    losses: list[float] = []
    for text, label in pd.read_csv(settings["train"]).itertuples(index=False):
        words = text.split()
        step, size = LENGTH - 2 - OVERLAP, LENGTH - 2
        starts = range(0, max(1, len(words) - OVERLAP), step)
        parts = [" ".join(words[i : i + size]) for i in starts]
        found = classifier.predict(parts)
        losses.append(float(np.mean([-np.log(p.probabilities[label]) for p in found])))
    assert told == pytest.approx(np.mean(losses), abs=1e-4)


def test_a_pair_is_read_in_windows_of_its_second_text(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    table = long_rows(24, 0).assign(question="a b")
    pairs = settings | {"train": table, "text": ["question", "sentence"], "window_overlap": 1}
    del pairs["validation"]
    hs.fit(**pairs | {"strategy": "ft"}, out=tmp_path / "run")
    pair = ("a b", "u v w x y z " * 9)
    whole = hs.load(tmp_path / "run").predict([pair])[0].probabilities
    cut = hs.load(tmp_path / "run", long_texts="cut").predict([pair])[0].probabilities
    assert whole != pytest.approx(cut, abs=1e-6)


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({"window_overlap": 6}, "share at most 5"),
        ({"long_texts": "cut"}, "--long-texts windows beside --window-overlap"),
        ({"long_texts": "slide"}, "long_texts"),
        ({"span": "word"}, "target spans"),
        ({"choices": ["one", "two"]}, "candidates"),
    ],
)
def test_what_has_no_windows_is_refused_before_training(
    settings: dict[str, Any], more: dict[str, Any], found: str, tmp_path: Path
) -> None:
    with pytest.raises(HeadstartError, match=found):
        hs.fit(**settings | more, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "run.partial").exists()


def test_a_model_of_cut_texts_may_read_windows(settings: dict[str, Any], tmp_path: Path) -> None:
    own = settings | {"long_texts": "cut", "window_overlap": None, "strategy": "ft"}
    hs.fit(**own, out=tmp_path / "run")
    assert "long_texts" not in json.loads((tmp_path / "run/model/config.json").read_text())
    with pytest.raises(ConfigError, match="window-overlap"):
        hs.load(tmp_path / "run", window_overlap=2)
    cut, windows = (
        hs.evaluate(tmp_path / "run", settings["validation"], long_texts=how)
        for how in ("cut", "windows")
    )
    assert hs.evaluate(tmp_path / "run", settings["validation"]) == cut
    assert cut["loss"] != windows["loss"]


def test_a_model_trained_further_on_cut_texts_forgets_its_windows(
    run: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    own = settings | {"model": str(run / "model"), "long_texts": "cut", "window_overlap": None}
    hs.fit(**own | {"strategy": "ft"}, out=tmp_path / "run")
    assert "long_texts" not in json.loads((tmp_path / "run/model/config.json").read_text())


def test_windows_of_numbers(settings: dict[str, Any], tmp_path: Path) -> None:
    table = long_rows(24, 0)
    table["label"] = np.linspace(2, 90, 24)
    own = settings | {"train": table, "validation": table, "target": "number"}
    for strategy in ("default", "ft"):
        result = hs.fit(**own | {"strategy": strategy}, out=tmp_path / strategy)
        again = hs.evaluate(tmp_path / strategy, table)
        assert again["pearson"] == pytest.approx(result.last["pearson"], abs=1e-4)


def test_a_probe_reads_windows(settings: dict[str, Any]) -> None:
    given = {k: v for k, v in settings.items() if k not in ("lr", "head_lr")}
    table = hs.probe(seeds=2, lrs=[1e-2], **given)
    assert table["accuracy"].notna().all()
