"""Bad rows, models and folders at the command line: expected, found, what to do."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import tiny
from cli.rows import Run, write_rows

GOOD = [
    f"{word} film {n},{label}" for n in range(8) for word, label in (("good", "yes"), ("bad", "no"))
]
HEAD = "sentence,label"


def csv(*rows: str, head: str = HEAD) -> bytes:
    """Write a CSV by hand."""
    return "\n".join((head, *rows, "")).encode()


@dataclass(frozen=True)
class Case:
    """Rows, further words of the command, and what the message must hold."""

    train: bytes = csv(*GOOD)
    validation: bytes = csv(*GOOD[:4])
    words: tuple[str, ...] = ("--text", "sentence")
    parts: tuple[str, ...] = field(default=())


ROWS = {
    "misspelt text column": Case(
        words=("--text", "sentense"), parts=("text column 'sentense'", "Did you mean 'sentence'?")
    ),
    "misspelt label column": Case(
        words=("--text", "sentence", "--label", "lable"),
        parts=("label column 'lable'", "Did you mean 'label'?"),
    ),
    "column missing in validation": Case(
        validation=csv("a,b", head="sentence,opinion"), parts=("validation", "'label'")
    ),
    "two misspelt columns": Case(
        words=("--text", "sentense", "--label", "lable"),
        parts=("Did you mean 'sentence'?", "Did you mean 'label'?"),
    ),
    "faults in several cells of both files": Case(
        train=csv(*GOOD, ",yes", "fine film,", ",no"),
        validation=csv("fine film,yess", ",no", "bad film,"),
        parts=(
            "of the training rows; found empty or missing text in 2 rows (17, 19)",
            "of the training rows; found none (an empty cell, or -1 beside other classes) in 1 row "
            "(18)",
            "of the validation rows; found empty or missing text in 1 row (2)",
            "of the validation rows; found none (an empty cell, or -1 beside other classes) in 1 "
            "row (3)",
            "'yess' in 1 row (1)",
        ),
    ),
    "empty text where there is one class": Case(
        train=csv(*(f"film {n},yes" for n in range(8)), ",yes"),
        validation=csv(",yes"),
        parts=("at least two classes", "1 row (9)", "validation rows; found empty"),
    ),
    "missing files": Case(
        words=("--text", "sentence", "--train", "trian.csv", "--validation", "dve.csv"),
        parts=("trian.csv", "dve.csv"),
    ),
    "bad cells among numbers": Case(
        train=csv(*(f"film {n},{n / 8}" for n in range(40)), 'a film,"3,5"', "b film,inf"),
        validation=csv("film,0.5", "film,nan"),
        parts=("'3,5', 'inf' in 2 rows (41, 42)", "'nan' in 1 row (2) of the validation rows"),
    ),
    "more training rows than there are": Case(
        words=("--text", "sentence", "--train-rows", "17"),
        parts=("--train-rows of at most 16, the training rows that there are; found 17",),
    ),
    "more training rows than are left": Case(
        words=("--text", "sentence", "--train-rows", "14", "--selection", "carve"),
        parts=("at most 13, the training rows that are left of 16 when those for validation",),
    ),
    "fewer training rows than classes": Case(
        train=csv(*GOOD, *(f"film {n},maybe" for n in range(4))),
        words=("--text", "sentence", "--train-rows", "2"),
        parts=("--train-rows of at least 3, one row of each class; found 2",),
    ),
    "no training rows asked for": Case(
        words=("--text", "sentence", "--train-rows", "0"),
        parts=("train_rows to be greater than or equal to 2; found '0'", "--train-rows"),
    ),
    "empty file": Case(train=b"", parts=("an empty file", "train.csv")),
    "no rows": Case(train=csv(), parts=("at least one row", "only column names")),
    "empty text": Case(train=csv(*GOOD, ",yes"), parts=("1 row (17)", "training")),
    "missing label": Case(
        train=csv(*GOOD, "fine film,"), parts=("a label in every row", "1 row (17)")
    ),
    "missing label in validation": Case(
        validation=csv("fine film,", "bad film,no"), parts=("a label in every row", "validation")
    ),
    "one class": Case(
        train=csv(*(f"film {n},yes" for n in range(8))), parts=("at least two classes", "'yes'")
    ),
    "unknown label in validation": Case(
        validation=csv("fine film,yess", "bad film,no"), parts=("'yess'", "Did you mean 'yes'?")
    ),
    "numbers where classes were asked for": Case(
        train=csv(*(f"film {n},{n / 7:.4f}" for n in range(150))),
        words=("--text", "sentence", "--target", "classes"),
        parts=("classes", "--target number"),
    ),
    "classes where numbers were asked for": Case(
        words=("--text", "sentence", "--target", "number"), parts=("a number", "--target classes")
    ),
    "wrong encoding": Case(
        train=csv(*GOOD) + "très bon,yes\n".encode("cp1252"), parts=("0xe8", "--encoding cp1252")
    ),
    "utf-16": Case(train=csv(*GOOD).decode().encode("utf-16"), parts=("--encoding utf-16",)),
    "open quote": Case(train=csv(*GOOD, '"open,yes', "x,no"), parts=("quotes", "line 18")),
    "too many fields": Case(
        train=csv(*GOOD, "good, but long,yes"), parts=("2 fields", "3 in line 18")
    ),
    "one text column twice": Case(
        words=("--text", "sentence", "--text", "sentence"), parts=("each text column once",)
    ),
    "unknown metric": Case(
        words=("--text", "sentence", "--metrics", "acuracy"), parts=("'acuracy'", "'accuracy'")
    ),
    "unknown strategy": Case(
        words=("--text", "sentence", "--strategy", "eh-tf"), parts=("'eh-tf'", "'eh-ft'", "^^^^^")
    ),
    "unknown tuner": Case(
        words=("--text", "sentence", "--strategy", "bitfitt > full"),
        parts=("'bitfitt'", "'bitfit'", "^^^^^^^"),
    ),
    "unknown preset": Case(
        words=("--text", "sentence", "--preset", "papr"), parts=("'papr'", "'paper'")
    ),
    "unknown choice": Case(
        words=("--text", "sentence", "--select", "bset"), parts=("--select", "'last' or 'best'")
    ),
    "unknown task": Case(words=("--task", "ret"), parts=("'ret'", "'rte'")),
    "two lengths of the last stage": Case(
        words=("--text", "sentence", "--strategy", "head > full(steps=2)", "--epochs", "3"),
        parts=("steps of full, or --epochs; found both", "           ^^^^^^^\n"),
    ),
    "patience without a plateau": Case(
        words=("--text", "sentence", "--strategy", "head(until=learned, patience=3) > full"),
        parts=("patience on a stage with until=plateau; found until=learned", "^^^^^^^^^^\n"),
    ),
    "task and text": Case(words=("--task", "rte", "--text", "sentence"), parts=("both",)),
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ROWS)
def test_bad_rows(cli: Run, model: Path, place: Path, name: str) -> None:
    case = ROWS[name]
    (place / "train.csv").write_bytes(case.train)
    (place / "dev.csv").write_bytes(case.validation)
    own = () if "--train" in case.words else ("--train", "train.csv", "--validation", "dev.csv")
    answer = cli("fit", "--model", model, *own, *case.words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: expected ")
    assert "what to do: " in answer.err
    for part in case.parts:
        assert part in answer.err, f"{part!r} not in {answer.err}"
    assert {path.name for path in place.iterdir()} == {"train.csv", "dev.csv"}


def test_bad_rows_are_refused_by_predict_and_evaluate_too(
    cli: Run, run_folder: Path, place: Path
) -> None:
    (place / "new.csv").write_bytes(csv("a film,maybe", head="sentense,label"))
    for command in ("predict", "evaluate"):
        answer = cli(command, run_folder, "--data", "new.csv")
        assert answer.code == 2
        assert "Did you mean 'sentence'" in answer.err or "'sentense'" in answer.err
    (place / "new.csv").write_bytes(csv("a film,maybe"))
    answer = cli("evaluate", run_folder, "--data", "new.csv")
    assert answer.code == 2
    assert "'maybe'" in answer.err
    assert cli("predict", run_folder, "--data", "new.csv").code == 0


def test_rows_in_both_splits_are_counted(cli: Run, model: Path, place: Path) -> None:
    write_rows(place / "train.csv", 32, 0)
    shutil.copy(place / "train.csv", place / "dev.csv")
    words = ("--train", "train.csv", "--validation", "dev.csv", "--text", "sentence")
    more = ("--strategy", "full(steps=1)", "--out", "x")
    answer = cli("fit", "--model", model, *words, *more)
    assert answer.code == 0
    told = "32 of 32 validation rows also stand in the training rows"
    assert f"warning: {told}" in answer.err
    assert told not in answer.out


def without(*names: str) -> Callable[[Path], None]:
    """Remove files of a model."""

    def spoil(folder: Path) -> None:
        for name in names:
            (folder / name).unlink(missing_ok=True)

    return spoil


def cut(folder: Path) -> None:
    """Cut the weights off in the middle."""
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def garble(folder: Path) -> None:
    """Break the configuration."""
    (folder / "config.json").write_text("{")


MODELS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "no configuration": (without("config.json"), ("config.json", "save_pretrained")),
    "broken configuration": (garble, ("model",)),
    "no weights": (without("model.safetensors"), ("weights as safetensors", "model.safetensors")),
    "cut weights": (cut, ("complete safetensors file", "cut off or damaged")),
    "no tokenizer": (
        without("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
        ("a tokenizer beside the model", "tokenizer.json"),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_bad_models(cli: Run, place: Path, name: str) -> None:
    spoil, parts = MODELS[name]
    spoil(tiny.save_pretrained("bert", place / "bert"))
    write_rows(place / "train.csv", 32, 0)
    answer = cli("fit", "--model", "bert", "--train", "train.csv", "--text", "sentence")
    assert (answer.code, answer.out) == (2, "")
    for part in parts:
        assert part in answer.err, f"{part!r} not in {answer.err}"
    assert not (place / "runs").exists()


def test_a_model_that_is_nowhere(cli: Run, place: Path) -> None:
    write_rows(place / "train.csv", 32, 0)
    answer = cli("fit", "--model", "no/such-model", "--train", "train.csv", "--text", "sentence")
    assert answer.code == 2
    assert "no/such-model" in answer.err
    assert "Check the spelling" in answer.err


def test_a_model_without_a_head_does_not_predict(cli: Run, model: Path, place: Path) -> None:
    write_rows(place / "new.csv", 2, 0)
    answer = cli("predict", model, "--data", "new.csv", "--text", "sentence")
    assert answer.code == 2
    assert "trained head" in answer.err
    assert "headstart fit" in answer.err


def test_a_taken_folder_is_left_alone(cli: Run, run_folder: Path, place: Path) -> None:
    before = (run_folder / "result.json").read_bytes()
    words = ("--config", run_folder / "settings.yaml", "--set", "seed=3")
    answer = cli("fit", *words)
    assert answer.code == 2
    assert "another run there" in answer.err
    assert "--overwrite" in answer.err
    assert (run_folder / "result.json").read_bytes() == before
    (place / "notes.txt").write_text("mine")
    answer = cli("fit", *words, "--out", place, "--overwrite")
    assert answer.code == 2
    assert "not a run" in answer.err
    assert (place / "notes.txt").read_text() == "mine"


def test_overwrite_replaces_a_run(cli: Run, model: Path, place: Path) -> None:
    write_rows(place / "train.csv", 32, 0)
    words = ("--model", model, "--train", "train.csv", "--text", "sentence", "--out", "x")
    words = (*words, "--strategy", "full(steps=1)", "--quiet")
    assert [cli("fit", *words, *more).code for more in ((), (), ("--overwrite",))] == [0, 2, 0]


def test_a_head_for_other_labels_is_refused(
    cli: Run, run_folder: Path, model: Path, place: Path
) -> None:
    (place / "train.csv").write_bytes(csv(*GOOD))
    words = ("--model", model, "--train", "train.csv", "--text", "sentence")
    answer = cli("fit", *words, "--head", run_folder / "head")
    assert answer.code == 2
    assert "['no', 'yes']" in answer.err
    other = tiny.save_pretrained("bert", place / "other", seed=1)
    write_rows(place / "train.csv", 32, 0)
    words = ("--model", other, *words[2:], "--head", run_folder / "head")
    answer = cli("fit", *words)
    assert answer.code == 2
    assert "--ignore-backbone-mismatch" in answer.err
    more = ("--ignore-backbone-mismatch", "--strategy", "full(steps=1)", "--out", "x")
    assert cli("fit", *words, *more).code == 0


def test_no_space_left_while_saving(
    cli: Run, model: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("headstart.run.save_run", full)
    write_rows(place / "train.csv", 32, 0)
    words = ("--model", model, "--train", "train.csv", "--text", "sentence", "--out", "x")
    answer = cli("fit", *words, "--strategy", "full(steps=1)")
    assert answer.code == 2
    assert "a full disk" in answer.err
    assert "--resume" in answer.err
    assert not (place / "x").exists()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--out", "p.xlsx"), (".csv, .tsv, .jsonl, .parquet", "p.xlsx")),
        (("--out", "none/p.csv"), ("none/p.csv", "Make the folder")),
        (("--out", "old.csv"), ("old.csv exists", "--overwrite")),
        (("--out", "new.csv", "--overwrite"), ("another file for --out than --data", "new.csv")),
    ],
)
def test_predictions_that_cannot_be_written(
    cli: Run, run_folder: Path, place: Path, words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    for name in ("new.csv", "old.csv"):
        (place / name).write_bytes(csv("a film,yes"))
    answer = cli("predict", run_folder, "--data", "new.csv", *words)
    assert answer.code == 2
    for part in parts:
        assert part in answer.err, answer.err


def test_columns_of_earlier_predictions_are_not_overwritten(
    cli: Run, run_folder: Path, place: Path
) -> None:
    (place / "new.csv").write_bytes(csv("a film,yes", head="sentence,p_positive"))
    answer = cli("predict", run_folder, "--data", "new.csv")
    assert answer.code == 2
    assert "p_positive" in answer.err


@pytest.mark.parametrize(("text", "part"), [("", "none"), ("good\n\nbad\n", "row")])
def test_bad_lines(
    cli: Run, run_folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, part: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    answer = cli("predict", run_folder, "--data", "-")
    assert answer.code == 2
    assert part in answer.err


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_file_has_no_splits(cli: Run, run_folder: Path, place: Path, command: str) -> None:
    (place / "new.csv").write_bytes(csv("a film,yes"))
    answer = cli(command, run_folder, "--data", "new.csv", "--split", "test")
    assert answer.code == 2
    assert "new.csv, which has no splits" in answer.err
