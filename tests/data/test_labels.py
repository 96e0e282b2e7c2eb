from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from headstart.data.labels import (
    LabelMap,
    index_aliases,
    label_column,
    spelling,
)
from headstart.errors import DataError, Faults
from headstart.targets.number import looks_numeric


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["pos", "neg", " pos "], ("neg", "pos")),
        ([2, 10, 1, 2], ("1", "2", "10")),
        (["2", "10", "1"], ("1", "2", "10")),
        ([1.0, 0.0, 1.0], ("0", "1")),
        (["1.0", "0.0"], ("0", "1")),
        ([True, False], ("False", "True")),
        (["TRUE", "false"], ("False", "True")),
        ([-1, 1, 1], ("-1", "1")),
        (["-1", "1"], ("-1", "1")),
        ([0.5, 1.5, 1.0], ("0.5", "1", "1.5")),
        (["007", "7"], ("007", "7")),
        (["none", "NA", "null"], ("NA", "none", "null")),
        (np.array([1, 0]), ("0", "1")),
        (pd.Series(["x", "y"], dtype="category"), ("x", "y")),
    ],
)
def test_classes_come_in_order_whatever_their_type(values: object, names: tuple[str, ...]) -> None:
    labels = LabelMap.infer(values)  # type: ignore[arg-type]
    assert labels.names == names
    encoded = labels.encode(values)  # type: ignore[arg-type]
    assert encoded.dtype == np.int64
    assert set(encoded) == set(range(len(names)))


def test_the_same_label_is_the_same_class_in_every_type() -> None:
    labels = LabelMap.infer([0, 1, 1])
    for values in ([1, 0], ["1", "0"], [1.0, 0.0], ["1.0", " 0 "], np.array([1, 0], np.int8)):
        assert labels.encode(values).tolist() == [1, 0]
    truths = LabelMap.infer([True, False])
    for values in ([True, False], ["True", "False"], ["TRUE", "FALSE"], np.array([True, False])):
        assert truths.encode(values).tolist() == [1, 0]


def test_integer_names_are_names_and_not_indices() -> None:
    labels = LabelMap.infer([1, 2, 3])
    assert labels.encode([1, 3]).tolist() == [0, 2]
    assert index_aliases(labels.names) == {}
    with pytest.raises(DataError, match="'0' in 1 row"):
        labels.encode([0, 1], aliases=index_aliases(labels.names))


def test_declared_names_are_also_called_by_index() -> None:
    labels = LabelMap(("no", "yes"))
    aliases = index_aliases(labels.names)
    for values in ([1, 0], ["yes", "no"], ["1", "no"], [True, False], ["True", 0.0]):
        assert labels.encode(values, aliases=aliases).tolist() == [1, 0]
    with pytest.raises(DataError, match="'2'"):
        labels.encode([0, 2], aliases=aliases)
    with pytest.raises(DataError, match="'1'"):
        labels.encode([1])


def test_own_names_go_before_aliases() -> None:
    labels = LabelMap(("true", "false"))
    assert labels.encode([True, False], aliases=index_aliases(labels.names)).tolist() == [0, 1]


@pytest.mark.parametrize(
    "values",
    [
        ["a", None, "b", ""],
        ["a", float("nan"), "b", "  "],
        pd.Series([1, None, 0, None]),
        pd.Series([1, pd.NA, 0, pd.NA], dtype="Int64"),
        [1, -1, 0, -1],
        ["1", "-1", "0", "-1"],
        pd.Series([1, -1, 0, -1.0]),
    ],
)
def test_missing_labels_are_told_by_row(values: object) -> None:
    # Naming the classes goes on, so that all other faults of the rows can be told beside this one.
    labels = LabelMap.infer(values, where="training")  # type: ignore[arg-type]
    assert labels.names in (("0", "1"), ("a", "b"))
    for known in (labels, LabelMap(("0", "1", "a", "b"))):
        with pytest.raises(DataError, match=r"2 rows \(2, 4\)"):
            known.encode(values, where="training")  # type: ignore[arg-type]


def test_labels_of_a_test_set_without_gold_are_missing() -> None:
    with pytest.raises(DataError, match="a label in every row"):
        LabelMap.infer([-1, -1, -1])


def test_only_the_first_rows_are_listed() -> None:
    with pytest.raises(DataError, match=r"90 rows \(1, 2, 3, 4, 5, …\)"):
        LabelMap(("a", "b")).encode([None] * 90 + ["a", "b"])


@pytest.mark.parametrize("values", [["a", "a"], [1, 1, 1], [True]])
def test_one_class_is_refused(values: list[object]) -> None:
    with pytest.raises(DataError, match="at least two classes"):
        LabelMap.infer(values)


def test_missing_labels_and_one_class_are_told_together() -> None:
    with pytest.raises(Faults) as caught:
        LabelMap.infer(["a", "", "a"])
    assert "1 row (2)" in str(caught.value.faults[0])
    # Cells without a label are none of the rows that have it.
    assert "expected at least two classes; found only 'a' in 2 rows" in str(caught.value.faults[1])


@pytest.mark.parametrize("values", [[True, 1, False], [0, True, False, 1.0], [None, np.True_, 2]])
def test_truth_values_among_numbers_are_refused(values: list[object]) -> None:
    """For Python, True is 1: which of the two names the class would depend on the first row."""
    for read in (LabelMap.infer, LabelMap(("0", "1")).encode, looks_numeric):
        with pytest.raises(DataError, match=r"truth values in .* row.*, numbers in .* row"):
            read(values)
    assert LabelMap.infer([True, None, float("nan"), False, "true"]).names == ("False", "True")


def test_an_unknown_label_is_named_with_its_count() -> None:
    labels = LabelMap.infer(["positive", "negative"])
    with pytest.raises(DataError) as caught:
        labels.encode(["positive", "neutral", "postive", "neutral"], where="validation")
    assert "'neutral' in 2 rows (2, 4), 'postive' in 1 row (3)" in str(caught.value)
    assert "validation" in str(caught.value)
    with pytest.raises(DataError, match="Did you mean 'positive'"):
        labels.encode(["postive"])


def test_missing_and_unknown_labels_are_told_together() -> None:
    with pytest.raises(Faults) as caught:
        LabelMap(("a", "b")).encode(["a", "c", ""])
    assert len(caught.value.faults) == 2


def test_numbers_instead_of_classes_are_refused() -> None:
    numbers = np.random.default_rng(0).normal(size=400).round(2)
    with pytest.raises(DataError, match="--target number"):
        LabelMap.infer(numbers)
    with pytest.raises(DataError, match="--target number"):
        LabelMap.infer([str(number) for number in numbers])
    with pytest.raises(DataError, match="--target number"):
        LabelMap(("no", "yes")).encode(numbers + 0.001)


def test_a_text_column_is_no_label_column() -> None:
    with pytest.raises(DataError, match="which column holds the labels"):
        LabelMap.infer([f"sentence {i}" for i in range(60)])
    assert len(LabelMap.infer([f"intent {i}" for i in range(60)] * 2).names) == 60


def test_lists_are_no_labels() -> None:
    with pytest.raises(DataError, match="one value in every label cell"):
        LabelMap.infer([["a"], ["b"]])


def test_label_column_suggests() -> None:
    frame = pd.DataFrame({"text": ["x"], "opinoin": ["a"]})
    with pytest.raises(DataError, match="Did you mean 'opinoin'"):
        label_column(frame, "opinion", where="training")
    renamed = frame.rename(columns={"opinoin": "opinion"})
    assert label_column(renamed, "opinion", where="training").tolist() == ["a"]


def test_labels_of_bytes_are_their_text() -> None:
    assert spelling(b"good ") == "good"
    assert spelling("é".encode()) == "é"


@pytest.mark.parametrize(
    ("known", "strange", "mark"),
    [
        (["joy; fear", "joy", "grief"], "grief; joy", "--label-separator ';'"),
        (["joy|fear", "grief"], "grief|joy", "--label-separator '|'"),
        (["joy; fear", "joy"], "joy; love", None),
        (["yes, but", "no"], "maybe, but", None),
    ],
)
def test_labels_that_are_joined_of_known_ones_may_be_several(
    known: list[str], strange: str, mark: str | None
) -> None:
    with pytest.raises(DataError) as error:
        LabelMap.infer(known).encode([strange])
    assert (mark in error.value.fix) if mark else ("separator" not in error.value.fix)
