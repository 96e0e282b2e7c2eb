"""The table of tasks, the way to a task by its name, and the files of a task's folder."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from headstart.errors import ConfigError, DataError, Faults
from headstart.tasks import builtin
from headstart.tasks.builtin import BUILTIN, get_task, read_task_folder, task_names
from headstart.tasks.spec import TaskSpec
from headstart.tasks.userfile import task_faults

PAPER_EPOCHS = {
    **{"rte": 60, "mrpc": 60, "boolq": 40, "wic": 40, "cb": 400, "copa": 400, "wsc": 400},
    **{"qnli": 10, "cola": 20, "stsb": 20, "wic-spans": 40, "wsc-spans": 400},
}
SEVERAL_METRICS = {
    "mrpc": ("accuracy", "f1"),
    "qqp": ("accuracy", "f1"),
    "cb": ("accuracy", "macro_f1"),
    "cola": ("matthews",),
    "stsb": ("pearson", "spearman"),
}


@pytest.mark.parametrize("name", BUILTIN)
def test_task_is_sound(name: str) -> None:
    task = get_task(name)
    assert task.name == name
    assert task_faults(task) == []
    assert task.summary
    assert task.hub is not None
    assert (task.labels is None) == (task.target == "number")
    assert task.paper_epochs == PAPER_EPOCHS.get(name)
    assert task.metrics == SEVERAL_METRICS.get(name, ("accuracy",))


def test_all_tasks_are_there() -> None:
    assert len(BUILTIN) == 17
    assert {"rte", "boolq", "copa", "cb", "wic", "mrpc", "qnli", "cola", "stsb"} <= BUILTIN.keys()
    assert {"wsc", "sst2", "qqp", "mnli", "mnli-mm", "wnli"} <= BUILTIN.keys()
    assert task_names()[: len(BUILTIN)] == tuple(BUILTIN)


@pytest.mark.parametrize("base", ["wic", "wsc"])
def test_span_variants_differ_only_in_how_spans_are_used(base: str) -> None:
    marked, vectors = get_task(base), get_task(f"{base}-spans")
    assert (marked.span_use, vectors.span_use) == ("mark", "vectors")
    assert (marked.spans, marked.labels, marked.hub) == (vectors.spans, vectors.labels, vectors.hub)
    assert len(marked.spans) == 2


def test_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="'boolq'"):
        get_task("bolq")
    with pytest.raises(ConfigError, match=r"readable task file.*No such file"):
        get_task("absent.yaml")


def test_task_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "reviews.yaml"
    path.write_text("text: review\n")
    assert get_task(path) == get_task(str(path))
    assert get_task(path).text == ("review",)


def test_plugins_are_found_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        "mine": EntryPoint("mine", "headstart.tasks.builtin:_RTE", "headstart.tasks"),
        "odd": EntryPoint("odd", "headstart.tasks.builtin:GLUE", "headstart.tasks"),
    }
    monkeypatch.setattr(builtin, "_plugins", lambda: points)
    assert task_names()[-2:] == ("mine", "odd")
    assert get_task("mine") is BUILTIN["rte"]
    with pytest.raises(ConfigError, match=r"a TaskSpec from plug-in .*found str"):
        get_task("odd")


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("name", BUILTIN)
def test_folder_of_the_task_and_the_folder_above(name: str, tmp_path: Path) -> None:
    task = get_task(name)
    assert task.hub is not None
    assert task.hub[1] is not None
    train, validation = (f"{split}.jsonl" for split in task.splits)
    home = touch(tmp_path / task.hub[1], train, validation)
    touch(tmp_path / "another", train, validation)
    expected = {"train": home / train, "validation": home / validation}
    assert read_task_folder(tmp_path, task) == expected
    assert read_task_folder(str(home), task) == expected


def test_other_formats_and_the_test_split(tmp_path: Path) -> None:
    home = touch(tmp_path, "train.csv.gz", "validation.tsv", "test.parquet", "notes.txt")
    assert read_task_folder(home, get_task("rte")) == {
        "train": home / "train.csv.gz",
        "validation": home / "validation.tsv",
        "test": home / "test.parquet",
    }


def test_missing_folder_and_files_are_named(tmp_path: Path) -> None:
    rte = get_task("rte")
    with pytest.raises(DataError, match=r"folder with a task's files.*absent"):
        read_task_folder(tmp_path / "absent", rte)
    with pytest.raises(DataError, match=r"train and validation files.* its rte folder.*empty"):
        read_task_folder(tmp_path, rte)
    touch(tmp_path / "rte", "train.csv", "dev.csv")
    with pytest.raises(DataError, match=r"a validation file.*found dev\.csv, train\.csv"):
        read_task_folder(tmp_path, rte)


def test_two_files_for_a_split_are_refused_with_all_other_faults(tmp_path: Path) -> None:
    home = touch(tmp_path, "train.csv", "train.jsonl")
    with pytest.raises(Faults) as caught:
        read_task_folder(home, get_task("rte"))
    assert [fault.expected.split(" in ")[0] for fault in caught.value.faults] == [
        "one train file",
        "a validation file (.jsonl, .csv, .tsv or .parquet)",
    ]


def test_a_task_without_hub_uses_its_name(tmp_path: Path) -> None:
    task = TaskSpec("mine", "single", ("text",), ("accuracy",))
    home = touch(tmp_path / "mine", "train.csv", "validation.csv")
    assert read_task_folder(tmp_path, task)["train"] == home / "train.csv"
