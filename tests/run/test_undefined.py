"""Scores that the rows do not define are told as such, wherever they stand."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.table import Table

import headstart as hs
import tiny_runs
from headstart.cli import main
from headstart.cli.shared.tables import closing, describe_stages
from headstart.config import FitConfig
from headstart.errors import DataError
from headstart.models.headfile import Head
from headstart.pretrain.probe import run_probe
from headstart.run import run_in_memory
from tiny_runs import Watch, watched

FULL = "full(steps=2)"


def numbers(rows: int, *, equal: bool = False) -> pd.DataFrame:
    frame = tiny_runs.frame(rows)
    return frame.assign(label=[0.5 if equal else 0.5 + row / 7 for row in range(rows)])


def of_numbers(folder: Path, validation: pd.DataFrame, **more: Any) -> dict[str, Any]:
    files = {"train": numbers(24), "validation": validation}
    for name, table in files.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return {**tiny_runs.inputs(folder, **more), "target": "number"}


def of_one_class(folder: Path, **more: Any) -> dict[str, Any]:
    """Write two classes to train on, and one to be judged by."""
    tiny_runs.frame(24).to_csv(folder / "train.csv", index=False)
    one = tiny_runs.frame(24).query("label == 'good'")
    one.to_csv(folder / "validation.csv", index=False)
    return tiny_runs.inputs(folder, metrics=["roc_auc", "accuracy"], **more)


@pytest.mark.parametrize(("rows", "why"), [(1, "there is only one"), (3, "all labels are equal")])
def test_a_run_says_before_and_after_what_is_undefined(tmp_path: Path, rows: int, why: str) -> None:
    settings = of_numbers(tmp_path, numbers(rows, equal=True), strategy=FULL)
    told = f"The validation rows leave pearson and spearman undefined, as {why}."
    assert told in hs.plan(**settings).warnings
    watch = watched(Watch(), **settings, out=tmp_path / "run")
    result = watch.result
    assert told in watch.warnings
    assert [name for name, value in result.scores.items() if math.isnan(value)] == [
        "pearson", "spearman", "score",
    ]  # fmt: skip
    assert result.scores["loss"] > 0
    assert result.stages[-1].best_step == 2
    written = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert written["last"]["pearson"] is None
    assert math.isnan(hs.RunResult.read(tmp_path / "run" / "result.json").scores["score"])
    card = (tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8")
    assert "| pearson | undefined |" in card
    said = closing(result)
    assert "pearson undefined, spearman undefined, score undefined, loss" in said
    assert "Not saved" not in said
    _, shown = describe_stages(result)
    assert isinstance(shown, Table)
    assert [list(c.cells) for c in shown.columns if c.header == "pearson"] == [["- → -"]]
    record = json.loads((tmp_path / "run" / "head" / "head.json").read_text(encoding="utf-8"))
    assert record["scores"]["pearson"] is None
    assert math.isnan(Head.from_pretrained(tmp_path / "run" / "head").scores["pearson"])


def test_evaluate_says_it_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = of_numbers(tmp_path, numbers(12), strategy=FULL)
    hs.fit(**settings, out=tmp_path / "run")
    model, one = hs.load(tmp_path / "run"), numbers(1)
    with caplog.at_level(logging.WARNING):
        found = model.evaluate_frame(one)
    assert math.isnan(found["pearson"])
    assert math.isnan(found["score"])
    assert "The rows leave pearson and spearman undefined, as there is only one." in caplog.messages
    one.to_csv(tmp_path / "one.csv", index=False)
    command = ["evaluate", str(tmp_path / "run"), "--data", str(tmp_path / "one.csv")]
    assert main(command) == 0
    assert "pearson    undefined" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert scores["pearson"] is scores["score"] is None
    assert scores["loss"] >= 0


def test_rows_of_one_class_leave_a_ranking_undefined(tmp_path: Path) -> None:
    settings = of_one_class(tmp_path)
    told = "The validation rows leave roc_auc undefined, as all labels are equal."
    assert told in hs.plan(**settings).warnings
    result = hs.fit(**settings, strategy=FULL, out=tmp_path / "run")
    assert math.isnan(result.scores["roc_auc"])
    assert math.isnan(result.scores["score"])
    assert 0 <= result.scores["accuracy"] <= 1


def test_rows_for_the_final_score_are_looked_at_too(tmp_path: Path) -> None:
    settings = of_one_class(tmp_path, selection="carve", select="best", strategy=FULL)
    told = "The rows for the final score leave roc_auc undefined, as all labels are equal."
    assert told in hs.plan(**settings).warnings


@pytest.mark.parametrize(
    ("asked", "by"),
    [
        ({"select": "best"}, "--select best"),
        ({"strategy": "full(until=plateau, steps=9)"}, "until=plateau"),
    ],
)
def test_what_decides_by_an_undefined_score_is_refused(
    tmp_path: Path, asked: dict[str, Any], by: str
) -> None:
    with pytest.raises(DataError, match=f"{by}; found rows that leave roc_auc undefined"):
        hs.plan(**of_one_class(tmp_path), **asked)


def test_runs_and_heads_that_are_compared_need_a_score(tmp_path: Path) -> None:
    config = FitConfig.build(of_one_class(tmp_path, strategy=FULL))
    with pytest.raises(DataError, match="compared by it; found rows that leave roc_auc undefined"):
        run_in_memory(config)
    with pytest.raises(DataError, match="compared by it; found rows that leave roc_auc undefined"):
        run_probe(config.model_copy(update={"strategy": "default"}), seeds=[0], rates=[1e-3])


def test_one_number_for_every_row_is_told_and_counts_as_no_correlation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = of_numbers(tmp_path, numbers(12), head_init="zero", guard=False)
    result = hs.fit(**settings, strategy="head(steps=1, head_lr=1e-30)", out=tmp_path / "run")
    assert result.scores["pearson"] == 0
    assert result.collapsed
    assert any("for every row; a correlation with it counts as 0." in w for w in result.warnings)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        hs.load(result).evaluate_frame(numbers(12))
    assert any("for every row" in told for told in caplog.messages)
