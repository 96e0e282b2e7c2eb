"""Columns that are called nearly as wished, and rows with gaps."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from headstart.data._faults import counting_all, counting_from, notes, row_numbers
from headstart.data.rows import column_faults
from headstart.data.tables.usable import Counts, Gaps, Usable, fit_columns, usable_rows
from headstart.errors import DataError, HeadstartError
from headstart.inputs import INPUTS
from headstart.inputs._rows import build_rows
from headstart.targets._base import TargetKind
from headstart.targets.classes import Classes
from headstart.targets.number import Number
from headstart.tasks.spec import Span, TaskSpec

TASK = TaskSpec("own", "single", ("text",), ("accuracy",))
PAIR = TaskSpec("own", "pair", ("first", "second"), ("accuracy",))
ROWS = pd.DataFrame({"text": ["a", "", None, "b", " \t", "c"], "label": [0, 1, 0, -1, None, 1]})


def usable(
    frame: pd.DataFrame, task: TaskSpec, gaps: Gaps, kind: type[TargetKind] = Classes
) -> Usable:
    unlabelled = partial(kind.unlabelled, task=task, names=None, where="the rows")
    empty = partial(INPUTS.get(task.shape).missing, task=task)
    return usable_rows(frame, gaps, where="the rows", empty=empty, unlabelled=unlabelled)


@pytest.mark.parametrize("name", [" text", "Text", "TEXT ", "\ufefftext", "\xa0Text"])
def test_a_column_that_alone_fits_is_read_and_said(name: str) -> None:
    frame = pd.DataFrame({name: ["a"], "other": [1], "LABEL": ["x"]})
    fitted = fit_columns(frame, TASK)
    assert list(fitted.columns) == ["text", "other", "label"]
    assert notes(fitted) == [
        f"Column {name!r} was read as 'text'.", "Column 'LABEL' was read as 'label'.",
    ]  # fmt: skip
    assert list(frame.columns) == [name, "other", "LABEL"]
    assert "LABEL" in fit_columns(frame, TASK, need_labels=False).columns


def test_of_two_that_fit_neither_is_read() -> None:
    frame = pd.DataFrame({"Text": ["a"], "TEXT": ["b"], "label": ["x"]})
    assert fit_columns(frame, TASK) is frame
    (fault,) = column_faults(frame, TASK, where="the rows")
    assert "columns Text, TEXT, label" in str(fault)


def test_a_column_that_is_there_is_never_taken_for_another() -> None:
    frame = pd.DataFrame({"text": ["a"], "Text": ["b"], "label": ["x"]})
    assert fit_columns(frame, TASK) is frame
    pair = TaskSpec("own", "pair", ("text", "Text "), ("accuracy",))
    assert list(fit_columns(frame, pair).columns) == ["text", "Text ", "label"]


def test_class_names_go_with_their_column() -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "Label": [0, 1]})
    frame.attrs["class_names"] = {"Label": ("good", "bad")}
    rows = build_rows(fit_columns(frame, TASK), TASK, Classes(("bad", "good")), where="the rows")
    assert rows.labels is not None
    assert rows.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("gaps", "kept", "counts"),
    [
        (Gaps(), [0, 1, 2, 3, 4, 5], Counts(6)),
        (Gaps("drop"), [0, 3, 5], Counts(6, dropped_text=3)),
        (Gaps("keep"), [0, 1, 2, 3, 4, 5], Counts(6, kept_text=3)),
        (Gaps(missing_label="drop"), [0, 1, 2, 5], Counts(6, dropped_label=2)),
        (Gaps("drop", "drop"), [0, 5], Counts(6, dropped_text=3, dropped_label=1)),
        (Gaps("keep", "drop"), [0, 1, 2, 5], Counts(6, kept_text=2, dropped_label=2)),
    ],
)
def test_rows_with_gaps(gaps: Gaps, kept: list[int], counts: Counts) -> None:
    found = usable(ROWS, TASK, gaps)
    assert found.kept.tolist() == kept
    assert found.frame["text"].tolist() == [ROWS["text"][place] for place in kept]
    assert found.counts == counts
    assert len(found.counts.told("the rows")) == len(found.counts.record())


def test_minus_one_is_a_number_where_a_number_is_learned() -> None:
    task = TaskSpec("own", "single", ("text",), ("pearson",), target="number")
    found = usable(ROWS, task, Gaps(missing_label="drop"), Number)
    assert found.kept.tolist() == [0, 1, 2, 3, 5]


def test_a_pair_lacks_text_where_either_does() -> None:
    frame = pd.DataFrame({"first": ["a", "", "c"], "second": ["", "b", "c"], "label": [0, 1, 0]})
    assert usable(frame, PAIR, Gaps("drop")).kept.tolist() == [2]
    rows = build_rows(frame, PAIR, Classes(("0", "1")), where="the rows", keep_empty=True)
    assert rows.inputs == [(("a", ""),), (("", "b"),), (("c", "c"),)]
    with pytest.raises(DataError, match="rows with text and label in the rows; found 2 without"):
        usable(frame.head(2), PAIR, Gaps("drop"))


def test_what_is_kept_is_empty_and_what_is_no_text_is_a_fault_all_the_same() -> None:
    rows = build_rows(ROWS, TASK, None, where="the rows", keep_empty=True)
    assert rows.inputs == [((text, None),) for text in ("a", "", "", "b", "", "c")]
    lists = pd.DataFrame({"text": [["a"], "b"]})
    with pytest.raises(DataError, match=r"found a list in 1 row \(1\)\. Write one text"):
        build_rows(lists, TASK, None, where="the rows", keep_empty=True)
    spans = TaskSpec("own", "single", ("text",), ("accuracy",), spans=(Span("text", "label"),))
    with pytest.raises(HeadstartError, match="empty or missing text in 3 rows"):
        build_rows(ROWS, spans, None, where="the rows", keep_empty=True)


def test_the_error_names_the_options() -> None:
    with pytest.raises(DataError, match="--empty-text drop"):
        build_rows(ROWS.head(3), TASK, Classes(("0", "1")), where="the rows")
    with pytest.raises(DataError, match="--missing-label drop"):
        build_rows(ROWS.iloc[[0, 3]], TASK, Classes(("0", "1")), where="the rows")


def test_rows_are_counted_as_in_the_file() -> None:
    with counting_from(100), counting_all(np.array([2, 5, 9])):
        assert row_numbers([0, 2]) == "2 rows (103, 110)"
    assert row_numbers([0, 2]) == "2 rows (1, 3)"
