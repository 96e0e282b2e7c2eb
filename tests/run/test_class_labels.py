"""Rows whose classes are integers with names beside them, by every way in.

The names are out of alphabetical order, and the validation rows number them the other way round:
whoever reads integers for names, or sorts names, gets the classes wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

import headstart as hs
import tiny
from headstart.cli import main
from headstart.errors import DataError
from tiny_runs import frame

TRAIN, HELD_OUT = frame(40), frame(20, 1)
ORDER, OTHER = ("good", "bad"), ("bad", "good")
STRATEGY = "head(steps=60, head_lr=0.03)"
SETTINGS: dict[str, Any] = {
    "text": "sentence", "strategy": STRATEGY, "device": "cpu", "precision": "fp32",
    "label": "label", "batch_size": 8,
}  # fmt: skip
QUICKLY: dict[str, Any] = {"epochs": 20, "head_lr": 0.03, "batch_size": 8}
datasets.disable_progress_bars()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.save_pretrained("bert", tmp_path_factory.mktemp("model") / "bert"))


def labelled(rows: pd.DataFrame, names: tuple[str, ...] = ORDER) -> datasets.Dataset:
    """Make rows of ``datasets`` whose label is an integer with a name."""
    features = datasets.Features(
        sentence=datasets.Value("string"), label=datasets.ClassLabel(names=list(names))
    )
    numbers = {name: index for index, name in enumerate(names)}
    numbered = rows.assign(label=[numbers.get(name, -1) for name in rows["label"]])
    return datasets.Dataset.from_pandas(numbered, features=features, preserve_index=False)


def in_memory(folder: Path) -> tuple[Any, Any]:
    return labelled(TRAIN), labelled(HELD_OUT, OTHER)


def one_split_of_several(folder: Path) -> tuple[Any, Any]:
    several = datasets.DatasetDict(train=labelled(TRAIN), validation=labelled(HELD_OUT, OTHER))
    return several["train"], several


def several_splits(folder: Path) -> tuple[Any, Any]:
    both = datasets.DatasetDict(train=labelled(TRAIN), validation=labelled(HELD_OUT, OTHER))
    return both, both


def chosen_rows(folder: Path) -> tuple[Any, Any]:
    """Rows that are kept as indices of others: the first of a file are none of them."""
    wrong = TRAIN.assign(label=TRAIN["label"].map({"good": "bad", "bad": "good"}))
    rows = labelled(pd.concat([wrong, TRAIN], ignore_index=True)).select(range(40, 80))
    return rows.shuffle(seed=1).filter(lambda row: row["label"] >= 0), labelled(HELD_OUT, OTHER)


def other_formats(folder: Path) -> tuple[Any, Any]:
    return labelled(TRAIN).with_format("torch"), labelled(HELD_OUT, OTHER).with_format("pandas")


def folders(folder: Path) -> tuple[Any, Any]:
    labelled(TRAIN).save_to_disk(folder / "train")
    labelled(HELD_OUT, OTHER).save_to_disk(folder / "held_out")
    return folder / "train", folder / "held_out"


def a_folder_of_splits(folder: Path) -> tuple[Any, Any]:
    several_splits(folder)[0].save_to_disk(folder / "both")
    return folder / "both", folder / "both"


def hub_names(folder: Path) -> tuple[Any, Any]:
    return "owner/films", "owner/films:other"


def parquet(folder: Path) -> tuple[Any, Any]:
    labelled(TRAIN).to_parquet(folder / "train.parquet")
    labelled(HELD_OUT, OTHER).to_parquet(folder / "held_out.parquet")
    return folder / "train.parquet", folder / "held_out.parquet"


def arrow(folder: Path) -> tuple[Any, Any]:
    made = folders(folder)
    return tuple(next(path.glob("*.arrow")) for path in made)  # type: ignore[return-value]


def categories(folder: Path) -> tuple[Any, Any]:
    kind = pd.CategoricalDtype([*ORDER, "no row is of this class"])
    other = pd.CategoricalDtype(list(OTHER))
    return TRAIN.astype({"label": kind}), HELD_OUT.astype({"label": other})


def dictionaries(folder: Path) -> tuple[Any, Any]:
    train, held_out = categories(folder)
    train.to_parquet(folder / "train.parquet")
    held_out.to_feather(folder / "held_out.feather")
    return folder / "train.parquet", folder / "held_out.feather"


def names_as_words(folder: Path) -> tuple[Any, Any]:
    HELD_OUT.to_csv(folder / "held_out.csv", index=False)
    return labelled(TRAIN), folder / "held_out.csv"


def numbers_alone(folder: Path) -> tuple[Any, Any]:
    """Validation rows without names, which can only be numbered as the training rows are."""
    return labelled(TRAIN), labelled(HELD_OUT).to_pandas()


def words_and_names(folder: Path) -> tuple[Any, Any]:
    kind = pd.CategoricalDtype(list(ORDER))
    return TRAIN.astype({"label": kind}), labelled(HELD_OUT, OTHER)


WAYS = (
    in_memory, one_split_of_several, several_splits, chosen_rows, other_formats, folders,
    a_folder_of_splits, hub_names, parquet, arrow, categories, dictionaries, names_as_words,
    numbers_alone, words_and_names,
)  # fmt: skip


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub with one data set, whose second configuration numbers the classes differently."""

    def load(path: str, name: str | None, *, split: str | None) -> Any:
        assert path == "owner/films"
        return labelled(HELD_OUT, OTHER) if name == "other" else labelled(TRAIN)

    monkeypatch.setattr(datasets, "load_dataset", load)


def names_in_config(run: Path) -> list[str]:
    config = json.loads((run / "model" / "config.json").read_text())
    assert config["label2id"] == {name: int(i) for i, name in config["id2label"].items()}
    return [config["id2label"][str(i)] for i in range(len(config["id2label"]))]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_the_names_are_the_models_by_every_way_in(
    way: Callable[[Path], tuple[Any, Any]], model: str, tmp_path: Path
) -> None:
    train, held_out = way(tmp_path)
    result = hs.fit(model=model, train=train, validation=held_out, out=tmp_path / "run", **SETTINGS)
    assert names_in_config(tmp_path / "run") == list(ORDER)
    # The two classes are told apart by their letters: the wrong way round it would be 0.1.
    assert result.scores["accuracy"] > 0.75
    assert hs.evaluate(result, HELD_OUT)["accuracy"] == result.scores["accuracy"]
    split = "validation" if isinstance(held_out, dict) or way is a_folder_of_splits else None
    assert hs.evaluate(result, held_out, split=split)["accuracy"] == result.scores["accuracy"]
    config = AutoConfig.from_pretrained(tmp_path / "run" / "model")
    assert config.id2label == dict(enumerate(ORDER))


def test_predictions_are_names_and_the_rows_come_back_as_they_were(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, held_out = a_folder_of_splits(tmp_path)
    words = ["--model", model, "--train", str(train), "--validation", str(held_out), "--text"]
    more = ["sentence", "--strategy", STRATEGY, "--device", "cpu", "--quiet"]
    assert main(["fit", *words, *more, "--out", str(tmp_path / "run")]) == 0
    assert names_in_config(tmp_path / "run") == list(ORDER)
    data = ["--data", str(held_out), "--split", "validation"]
    assert main(["evaluate", str(tmp_path / "run"), *data, "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["scores"]["accuracy"] > 0.75
    out = tmp_path / "predicted.csv"
    assert main(["predict", str(tmp_path / "run"), *data, "--out", str(out)]) == 0
    rows = pd.read_csv(out)
    assert rows["label"].tolist() == [OTHER.index(name) for name in HELD_OUT["label"]]
    assert (rows["prediction"] == HELD_OUT["label"]).mean() == found["scores"]["accuracy"]
    assert ((rows["p_good"] > 0.5) == (rows["prediction"] == "good")).all()


def test_a_study_reads_the_names_too(model: str, tmp_path: Path) -> None:
    train, held_out = a_folder_of_splits(tmp_path)
    study = hs.run_study(
        out=tmp_path / "study", model=model, train=train, validation=held_out, text="sentence",
        strategies=STRATEGY, seeds=2, batch_size=8, device="cpu", precision="fp32",
    )  # fmt: skip
    assert not study.failures
    assert [run.result.task["labels"] for run in study.runs] == [list(ORDER)] * 2
    assert all(run.result.scores["accuracy"] > 0.6 for run in study.runs)


def test_minus_one_is_no_label(model: str, tmp_path: Path) -> None:
    rows = labelled(TRAIN.assign(label=[None, *TRAIN["label"][1:]]))
    with pytest.raises(DataError, match=r"label in every row of the training rows.*1 row \(1\)"):
        hs.plan(model=model, train=rows, validation=labelled(HELD_OUT), **SETTINGS)
    with pytest.raises(DataError, match=r"label in every row of the validation rows.*1 row \(1\)"):
        hs.plan(model=model, train=labelled(TRAIN), validation=rows, **SETTINGS)


def test_a_class_without_rows_keeps_its_place(model: str, tmp_path: Path) -> None:
    names = ("good", "none of them", "bad")
    result = hs.fit(
        model=model, train=labelled(TRAIN, names), validation=labelled(HELD_OUT, OTHER),
        out=tmp_path / "run", **SETTINGS,
    )  # fmt: skip
    assert names_in_config(tmp_path / "run") == list(names)
    assert result.scores["accuracy"] > 0.75
    assert any("'none of them', so it cannot be learned" in told for told in result.warnings)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("true", "True"), "a name of its own for each class; found 'true', 'True'"),
        (("", "bad"), "a name of its own for each class; found an empty name"),
    ],
)
def test_names_that_are_none_are_refused(names: tuple[str, str], told: str, model: str) -> None:
    rows = labelled(TRAIN.replace(dict(zip(ORDER, names, strict=True))), names)
    with pytest.raises(DataError, match=told):
        hs.plan(model=model, train=rows.with_format(None), **SETTINGS)


def test_numbers_as_names_are_classes(model: str) -> None:
    """Stars are called 1 to 5 and numbered 0 to 4; the names count, also as numbers."""
    rows = labelled(TRAIN.replace({"good": "5", "bad": "0.5"}), ("5", "0.5"))
    plan = dict(hs.plan(model=model, train=rows, **SETTINGS).facts)
    assert plan["labels"] == "0 = 5, 1 = 0.5"
    plan = dict(hs.plan(model=model, train=rows, target="number", **SETTINGS).facts)
    assert plan["target"].startswith("a number, mean 2.89")
    plan = dict(hs.plan(model=model, train=labelled(TRAIN), target="number", **SETTINGS).facts)
    assert plan["target"].startswith("a number, mean 0.46875")


def test_a_class_is_a_text_by_its_name(model: str) -> None:
    """A column of classes may also be what a model reads."""
    from headstart.data.tables.objects import as_frame
    from headstart.inputs._rows import build_rows
    from headstart.tasks.userfile import from_columns

    table = as_frame(labelled(TRAIN))
    rows = build_rows(table, from_columns(("sentence", "label"), "-"), None, where="the rows")
    assert [pair[1] for (pair,) in rows.inputs] == TRAIN["label"].tolist()


@pytest.fixture
def unnamed(tmp_path: Path, model: str) -> Path:
    """A checkpoint whose classes have no names: 0 is bad."""
    train = TRAIN.assign(label=[OTHER.index(name) for name in TRAIN["label"]])
    hs.fit(model=model, train=train, out=tmp_path / "run", **SETTINGS)
    loaded: Any = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run" / "model")
    loaded.config.id2label = {0: "LABEL_0", 1: "LABEL_1"}
    loaded.config.label2id = {"LABEL_0": 0, "LABEL_1": 1}
    loaded.save_pretrained(tmp_path / "unnamed")
    tiny.tokenizer().save_pretrained(tmp_path / "unnamed")
    return tmp_path / "unnamed"


def test_a_checkpoint_of_somebody_elses(unnamed: Path, tmp_path: Path) -> None:
    """Without names its numbers count; with names of another case, the names."""
    rows = labelled(HELD_OUT, OTHER)
    assert hs.evaluate(unnamed, rows, text="sentence")["accuracy"] > 0.75
    config = json.loads((unnamed / "config.json").read_text())
    config["id2label"], config["label2id"] = {0: "BAD", 1: "GOOD"}, {"BAD": 0, "GOOD": 1}
    (unnamed / "config.json").write_text(json.dumps(config))
    for names in (ORDER, OTHER):
        found = hs.evaluate(unnamed, labelled(HELD_OUT, names), text="sentence")
        assert found["accuracy"] > 0.75
    strange = labelled(HELD_OUT.replace({"good": "pos", "bad": "neg"}), ("neg", "pos"))
    with pytest.raises(DataError, match="the labels 'BAD', 'GOOD' in the data; found 'neg'"):
        hs.evaluate(unnamed, strange, text="sentence")


def tokenised(names: tuple[str, ...] = ORDER) -> datasets.Dataset:
    tokenizer = tiny.tokenizer()
    return labelled(TRAIN, names).map(lambda row: tokenizer(row["sentence"], truncation=True))


@pytest.mark.parametrize("form", [None, "torch", "numpy", "pandas", "arrow"])
def test_pretrain_head_learns_the_rows_numbers(form: str | None, model: str) -> None:
    torch.manual_seed(0)  # of the classifier, which the checkpoint does not hold
    own: Any = AutoModelForSequenceClassification.from_pretrained(
        model, id2label=dict(enumerate(ORDER)), label2id={"good": 0, "bad": 1}
    )
    hs.pretrain_head(own, tokenised().with_format(form), tuner="head", **QUICKLY)
    tokenizer = tiny.tokenizer()
    with torch.no_grad():
        logits = own(**tokenizer(list(HELD_OUT["sentence"]), padding=True, return_tensors="pt"))
    guessed = [own.config.id2label[int(i)] for i in logits.logits.argmax(dim=1)]
    assert (pd.Series(guessed) == HELD_OUT["label"]).mean() > 0.75
    assert own.config.id2label == dict(enumerate(ORDER))


def test_pretrain_head_refuses_rows_that_number_the_classes_otherwise(model: str) -> None:
    own: Any = AutoModelForSequenceClassification.from_pretrained(
        model, id2label=dict(enumerate(ORDER)), label2id={"good": 0, "bad": 1}
    )
    with pytest.raises(DataError, match="0 = good, 1 = bad; found 0 = bad, 1 = good in column"):
        hs.pretrain_head(own, tokenised(OTHER))
    aligned = tokenised(OTHER).align_labels_with_mapping(own.config.label2id, "label")
    hs.pretrain_head(own, aligned, tuner="head", **QUICKLY)
    rows = [{**row, "label": -1} if n < 2 else row for n, row in enumerate(tokenised())]
    with pytest.raises(DataError, match=r"a class in every row; found -1.*2 rows \(1, 2\)"):
        hs.pretrain_head(own, rows)


@pytest.mark.parametrize("folder", [False, True])
def test_validation_rows_beside_the_training_rows_are_not_passed_over_in_silence(
    model: str, tmp_path: Path, folder: bool
) -> None:
    train, _ = (a_folder_of_splits if folder else several_splits)(tmp_path)
    given = {**SETTINGS, "model": model}
    told = "a split 'validation', which was not read"
    assert any(told in warning for warning in hs.plan(**given, train=train).warnings)
    assert not any(told in w for w in hs.plan(**given, train=train, validation=train).warnings)
