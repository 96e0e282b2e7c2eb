"""From rows to a model, to scores and predictions, by commands alone."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from cli.rows import ODD, Run
from headstart.data.tables.sources import read_table

ADDED = ["prediction", "p_negative", "p_positive"]


def test_fit_leaves_a_whole_run(run_folder: Path) -> None:
    assert {path.name for path in run_folder.iterdir()} == {
        "model", "head", "result.json", "settings.yaml", "log.txt",
    }  # fmt: skip
    result = json.loads((run_folder / "result.json").read_text())
    assert [stage["stage"] for stage in result["stages"]] == ["bitfit(steps=40)", "full"]


def test_evaluate_gives_the_scores_of_the_run(
    cli: Run, run_folder: Path, files: tuple[Path, Path]
) -> None:
    answer = cli("evaluate", run_folder, "--data", files[1])
    result = json.loads((run_folder / "result.json").read_text())
    assert answer.code == 0
    assert result["last"]["accuracy"] > 0.9
    assert f"{result['last']['accuracy']:.4f}" in answer.out
    assert f"{result['last']['loss']:.4f}" in answer.out


def test_evaluate_reads_other_columns_when_told(
    cli: Run, run_folder: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other.jsonl"
    frame = read_table(files[1]).rename(columns={"sentence": "body", "label": "stars"})
    frame.to_json(other, orient="records", lines=True)
    plain = cli("evaluate", run_folder, "--data", files[1]).out.splitlines()[1:]
    told = cli("evaluate", run_folder, "--data", other, "--text", "body", "--label", "stars")
    assert told.code == 0
    assert told.out.splitlines()[1:] == plain


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_predict_keeps_columns_and_rows(
    cli: Run, run_folder: Path, files: tuple[Path, Path], tmp_path: Path, ending: str
) -> None:
    out = tmp_path / f"predictions{ending}"
    answer = cli("predict", run_folder, "--data", files[1], "--out", out)
    assert (answer.code, answer.err) == (0, "")
    before, after = read_table(files[1]), read_table(out)
    assert list(after.columns) == [*before.columns, *ADDED]
    assert after[before.columns].astype(str).equals(before.astype(str))
    assert set(after["odd, [red]"]) == {ODD}
    assert (after["prediction"] == before["label"]).mean() > 0.9
    chances = after[ADDED[1:]].astype(float)
    assert chances.sum(axis=1).between(1 - 1e-6, 1 + 1e-6).all()
    assert (chances.idxmax(axis=1) == "p_" + after["prediction"].astype(str)).all()


def test_a_carriage_return_in_a_cell_survives_csv(
    cli: Run, run_folder: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"sentence": "a good film", "note": "a\rb"}) + "\n")
    assert cli("predict", run_folder, "--data", rows, "--out", tmp_path / "p.csv").code == 0
    assert read_table(tmp_path / "p.csv")["note"][0] == "a\rb"


def test_predict_without_out_prints_csv(
    cli: Run, run_folder: Path, files: tuple[Path, Path]
) -> None:
    answer = cli("predict", run_folder, "--data", files[1])
    printed = pd.read_csv(io.StringIO(answer.out), dtype=str, keep_default_na=False)
    assert list(printed["id"]) == list(read_table(files[1])["id"])
    assert list(printed.columns[-3:]) == ADDED


def test_predict_reads_lines(cli: Run, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("good great fine\nbad awful dull\n"))
    answer = cli("predict", run_folder, "--data", "-")
    lines = [line.split("\t") for line in answer.out.splitlines()]
    assert lines[0] == [*ADDED, "sentence"]
    assert [line[0] for line in lines[1:]] == ["positive", "negative"]
    assert [line[3] for line in lines[1:]] == ["good great fine", "bad awful dull"]


def test_a_head_is_extracted_inspected_and_used(
    cli: Run, run_folder: Path, model: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    head = tmp_path / "head"
    assert cli("head", "extract", run_folder, "--out", head).code == 0
    shown = cli("head", "inspect", head).out
    assert "negative, positive" in shown
    assert "classifier.weight" in shown
    assert cli("head", "extract", run_folder, "--out", head).code == 2
    assert cli("head", "extract", run_folder, "--out", head, "--overwrite").code == 0
    words = ("--model", model, "--train", files[0], "--text", "sentence", "--epochs", 1)
    answer = cli("fit", *words, "--head", head, "--out", tmp_path / "run")
    assert answer.code == 0
    assert "no stage runs before fine-tuning: full" in answer.err


def test_fit_says_everything(
    cli: Run, model: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    words = ("--model", model, "--train", files[0], "--text", "sentence", "--epochs", 1)
    words = (*words, "--strategy", "head(steps=2) > full", "--no-guard", "--out", tmp_path / "r")
    answer = cli("fit", *words)
    assert answer.code == 0
    for part in (
        "class balance",
        "tokens a row",
        "Stages",
        "Stage 2 of 2",
        "tokens/s",
        "Saved: the state after the last step; ",
        "Next:",
    ):
        assert part in answer.out, part
    assert answer.err.count("head(steps=2) ended no better than chance") == 1


def test_quiet_prints_one_line(
    cli: Run, model: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "r"
    words = ("--train", files[0], "--validation", files[1], "--text", "sentence", "--epochs", 1)
    answer = cli("fit", "--model", model, *words, "--strategy", "ft", "--out", out, "--quiet")
    (last,) = answer.out.splitlines()
    assert all(line.startswith("warning:") for line in answer.err.splitlines())
    assert last.startswith(f"{out}: accuracy ")


def test_quiet_does_not_hide_that_a_head_takes_the_place_of_stages(
    cli: Run, model: Path, files: tuple[Path, Path], run_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r"
    words = ("--train", files[0], "--text", "sentence", "--head", run_folder / "head")
    words = (*words, "--strategy", "head > full(steps=1)", "--ignore-backbone-mismatch")
    answer = cli("fit", "--model", model, *words, "--out", out, "--quiet")
    told = "The head is given, so no stage runs before fine-tuning: full(steps=1)."
    assert f"warning: {told}\n" in answer.err
    assert len(answer.out.splitlines()) == 1
    assert told in json.loads((out / "result.json").read_text())["warnings"]


def test_dry_run_shows_the_plan_and_writes_nothing(
    cli: Run, model: Path, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("--model", model, "--train", files[0], "--text", "sentence", "--max-length", 5)
    answer = cli("fit", *words, "--dry-run")
    assert answer.code == 0
    line = "head(until=optimum) > full"
    for part in (line, "0 = negative, 1 = positive", "rows cut"):
        assert part in answer.out, part
    assert re.search(r"optimum +none +none", answer.out)  # no learning rate where none is used
    assert list(tmp_path.iterdir()) == []


def test_long_texts_are_read_in_windows_as_in_training(
    cli: Run, model: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = ["--model", model, "--train", files[0], "--validation", files[1], "--text", "sentence"]
    words += ["--max-length", 8, "--long-texts", "windows", "--strategy", "full(steps=2)"]
    plan = cli("fit", *words, "--dry-run")
    assert plan.code == 0
    assert "rows in windows" in plan.out
    assert cli("fit", *words, "--out", out).code == 0
    told = json.loads((out / "result.json").read_text())["last"]
    asked = ("evaluate", out, "--data", files[1], "--json")
    found, cut = (
        json.loads(cli(*asked, *more).out)["scores"] for more in ((), ("--long-texts", "cut"))
    )
    assert found["loss"] == pytest.approx(told["loss"])
    assert cut["loss"] != pytest.approx(told["loss"])
    for wrong in (["--long-texts", "slide"], ["--window-overlap", "6"], ["--window-overlap", "-1"]):
        answer = cli("predict", out, "--data", files[1], *wrong)
        assert answer.code == 2
        assert "what to do" in answer.err
