"""``evaluate`` and ``predict`` on what does not fit: advice that these commands can follow."""

from __future__ import annotations

import json
import re
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest

import headstart as hs
import tiny
from cli.rows import Run, write_rows
from headstart.cli import main
from headstart.cli.shared.write import answers
from headstart.data.tables.sources import read_table

NUMBERS = "sentence,label\n" + "".join(f"film {n} good,{n / 7:.3f}\n" for n in range(40))
CHOICES = "q,yes,no,label\n" + "".join(f"film {n},good,bad,yes\n" for n in range(20))


@pytest.fixture(scope="module")
def others(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that predicts a number, one of multiple choice, and checkpoints of somebody's."""
    folder = tmp_path_factory.mktemp("others")
    (folder / "numbers.csv").write_text(NUMBERS)
    (folder / "choices.csv").write_text(CHOICES + "film,good,bad,no\n" * 20)
    write_rows(folder / "opinions.csv", 20, 0)
    (folder / "choices.yaml").write_text("text: q\nchoices: [yes, no]")
    words = ["fit", "--model", str(model), "--strategy", "full(steps=1)", "--quiet"]
    choices = ["--text", "q", "--choices", "yes", "--choices", "no"]
    for name, columns in (("numbers", ["--text", "sentence"]), ("choices", choices)):
        data = ["--train", str(folder / f"{name}.csv"), "--out", str(folder / name)]
        assert main([*words, *data, *columns]) == 0
    tiny.save_pretrained("bert", folder / "unnamed", head=True)
    chooser = tiny.build("bert", kind="choice")
    chooser.save_pretrained(folder / "chooser")  # type: ignore[operator]
    tiny.tokenizer().save_pretrained(folder / "chooser")
    return folder


@pytest.mark.parametrize(
    ("run", "data", "words", "told"),
    [
        ("numbers", "opinions.csv", (), "The model predicts a number"),
        ("run", "numbers.csv", (), "The model was trained on these labels"),
        ("unnamed", "opinions.csv", ("--text", "sentence"), "number them 0, 1"),
        ("unnamed", "opinions.csv", (), "Pass --text COLUMN"),
        ("choices", "choices.csv", ("--text", "q"), "a task file with choices as --task"),
        ("chooser", "choices.csv", (), "a task file with choices as --task"),
        ("run", "choices.csv", ("--task", "copa"), "Use another task"),
        ("run/head", "opinions.csv", (), "give the run or model that it came from"),
        ("run", "folder", (), "Name a file in it"),
    ],
)
def test_advice_fits_the_command(
    cli: Run,
    others: Path,
    run_folder: Path,
    run: str,
    data: str,
    words: tuple[str, ...],
    told: str,
) -> None:
    (others / "folder").mkdir(exist_ok=True)
    source = run_folder / run.removeprefix("run/").removeprefix("run") if "run" in run else run
    answer = cli("evaluate", others / source, "--data", others / data, *words)
    assert answer.code == 2
    assert told in answer.err
    elsewhere = re.sub(r"`headstart fit`[^.]*", "", answer.err)
    own = set(re.findall(r"--[a-z-]+", cli("evaluate", "--help").out))
    assert set(re.findall(r"--[a-z-]+", elsewhere)) <= own


def test_a_near_label_is_still_suggested(cli: Run, run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("sentence,label\na film,positiv\n")
    answer = cli("evaluate", run_folder, "--data", tmp_path / "new.csv")
    assert "Did you mean 'positive'? The model was trained on these labels" in answer.err


def test_a_task_file_describes_choices_to_a_finished_model(cli: Run, others: Path) -> None:
    words = ("--data", others / "choices.csv", "--task", others / "choices.yaml")
    answer = cli("evaluate", others / "chooser", *words)
    assert (answer.code, answer.err) == (0, "")
    assert "accuracy" in answer.out


def test_the_probabilities_of_classes_are_judged_and_those_of_numbers_are_none(
    cli: Run, others: Path, run_folder: Path
) -> None:
    words = ("evaluate", run_folder, "--data", others / "opinions.csv")
    found = json.loads(cli(*words, "--json").out)
    assert found["rows"] == 20
    assert found["probabilities"].keys() == {"log_loss", "ece", "brier"}
    # The loss is the log loss, computed elsewhere; and all are about the same rows.
    assert found["probabilities"]["log_loss"] == pytest.approx(found["scores"]["loss"], rel=1e-3)
    frame = hs.load(run_folder).predict_frame(pd.read_csv(others / "opinions.csv"))
    truth = np.stack([(frame["label"] == name).to_numpy() for name in ("negative", "positive")], 1)
    given = frame[["p_negative", "p_positive"]].to_numpy()
    expected = ((given - truth) ** 2).sum(axis=1).mean()
    assert found["probabilities"]["brier"] == pytest.approx(expected)
    told = f"Brier score {found['probabilities']['brier']:.4f}"
    assert told in cli(*words).out
    numbers = ("evaluate", others / "numbers", "--data", others / "numbers.csv")
    assert json.loads(cli(*numbers, "--json").out)["probabilities"] == {}
    assert "probabilities" not in cli(*numbers).out


def test_rows_on_a_terminal_cannot_steer_it(
    cli: Run, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("sentence\ngood \x1b[31mred \u202etxt\n", encoding="utf-8")
    piped = cli("predict", run_folder, "--data", rows).out
    assert "\x1b[31mred \u202etxt" in piped
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    shown = cli("predict", run_folder, "--data", rows).out
    assert "\x1b" not in shown
    assert r"good \u001b[31mred \u202etxt" in shown


def test_formulas_are_kept_unless_a_spreadsheet_is_to_read_them(
    cli: Run, run_folder: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("sentence,=note\n=1+1 good,-5\n", encoding="utf-8")
    for words, texts in (
        ((), ["=1+1 good", "-5"]),
        (("--escape-formulas",), ["'=1+1 good", "-5"]),
    ):
        out = tmp_path / "out.csv"
        answer = cli("predict", run_folder, "--data", rows, "--out", out, "--overwrite", *words)
        assert answer.code == 0, answer.err
        found = pd.read_csv(out, dtype=str)
        assert list(found.iloc[0, :2]) == texts
        assert list(found)[1] == ("'=note" if words else "=note")
        assert float(found["p_positive"][0]) <= 1


def test_probabilities_have_six_digits_and_columns_of_the_rows_all_of_theirs() -> None:
    written: list[pd.DataFrame] = []
    exact = [0.00169214273, 0.99999987654321, 1.23456789e-9, 0.0, 1.0, 0.123456749]
    entities = [{"label": "place", "score": 0.98765432109}]
    rows = pd.DataFrame({"p_own": exact, "prediction": [entities, *"abcde"], "p_a": exact})
    answers(written.append)(rows)
    assert written[0]["p_own"].tolist() == exact
    assert written[0]["p_a"].tolist() == [0.00169214, 1.0, 1.23457e-9, 0.0, 1.0, 0.123457]
    assert written[0]["prediction"].tolist() == [[{"label": "place", "score": 0.987654}], *"abcde"]
    assert rows["p_a"].tolist() == exact


def test_numbers_are_written_as_they_are_predicted() -> None:
    written: list[pd.DataFrame] = []
    numbers = np.array([1.2345678, 1234567.8], np.float32)
    answers(written.append)(pd.DataFrame({"prediction": numbers}))
    assert written[0]["prediction"].dtype == np.float32
    assert written[0]["prediction"].to_numpy().tolist() == numbers.tolist()


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_what_is_warned_of_is_marked_as_a_warning(
    cli: Run, run_folder: Path, tmp_path: Path, command: str
) -> None:
    data = tmp_path / "gaps.csv"
    data.write_text("sentence,label\nfilm good,positive\n,negative\nfilm bad,negative\n")
    out = ("--out", tmp_path / "p.csv") if command == "predict" else ()
    answer = cli(command, run_folder, "--data", data, "--empty-text", "drop", *out)
    assert answer.code == 0
    assert answer.err.startswith("warning: ")
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("turned", [False, True])
def test_classes_that_the_rows_number_otherwise_are_told(
    cli: Run, run_folder: Path, tmp_path: Path, turned: bool
) -> None:
    names = ["negative", "positive"][:: -1 if turned else 1]
    features = datasets.Features(
        sentence=datasets.Value("string"), label=datasets.ClassLabel(names=names)
    )
    rows = {"sentence": ["good film", "bad film", "a film"], "label": [0, 1, -1]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "new.parquet")
    out = tmp_path / "out.jsonl"
    answer = cli("predict", run_folder, "--data", tmp_path / "new.parquet", "--out", out)
    assert answer.code == 0, answer.err
    assert read_table(out)["label"].tolist() == rows["label"]
    told = "warning: Column label holds integers, which are 0 positive, 1 negative to its data set"
    assert answer.err.count(told) == turned
