"""Several labels a row from the command line to the finished model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from transformers import AutoModelForSequenceClassification, pipeline

import headstart as hs
import tiny
from headstart.cli import main
from headstart.errors import HeadstartError
from headstart.techniques import TECHNIQUES
from tiny_kinds import WORDS
from tiny_kinds import several as rows
from tiny_runs import inputs


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    tables = {"train": rows(48, 0), "validation": rows(24, 1)}
    for name, table in tables.items():
        table.to_json(folder / f"{name}.jsonl", orient="records", lines=True)
    files = {name: str(folder / f"{name}.jsonl") for name in tables}
    return {**inputs(folder), **files, **more}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the command line, with a threshold of its own."""
    path = tmp_path_factory.mktemp("several")
    given = settings(path)
    words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    line = "bitfit(steps=20, lr=1e-2, head_lr=1e-2) > full(lr=3e-3, head_lr=1e-2)"
    words += ["--strategy", line, "--epochs", "8", "--tune-threshold", "--out", str(path / "run")]
    assert main(["fit", *words]) == 0
    return path


def test_it_learns_and_says_what_it_did(folder: Path) -> None:
    result = hs.RunResult.read(folder / "run" / "result.json")
    assert result.task["target"] == "multilabel"
    assert result.task["labels"] == ["anger", "fear", "joy"]
    assert result.task["metrics"] == ["micro_f1", "macro_f1"]
    assert result.scores["micro_f1"] > 0.8 > 0.7 > result.stages[0].start["micro_f1"]
    assert result.stages[0].learned
    assert not result.collapsed
    assert "chosen by the score on 24 held-out rows" in result.rule
    card = (folder / "run" / "model" / "README.md").read_text()
    assert "multi-label-classification" in card


def test_it_is_a_plain_checkpoint_with_sigmoid_scores(folder: Path) -> None:
    source = str(folder / "run" / "model")
    plain = AutoModelForSequenceClassification.from_pretrained(source)
    assert plain.config.problem_type == "multi_label_classification"
    assert plain.config.id2label == {0: "anger", 1: "fear", 2: "joy"}
    texts = rows(10, 2)["sentence"].tolist()
    classify = pipeline("text-classification", model=source, top_k=None, device="cpu")
    ours = hs.load(folder / "run", device="cpu").predict(texts)
    threshold = plain.config.decision_threshold
    for theirs, own in zip(classify(texts), ours, strict=True):
        scores = {part["label"]: part["score"] for part in theirs}
        assert own.probabilities == pytest.approx(scores, abs=1e-5)
        assert own.label == [name for name, p in own.probabilities.items() if p > threshold]
    assert any(abs(sum(own.probabilities.values()) - 1) > 0.1 for own in ours)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_predictions_are_lists_that_can_be_read_again(
    folder: Path, ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = str(folder / "run"), str(tmp_path / f"p.{ending}")
    data = str(folder / "validation.jsonl")
    assert main(["predict", run, "--data", data, "--out", out]) == 0
    capsys.readouterr()
    assert main(["evaluate", run, "--data", data, "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    result = hs.RunResult.read(folder / "run" / "result.json")
    assert measured["scores"] == pytest.approx(result.scores, abs=1e-5)
    assert measured["probabilities"] == {}
    assert main(["evaluate", run, "--data", out, "--label", "prediction", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"]["micro_f1"] == 1.0
    if ending == "jsonl":
        first = json.loads(Path(out).read_text().splitlines()[0])
        assert isinstance(first["prediction"], list)
        assert {"p_anger", "p_fear", "p_joy"} <= first.keys()


def test_joined_names_and_columns_of_0_and_1_give_the_same_model(folder: Path) -> None:
    line = {"strategy": "full(steps=3)", "guard": False}
    tables = {}
    for name in ("train", "validation"):
        table = pd.read_json(folder / f"{name}.jsonl", lines=True)
        table["joined"] = table["label"].map("; ".join)
        for label in WORDS:
            table[label] = table["label"].map(lambda own, label=label: int(label in own))
        tables[name] = table
    base = {**settings(folder), **line, **tables}
    forms: tuple[dict[str, Any], ...] = (
        {},
        {"label": "joined", "label_separator": ";"},
        {"label_columns": ("anger", "fear", "joy")},
    )
    found = [hs.fit(**base, **form, out=folder / f"form{i}") for i, form in enumerate(forms)]
    assert found[0].scores == found[1].scores == found[2].scores
    again = hs.evaluate(folder / "form1", tables["validation"], device="cpu")
    assert again == pytest.approx(found[0].scores, abs=1e-5)
    other = {"label_columns": ["anger", "fear", "joy"], "device": "cpu"}
    assert hs.evaluate(folder / "form0", tables["validation"], **other) == again


@pytest.mark.parametrize("head_type", ["linear", "mlp"])
def test_a_head_of_ours_gives_each_of_two_labels_a_logit(tmp_path: Path, head_type: str) -> None:
    given = settings(tmp_path, strategy="full(steps=2)", head_type=head_type)
    for name in ("train", "validation"):
        table = pd.read_json(given[name], lines=True)
        given[name] = table.assign(label=[[n for n in x if n != "joy"] for x in table["label"]])
    result = hs.fit(**given, out=tmp_path / "run")
    model = hs.load(tmp_path / "run", device="cpu")
    assert hs.evaluate(result, given["validation"], device="cpu") == pytest.approx(result.scores)
    (one,) = model.predict("a b u v")
    assert sum(one.probabilities.values()) != pytest.approx(1, abs=1e-3)


def test_a_head_at_its_optimum_and_a_probe_work(tmp_path: Path) -> None:
    given = settings(tmp_path, strategy="head(until=optimum) > full(steps=2)")
    result = hs.fit(**given, out=tmp_path / "run")
    assert result.stages[0].ended == "optimum"
    assert result.stages[0].held_out_loss is not None
    assert result.stages[0].held_out_loss < result.stages[0].start["loss"]
    probed = hs.probe(**settings(tmp_path), seeds=2, lrs=(1e-2,))
    assert list(probed["seed"]) == [0, 1]
    assert {"micro_f1", "macro_f1"} <= set(probed.columns)


def test_selected_rows_choose_the_threshold_and_others_judge_it(tmp_path: Path) -> None:
    given = settings(tmp_path, strategy="full(steps=6, lr=1e-2)", tune_threshold=True)
    same = hs.fit(**given, out=tmp_path / "same")
    assert any("flatters" in told for told in same.warnings)
    apart = hs.fit(**given, selection="carve", out=tmp_path / "apart")
    assert not any("flatters" in told for told in apart.warnings)
    data = given["validation"]
    assert hs.evaluate(apart, data, device="cpu") == pytest.approx(apart.untouched, abs=1e-5)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"calibrate": True}, "the target multilabel, for which no temperature"),
        ({"metrics": ("accuracy",)}, "metrics for multilabel"),
        ({"target": "classes"}, "one value in every label cell; found a list"),
        ({"target": "number"}, "a number in every label cell"),
        ({"label_separator": ""}, "label_separator to fit"),
        ({"label": "label", "label_columns": ("a", "b")}, "--label or --label-columns"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path: Path, more: Any, told: str) -> None:
    given = settings(tmp_path, strategy="full(steps=1)", **more)
    with pytest.raises(HeadstartError, match=told):
        hs.fit(**given, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_classes_have_no_threshold(tmp_path: Path) -> None:
    with pytest.raises(HeadstartError, match="--tune-threshold beside several labels a row"):
        hs.fit(**inputs(tmp_path, strategy="full(steps=1)", tune_threshold=True), out="x")


@pytest.mark.parametrize("name", sorted(TECHNIQUES))
def test_every_technique_acts_or_is_refused_by_name(tmp_path: Path, name: str) -> None:
    knobs = {"mixout": "(0.7)", "reinit": "(1)", "contrast": "(0.5)"}.get(name, "")
    given = settings(tmp_path, strategy=f"full(steps=1)+{name}{knobs}", guard=False)
    if "multilabel" in TECHNIQUES.get(name).targets:
        assert np.isfinite(hs.fit(**given, out=tmp_path / "run").scores["loss"])
        return
    with pytest.raises(HeadstartError, match=f"meaning for the target multilabel; found {name}"):
        hs.fit(**given, out=tmp_path / "run")


def test_a_head_of_exclusive_classes_is_no_head_for_several_labels(tmp_path: Path) -> None:
    given = settings(tmp_path, strategy="full(steps=1)")
    hs.fit(**given, out=tmp_path / "several")
    hs.plan(**given, head=str(tmp_path / "several" / "head"), ignore_backbone_mismatch=True)
    for name in ("train", "validation"):
        table = pd.read_json(given[name], lines=True)
        given[name] = table.assign(label=[(x or ["joy"])[0] for x in table["label"]])
    with pytest.raises(HeadstartError, match="in this order, several in a row"):
        hs.plan(**given, head=str(tmp_path / "several" / "head"))


def test_stage_1_alone_is_refused(tmp_path: Path) -> None:
    model: Any = tiny.build("bert")
    model.config.problem_type = "multi_label_classification"
    with pytest.raises(HeadstartError, match="several labels a row"):
        hs.pretrain_head(model, [{"input_ids": [1, 2], "label": 0}])


def test_unknown_labels_of_validation_rows_are_told_before_training(tmp_path: Path) -> None:
    given = settings(tmp_path, strategy="full(steps=1)")
    table = pd.read_json(given["validation"], lines=True)
    table.at[2, "label"] = ["joy", "hate"]
    with pytest.raises(HeadstartError, match=r"'hate' in 1 row \(3\)"):
        hs.fit(**{**given, "validation": table}, out=tmp_path / "run")
    hs.fit(**given, out=tmp_path / "run")
    with pytest.raises(HeadstartError, match="The model was trained on these labels"):
        hs.evaluate(tmp_path / "run", table, device="cpu")
