"""The built-in tasks (GLUE, Wang et al. 2018; SuperGLUE, Wang et al. 2019), as a table.

Columns, label names and split names are those of the data sets on the hub. Other distributions
add tasks through the entry-point group ``headstart.tasks``: the name of the entry point is the
task's, its value a ``TaskSpec``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from headstart.errors import ConfigError, DataError, HeadstartError, did_you_mean, raise_all
from headstart.tasks.spec import Span, TaskSpec
from headstart.tasks.userfile import read_task_file

GLUE, SUPERGLUE = "nyu-mll/glue", "aps/super_glue"
SPLIT_SUFFIXES = (
    ".jsonl", ".csv", ".tsv", ".json", ".ndjson", ".parquet", ".arrow", ".feather", ".xlsx",
)  # fmt: skip
PACKED = ("", ".gz", ".bz2", ".xz", ".zst", ".zip")

_RTE = TaskSpec(
    name="rte",
    shape="pair",
    text=("sentence1", "sentence2"),
    labels=("entailment", "not_entailment"),
    metrics=("accuracy",),
    hub=(GLUE, "rte"),
    paper_epochs=60,
    summary="does the second sentence follow from the first",
)
_BOOLQ = TaskSpec(
    name="boolq",
    shape="pair",
    text=("question", "passage"),
    labels=("False", "True"),
    metrics=("accuracy",),
    hub=(SUPERGLUE, "boolq"),
    paper_epochs=40,
    summary="yes-no question about a passage",
)
_COPA = TaskSpec(
    name="copa",
    shape="choice",
    text=("premise", "question"),
    choices=("choice1", "choice2"),
    labels=("choice1", "choice2"),
    metrics=("accuracy",),
    # The question becomes the conjunction between premise and candidate.
    values={"question": {"cause": "because", "effect": "so"}},
    hub=(SUPERGLUE, "copa"),
    paper_epochs=400,
    summary="which of two sentences is the cause or effect of the premise",
)
_CB = TaskSpec(
    name="cb",
    shape="pair",
    text=("premise", "hypothesis"),
    labels=("entailment", "contradiction", "neutral"),
    metrics=("accuracy", "macro_f1"),
    hub=(SUPERGLUE, "cb"),
    paper_epochs=400,
    summary="how far a speaker is committed to a clause",
)
_WIC = TaskSpec(
    name="wic",
    shape="pair",
    text=("sentence1", "sentence2"),
    labels=("False", "True"),
    metrics=("accuracy",),
    spans=(
        Span("sentence1", start="start1", end="end1"),
        Span("sentence2", start="start2", end="end2"),
    ),
    hub=(SUPERGLUE, "wic"),
    paper_epochs=40,
    summary="does a word, marked, have the same meaning in two sentences",
)
_MRPC = TaskSpec(
    name="mrpc",
    shape="pair",
    text=("sentence1", "sentence2"),
    labels=("not_equivalent", "equivalent"),
    metrics=("accuracy", "f1"),
    hub=(GLUE, "mrpc"),
    paper_epochs=60,
    summary="are two sentences from the news paraphrases",
)
_QNLI = TaskSpec(
    name="qnli",
    shape="pair",
    text=("question", "sentence"),
    labels=("entailment", "not_entailment"),
    metrics=("accuracy",),
    hub=(GLUE, "qnli"),
    paper_epochs=10,
    summary="does the sentence answer the question",
)
_COLA = TaskSpec(
    name="cola",
    shape="single",
    text=("sentence",),
    labels=("unacceptable", "acceptable"),
    metrics=("matthews",),
    hub=(GLUE, "cola"),
    paper_epochs=20,
    summary="is the sentence acceptable English",
)
_STSB = TaskSpec(
    name="stsb",
    shape="pair",
    text=("sentence1", "sentence2"),
    target="number",
    metrics=("pearson", "spearman"),
    hub=(GLUE, "stsb"),
    paper_epochs=20,
    summary="how similar two sentences are, from 0 to 5",
)
_WSC = TaskSpec(
    name="wsc",
    shape="single",
    text=("text",),
    labels=("False", "True"),
    metrics=("accuracy",),
    spans=(
        Span("text", text="span1_text", word_index="span1_index"),
        Span("text", text="span2_text", word_index="span2_index"),
    ),
    hub=(SUPERGLUE, "wsc"),
    paper_epochs=400,
    summary="does a pronoun refer to a noun, both marked",
)
_SST2 = TaskSpec(
    name="sst2",
    shape="single",
    text=("sentence",),
    labels=("negative", "positive"),
    metrics=("accuracy",),
    hub=(GLUE, "sst2"),
    summary="sentiment of phrases from film reviews",
)
_QQP = TaskSpec(
    name="qqp",
    shape="pair",
    text=("question1", "question2"),
    labels=("not_duplicate", "duplicate"),
    metrics=("accuracy", "f1"),
    hub=(GLUE, "qqp"),
    summary="do two questions ask the same",
)
_MNLI = TaskSpec(
    name="mnli",
    shape="pair",
    text=("premise", "hypothesis"),
    labels=("entailment", "neutral", "contradiction"),
    metrics=("accuracy",),
    hub=(GLUE, "mnli"),
    splits=("train", "validation_matched"),
    summary="does the hypothesis follow; validation from the genres of training",
)
_MNLI_MM = replace(
    _MNLI,
    name="mnli-mm",
    splits=("train", "validation_mismatched"),
    summary="does the hypothesis follow; validation from other genres",
)
_WNLI = TaskSpec(
    name="wnli",
    shape="pair",
    text=("sentence1", "sentence2"),
    labels=("not_entailment", "entailment"),
    metrics=("accuracy",),
    hub=(GLUE, "wnli"),
    summary="does a sentence with its pronoun replaced follow",
)
_WIC_SPANS = replace(
    _WIC,
    name="wic-spans",
    span_use="vectors",
    summary="wic with the word's vectors given to the paper's head",
)
_WSC_SPANS = replace(
    _WSC,
    name="wsc-spans",
    span_use="vectors",
    summary="wsc with both spans' vectors given to a head",
)

BUILTIN: dict[str, TaskSpec] = {
    task.name: task
    for task in (
        *(_RTE, _BOOLQ, _COPA, _CB, _WIC, _MRPC, _QNLI, _COLA, _STSB, _WSC),
        *(_SST2, _QQP, _MNLI, _MNLI_MM, _WNLI, _WIC_SPANS, _WSC_SPANS),
    )
}


@cache
def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="headstart.tasks")}


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks: the paper's first, plug-ins last."""
    return (*BUILTIN, *sorted(_plugins().keys() - BUILTIN.keys()))


def get_task(name: str | Path) -> TaskSpec:
    """Return a task by its name, or read it from a YAML file.

    A name is one from ``task_names()``, or the path of a ``.yaml`` or ``.yml`` file. Raises
    ``ConfigError`` if there is no such task; the message suggests near names, and
    ``HeadstartError`` if the file is faulty.
    """
    if str(name) in BUILTIN:
        return BUILTIN[str(name)]
    if str(name) in _plugins():
        return _from_plugin(_plugins()[str(name)])
    if Path(name).suffix in {".yaml", ".yml"}:
        return read_task_file(Path(name))
    expected = "the name of a task, or the path of a .yaml file that describes one"
    raise ConfigError(expected, repr(str(name)), did_you_mean(str(name), task_names()))


def _from_plugin(point: EntryPoint) -> TaskSpec:
    task = point.load()
    if not isinstance(task, TaskSpec):
        fix = "Report this to the authors of that distribution."
        raise ConfigError(f"a TaskSpec from plug-in {point.value}", type(task).__name__, fix)
    return task


def read_task_folder(folder: str | Path, task: TaskSpec) -> dict[str, Path]:
    """Find the split files of a task.

    The files are named after the task's splits (``train.jsonl``, ``validation.csv`` …) and stand in
    ``folder`` itself or in a folder below it with the task's name. Variants of a task
    (``wic-spans``, ``mnli-mm``) share the files of the data set that they are made from. They are
    found by ``train``, ``validation`` and, where there is one, ``test``. Raises ``HeadstartError``
    if the folder or a file is missing, or a split has several files.
    """
    home = _home(Path(folder), task)
    names = {"train": task.splits[0], "validation": task.splits[1], "test": "test"}
    found = {split: _split_files(home, name) for split, name in names.items()}
    if not found["train"] and not found["validation"]:
        wanted = f"{names['train']} and {names['validation']}"
        raise _missing(home, f"{wanted} files (.jsonl, .csv …) in {home} or its {task.name} folder")
    raise_all(
        fault
        for split, files in found.items()
        if (fault := _split_fault(home, names[split], files, needed=split != "test"))
    )
    return {split: files[0] for split, files in found.items() if files}


def _home(folder: Path, task: TaskSpec) -> Path:
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing of that name"
        raise DataError(
            "a folder with a task's files", f"{found}: {folder}", "Check the path given as --data."
        )
    shared = task.hub[1] if task.hub else None
    below = [folder / name for name in (task.name, shared) if name]
    homes = [home for home in (folder, *below) if _split_files(home, task.splits[0])]
    named = [home for home in below if home.is_dir()]
    return (homes or named or [folder])[0]


def _split_files(home: Path, split: str) -> list[Path]:
    names = (f"{split}{suffix}{packed}" for suffix in SPLIT_SUFFIXES for packed in PACKED)
    return [home / name for name in names if (home / name).is_file()]


def _split_fault(
    home: Path, split: str, files: list[Path], *, needed: bool
) -> HeadstartError | None:
    if len(files) > 1:
        listed = ", ".join(file.name for file in files)
        return DataError(f"one {split} file in {home}", listed, "Remove or rename the others.")
    if needed and not files:
        return _missing(home, f"a {split} file (.jsonl, .csv, .tsv or .parquet) in {home}")
    return None


def _missing(home: Path, expected: str) -> DataError:
    there = sorted(path.name for path in home.iterdir())
    found = ", ".join(there[:8]) + (" …" if len(there) > 8 else "") or "an empty folder"
    fix = "Rename the files, or name them by --train and --validation."
    return DataError(expected, found, fix)
