"""A user's own task, from YAML and from column names, and every fault at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from headstart.errors import ConfigError, Faults, HeadstartError
from headstart.tasks.spec import SPAN_KEYS, TASK_KEYS, Span, TaskSpec
from headstart.tasks.userfile import from_columns, read_task_file, task_faults

FULL = """
name: senses
shape: pair
text: [first, second]
label: same
labels: [no, yes]
metrics: [accuracy_score, matthews]
spans:
  - {column: first, start: s1, end: e1}
  - {column: second, text: word, word_index: at}
span_use: vectors
values: {first: {x: because}}
hub: owner/senses:small
splits: [train, dev]
paper_epochs: 7
version: 2
summary: two senses
"""


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def found(error: HeadstartError) -> list[str]:
    return [fault.found for fault in (error.faults if isinstance(error, Faults) else (error,))]


def test_every_field_can_stand_in_the_file(tmp_path: Path) -> None:
    assert read_task_file(write(tmp_path, FULL)) == TaskSpec(
        name="senses",
        shape="pair",
        text=("first", "second"),
        label="same",
        labels=("no", "yes"),
        metrics=("accuracy", "matthews"),
        spans=(
            Span("first", start="s1", end="e1"),
            Span("second", text="word", word_index="at"),
        ),
        span_use="vectors",
        values={"first": {"x": "because"}},
        hub=("owner/senses", "small"),
        splits=("train", "dev"),
        paper_epochs=7,
        version=2,
        summary="two senses",
    )


def test_text_alone_is_enough(tmp_path: Path) -> None:
    task = read_task_file(write(tmp_path, "text: review", "reviews.yml"))
    assert task == TaskSpec("reviews", "single", ("review",), ("accuracy",))


@pytest.mark.parametrize(
    ("lines", "shape", "metrics"),
    [
        ("text: [a, b]", "pair", ("accuracy",)),
        ("text: [a, b]\nchoices: [c, d]", "choice", ("accuracy",)),
        ("text: a\ntarget: number", "single", ("pearson", "spearman")),
    ],
)
def test_shape_and_metrics_follow_from_the_rest(
    tmp_path: Path, lines: str, shape: str, metrics: tuple[str, ...]
) -> None:
    task = read_task_file(write(tmp_path, lines))
    assert (task.shape, task.metrics) == (shape, metrics)


def test_labels_stay_the_text_that_they_are(tmp_path: Path) -> None:
    task = read_task_file(write(tmp_path, "text: a\nlabels: [no, 007, null, 1.0]"))
    assert task.labels == ("no", "007", "null", "1.0")


def test_every_key_is_described() -> None:
    assert set(TASK_KEYS) == {field.name for field in dataclasses.fields(TaskSpec)}
    assert set(SPAN_KEYS) == {field.name for field in dataclasses.fields(Span)}


def test_all_faults_of_a_file_come_together(tmp_path: Path) -> None:
    text = """
text: a
lable: y
metrics: [acuracy]
paper_epochs: many
spans: [{column: b, strt: x}]
target: number
labels: [p, q]
"""
    with pytest.raises(Faults) as caught:
        read_task_file(write(tmp_path, text))
    assert found(caught.value) == [
        "'lable'", "'strt'", "'many'", "p, q", "'b'", "none of them", "'acuracy'",
    ]  # fmt: skip
    assert "Did you mean 'label' or 'labels'?" in str(caught.value)
    assert "Did you mean 'start'?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b", "one 'key: value' a line"),
        ("", "one 'key: value' a line"),
        ("text: [a", "a file in YAML"),
        ("text: a\nspans:\n- {column: a, text: b, text: c}\n", "'text' in lines 3 and 3"),
        ("text: a\nlabel: b\nlabel: c\n", "'label' in lines 2 and 3"),
        ("label: y", "text: the text columns"),
        ("text: {a: b}", "text, entry 1: the text column, or a list"),
        ("text: a\nshape: triple", "shape: single (a text), pair, choice"),
        ("text: a\nhub: [a, b, c]", "hub: a data set on the hub: path or path:configuration"),
        ("text: a\nspans: [b]", "spans, entry 1: a span with the keys column, text"),
        ("text: a\nspans: [{start: x, end: y}]", "spans, entry 1, column: the text column"),
        ("text: a\nvalues: {a: b}", "values: words for the raw values"),
        ("text: a\nsplits: [train]", "splits, entry 2: a list of two"),
    ],
)
def test_faulty_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(HeadstartError) as caught:
        read_task_file(write(tmp_path, text))
    assert message in str(caught.value)


def test_a_wrong_target_is_not_reported_through_its_metrics(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"target: .*found 'nubmer'"):
        read_task_file(write(tmp_path, "text: a\ntarget: nubmer\nmetrics: pearson"))


def task(**changes: object) -> TaskSpec:
    base = {"name": "t", "shape": "single", "text": ("a",), "metrics": ("accuracy",)}
    return TaskSpec(**{**base, **changes})  # type: ignore[arg-type]


OFFSETS = Span("a", start="s", end="e")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"shape": "pair"}, "2 text columns for shape pair"),
        ({"text": ("a", "b")}, "1 text column for shape single"),
        ({"shape": "pair", "text": ("a", "a")}, "each text column once"),
        ({"shape": "choice", "choices": ("c",)}, "two or more choice columns"),
        ({"choices": ("c", "d")}, "no choice columns for shape single"),
        ({"label": "a"}, "a label column that is not input"),
        ({"label": "s", "spans": (OFFSETS,)}, "a label column that is not input"),
        ({"labels": ("x", "x")}, "two or more different labels"),
        ({"labels": ("x",)}, "two or more different labels"),
        ({"labels": ("x", "y"), "target": "number", "metrics": ("r2",)}, "no labels for a number"),
        (
            {"shape": "choice", "choices": ("c", "d"), "labels": ("x", "y", "z")},
            "a label for each choice column",
        ),
        ({"spans": (Span("b", text="w"),)}, "span 1: a text column to look in"),
        ({"spans": (OFFSETS, Span("a"))}, "span 2: start and end, or text"),
        ({"spans": (Span("a", start="s"),)}, "span 1: start and end, or text"),
        ({"spans": (Span("a", word_index="i"),)}, "span 1: start and end, or text"),
        ({"spans": (Span("a", "w", start="s", end="e"),)}, "span 1: start and end, or text"),
        ({"span_use": "vectors"}, "spans for span_use vectors"),
        ({"values": {"b": {"x": "y"}}}, "values: a column of the task"),
        ({"metrics": ("pearson",)}, "metrics for classes"),
    ],
)
def test_contradiction(changes: dict[str, object], expected: str) -> None:
    (fault,) = task_faults(task(**changes))
    assert fault.expected.startswith(expected)
    assert fault.fix


@pytest.mark.parametrize("span", [OFFSETS, Span("a", text="w"), Span("a", "w", word_index="i")])
def test_each_way_of_finding_a_span_is_accepted(span: Span) -> None:
    assert task_faults(task(spans=(span,))) == []


def test_columns_of_a_command_line() -> None:
    assert from_columns(["a"], "y") == TaskSpec(
        "custom", "single", ("a",), ("accuracy",), label="y"
    )
    assert from_columns(("a", "b")).shape == "pair"
    choice = from_columns(("a", "q", "r"), choices=("c", "d"))
    assert (choice.shape, choice.text, choice.choices) == ("choice", ("a", "q", "r"), ("c", "d"))
    assert from_columns(["a"], target="number").metrics == ("pearson", "spearman")


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        (["a"], "w", [Span("a", text="w")]),
        (["a"], "s:e, w", [Span("a", start="s", end="e"), Span("a", text="w")]),
        (["a", "b"], "s:e,t:f", [Span("a", start="s", end="e"), Span("b", start="t", end="f")]),
        (["a", "b"], ["w"], [Span("a", text="w")]),
    ],
)
def test_spans_of_a_command_line(text: list[str], span: str, expected: list[Span]) -> None:
    assert list(from_columns(text, span=span).spans) == expected


def test_an_open_target_leaves_the_fit_of_metrics_open() -> None:
    assert from_columns(["a"], metrics=["pearson"]).metrics == ("pearson",)
    with pytest.raises(ConfigError, match="metrics for classes"):
        from_columns(["a"], metrics=["pearson"], target="classes")


def test_all_faults_of_a_command_line_come_together() -> None:
    with pytest.raises(Faults) as caught:
        from_columns(["a", "b", "c"], label="a", metrics=["acuracy"])
    assert found(caught.value) == ["3: a, b, c", "'a'", "'acuracy'"]
