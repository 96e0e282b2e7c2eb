from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from headstart.data.rows import Rows
from headstart.errors import ConfigError, DataError, Faults
from headstart.inputs._rows import build_rows
from headstart.targets._base import TargetKind
from headstart.targets.classes import Classes
from headstart.targets.number import Number
from headstart.tasks.spec import Span, TaskSpec

SINGLE = TaskSpec("s", "single", ("text",), ("accuracy",))
PAIR = TaskSpec("p", "pair", ("one", "two"), ("accuracy",), labels=("no", "yes"))
CHOICE = TaskSpec(
    "c",
    "choice",
    ("premise", "question"),
    ("accuracy",),
    choices=("choice1", "choice2"),
    values={"question": {"cause": "because", "effect": "so"}},
)
NUMBER = replace(SINGLE, target="number")
LABELS = Classes(("no", "yes"))


def rows(frame: dict[str, list[object]], task: TaskSpec, kind: TargetKind = LABELS) -> Rows:
    return build_rows(pd.DataFrame(frame), task, kind, where="the training rows")


def faults_of(frame: dict[str, list[object]], task: TaskSpec) -> list[str]:
    with pytest.raises(Faults) as caught:
        rows(frame, task)
    return [str(fault) for fault in caught.value.faults]


def test_single() -> None:
    built = rows({"text": ["a", "b "], "label": ["yes", "no"]}, SINGLE)
    assert built.inputs == [(("a", None),), (("b ", None),)]
    assert built.labels is not None
    assert built.labels.tolist() == [1, 0]
    assert built.labels.dtype == np.int64
    assert built.spans is None
    assert (built.choices, len(built)) == (1, 2)


def test_pair_with_labels_by_index() -> None:
    built = rows({"one": ["a", "b"], "two": ["c", "d"], "label": [1, 0]}, PAIR)
    assert built.inputs == [(("a", "c"),), (("b", "d"),)]
    assert built.labels is not None
    assert built.labels.tolist() == [1, 0]


def test_inferred_names_are_not_called_by_index() -> None:
    with pytest.raises(DataError, match="'1' in 1 row"):
        rows({"text": ["a"], "label": [1]}, SINGLE)


@pytest.mark.parametrize("label", [1, "1", 1.0, "choice2", "yes"])
def test_choice(label: object) -> None:
    cells = {"premise": "It fell.", "question": "cause", "choice1": "x", "choice2": "y"}
    frame = {name: [cell] for name, cell in {**cells, "label": label}.items()}
    built = rows(frame, CHOICE)
    assert built.inputs == [(("It fell. because", "x"), ("It fell. because", "y"))]
    assert built.choices == 2
    assert built.labels is not None
    assert built.labels.tolist() == [1]


def test_numbers() -> None:
    built = rows({"text": ["a", "b"], "label": ["1.5", "2"]}, NUMBER, Number())
    assert built.labels is not None
    assert built.labels.dtype == np.float64
    assert built.labels.tolist() == [1.5, 2.0]
    with pytest.raises(DataError, match="--target classes"):
        rows({"text": ["a"], "label": ["good"]}, NUMBER, Number())


def test_labels_need_not_be_there() -> None:
    frame = pd.DataFrame({"text": ["a"]})
    built = build_rows(frame, SINGLE, None, where="new.csv")
    assert built.labels is None
    with pytest.raises(DataError, match=r"a label column 'label' in new\.csv"):
        build_rows(frame, SINGLE, LABELS, where="new.csv")


def test_all_missing_columns_are_told_with_their_role() -> None:
    told = faults_of({"premise": ["a"], "choice1": ["b"], "choise2": ["b"]}, CHOICE)
    assert len(told) == 3
    assert "a text column 'question' in the training rows" in told[0]
    assert "a choice column 'choice2'" in told[1]
    assert "Did you mean" in told[1]
    assert "choise2" in told[1]
    assert "a label column 'label'" in told[2]


@pytest.mark.parametrize("empty", ["", "  \n", None, float("nan"), pd.NA])
def test_empty_texts_are_told_by_row(empty: object) -> None:
    frame = {"text": ["a", empty, "b", empty], "label": ["no", "no", "yes", "yes"]}
    with pytest.raises(DataError, match=r"empty or missing text in 2 rows \(2, 4\)"):
        rows(frame, SINGLE)


def test_numbers_are_text_and_lists_are_not() -> None:
    built = rows({"text": [4, "five"], "label": ["no", "yes"]}, SINGLE)
    assert built.inputs[0] == (("4", None),)
    with pytest.raises(DataError, match=r"a list in 1 row \(2\)"):
        rows({"text": ["a", ["b"]], "label": ["no", "yes"]}, SINGLE)


def test_faults_in_cells_are_gathered() -> None:
    cells = {"premise": [""], "question": ["caus"], "choice1": ["x"], "choice2": [None]}
    told = faults_of({**cells, "label": ["maybe"]}, CHOICE)
    assert len(told) == 4
    assert "'premise'" in told[0]
    assert "'caus' in 1 row (1). Did you mean 'cause'?" in told[1]
    assert "'choice2'" in told[2]
    assert "'maybe'" in told[3]


WIC = replace(PAIR, spans=(Span("one", text="w1"), Span("two", text="w2")), labels=None, name="wic")
WIC_FRAME: dict[str, list[object]] = {
    "one": ["a dog ran", "a cat"],
    "two": ["dogs ran", "the cat"],
    "w1": ["dog", "cat"],
    "w2": ["ran", "cat"],
    "label": ["no", "yes"],
}


def test_targets_are_marked_each_in_its_own_text() -> None:
    built = rows(WIC_FRAME, WIC)
    assert built.inputs[0] == (("a * dog * ran", "dogs * ran *"),)
    assert built.spans is None


def test_targets_in_one_text_have_marks_of_their_own() -> None:
    task = replace(SINGLE, spans=(Span("text", text="who"), Span("text", text="whom")))
    frame: dict[str, list[object]] = {"text": ["Ann saw her"], "who": ["her"], "whom": ["Ann"]}
    built = rows({**frame, "label": ["no"]}, task)
    assert built.inputs == [(("# Ann # saw * her *", None),)]


def test_targets_as_vectors_leave_the_text_alone() -> None:
    built = rows(WIC_FRAME, replace(WIC, span_use="vectors"))
    assert built.inputs[0] == (("a dog ran", "dogs ran"),)
    assert built.spans == [((0, 2, 5), (1, 5, 8)), ((0, 2, 5), (1, 4, 7))]


def test_a_lost_target_is_told() -> None:
    with pytest.raises(DataError, match=r"columns w2 inside 'two'.* 1 row \(2\)"):
        rows({**WIC_FRAME, "w2": ["ran", "cow"]}, WIC)


def test_marks_work_inside_joined_texts() -> None:
    task = replace(CHOICE, spans=(Span("premise", text="word"),))
    cells = {"premise": "It fell.", "question": "cause", "choice1": "x", "choice2": "y"}
    frame = {name: [cell] for name, cell in {**cells, "word": "fell", "label": 0}.items()}
    assert rows(frame, task).inputs[0][0] == ("It * fell *. because", "x")
    with pytest.raises(ConfigError, match="span vectors"):
        rows(frame, replace(task, span_use="vectors"))


def test_take_keeps_rows_together() -> None:
    built = rows(WIC_FRAME, replace(WIC, span_use="vectors")).take(np.array([1]))
    assert built.inputs == [(("a cat", "the cat"),)]
    assert built.labels is not None
    assert built.labels.tolist() == [1]
    assert built.spans == [((0, 2, 5), (1, 4, 7))]
