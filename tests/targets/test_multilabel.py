"""Several labels a row: read from every form, checked, and scored as scikit-learn does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics

from headstart.data.tables.objects import as_frame
from headstart.errors import DataError, Faults, HeadstartError
from headstart.targets.multilabel import MultiLabel
from headstart.tasks.metrics import METRICS, compute
from headstart.tasks.spec import TaskSpec
from headstart.tasks.userfile import from_columns

TASK = TaskSpec("own", "single", ("text",), ("micro_f1",), target="multilabel")
JOINED = replace(TASK, label_separator=";")
COLUMNS = replace(TASK, label_columns=("a", "b", "c"))
TABLE = [[True, False, True], [False, False, False], [False, True, False]]


def frame(label: list[Any]) -> pd.DataFrame:
    cells = pd.Series(label, dtype=object)
    return pd.DataFrame({"text": [f"t{i}" for i in range(len(label))], "label": cells})


@pytest.mark.parametrize(
    ("task", "table"),
    [
        (TASK, frame([["a", "c"], [], ["b"]])),
        (TASK, frame([("c", " a "), np.array([], object), {"b"}])),
        (TASK, frame(['["a", "c"]', "[]", '["b"]'])),
        (JOINED, frame(["a; c", "", "b;"])),
        (JOINED, frame([" c ;a", None, "b"])),
        (COLUMNS, pd.DataFrame({"a": [1, 0, 0], "b": [0.0, 0.0, 1.0], "c": [True, False, False]})),
        (COLUMNS, pd.DataFrame({"a": ["1", "0", "0"], "b": [0, 0, 1], "c": ["true", "", ""]})),
    ],
)
def test_every_form_says_the_same(task: TaskSpec, table: pd.DataFrame) -> None:
    table = table.replace("", "0") if task is COLUMNS else table
    kind = MultiLabel.learn(table, task, where="the rows")
    assert kind.names == ("a", "b", "c")
    assert kind.read(table, task, where="the rows").tolist() == TABLE


@pytest.mark.parametrize("cell", [["a", "c"], '["a"]', []])
def test_a_separator_for_lists_is_refused(cell: Any) -> None:
    table = frame(["a; b", cell, "b"])
    with pytest.raises(DataError, match=r"a list in 1 row \(2\)\. Drop --label-separator"):
        MultiLabel.learn(table, JOINED, where="the rows")
    # What is read later, by a model of joined names, may be lists all the same.
    kind = MultiLabel.learn(frame(["a; b", "c"]), JOINED, where="the rows")
    assert kind.read(frame([["a", "c"]]), JOINED, where="the rows").tolist() == [
        [True, False, True]
    ]


def test_whole_numbers_are_names_and_the_names_of_datasets_are_read() -> None:
    datasets = pytest.importorskip("datasets")
    table = frame([[2, 10], [], [1.0]])
    kind = MultiLabel.learn(table, TASK, where="the rows")
    assert kind.names == ("1", "2", "10")
    assert kind.read(table, TASK, where="the rows").tolist()[0] == [False, True, True]
    names = datasets.ClassLabel(names=["joy", "anger", "fear"])
    for features in (datasets.Sequence(names), [names]):
        rows = datasets.Dataset.from_dict(
            {"text": ["x", "y", "z"], "label": [[2, 0], [], [1]]},
            features=datasets.Features({"text": datasets.Value("string"), "label": features}),
        )
        found = as_frame(rows)
        assert MultiLabel.recognises(found, TASK, where="the rows")
        task = MultiLabel.declared(found, TASK)
        kind = MultiLabel.learn(found, task, where="the rows")
        assert kind.names == ("joy", "anger", "fear")
        mask = kind.read(found, task, where="the rows")
        assert mask.tolist() == [[True, False, True], [False, False, False], [False, True, False]]
        # Rows from elsewhere may call them by their names, or by these numbers.
        other = frame([["fear"], [0], []])
        assert kind.read(other, task, where="x").tolist()[:2] == [
            [False, False, True], [True, False, False],
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("task", "table", "told"),
    [
        (
            TASK,
            frame([["a"], ["b", "b"], ["c", "c"]]),
            r"each label once.*'b' twice in 1 row \(2\)",
        ),
        (TASK, frame([["a"], None, ["b"]]), r"a label in every row.*1 row \(2\)"),
        (TASK, frame([["a", None], ["b"], ["b"]]), r"a name for every label.*1 row \(1\)"),
        (TASK, frame([["a"], {"b": 1}, ["b"]]), r"a list of labels in every cell.*1 row \(2\)"),
        (TASK, frame([["a"], "['b', 'a']", ["b"]]), r"a list of labels in every cell"),
        (TASK, frame([[], [], []]), r"labels in the rows; found an empty list in each of 3 rows"),
        (TASK, frame([["a"], [], ["a"]]), r"two labels or more; found only 'a'.*--target classes"),
        (TASK, pd.DataFrame({"lable": [["a"]]}), r"a label column 'label'.*Did you mean 'lable'"),
        (COLUMNS, pd.DataFrame({"a": [1, 0], "b": [2, 0], "c": [0, 1]}), r"0 or 1 in column 'b'"),
        (COLUMNS, pd.DataFrame({"a": [1, None], "b": [1, 0], "c": [0, 1]}), r"1 row \(2\)"),
        (COLUMNS, pd.DataFrame({"a": [1], "c": [0]}), r"a label column 'b'"),
    ],
)
def test_what_is_wrong_is_said_with_its_rows(
    task: TaskSpec, table: pd.DataFrame, told: str
) -> None:
    with pytest.raises(HeadstartError, match=told):
        MultiLabel.learn(table, task, where="the rows").read(table, task, where="the rows")


def test_all_unknown_labels_are_told() -> None:
    kind = MultiLabel(("anger", "joy"))
    with pytest.raises(DataError) as caught:
        kind.read(frame([["joi", "x"], ["joy"], ["x"]]), TASK, where="the validation rows")
    told = str(caught.value)
    assert "'joi' in 1 row (1), 'x' in 2 rows (1, 3)" in told
    assert "Did you mean 'joy'" in told


def test_faults_of_a_list_are_told_together() -> None:
    with pytest.raises(Faults) as caught:
        MultiLabel.learn(frame([None, ["a", "a"], ["b", ""]]), TASK, where="the rows")
    assert len(caught.value.faults) == 3


def test_what_the_labels_are_like_is_said_before_training() -> None:
    kind = MultiLabel(("a", "b", "c", "d"))
    train = np.zeros((20, 4), np.bool_)
    train[:12, 0], train[:8, 1], train[0, 2] = True, True, True
    held_out = train[:8].copy()
    held_out[:, 1] = False
    told = kind.check(train, held_out)
    assert told == [
        "8 of 20 training rows have no label (an empty list).",
        "No training row has the label 'd', so it cannot be learned.",
        "Labels in fewer than 5 training rows are hard to learn: 'c' (1).",
        "No validation row has the label 'b'; no score tells of it.",
    ]
    facts = kind.describe(train)
    assert facts["labels"] == "4, a row has 1.1 on average, 0 to 3"
    assert facts["rows with a label"] == "a 12 (60%), b 8 (40%), c 1 (5%), d 0 (0%)"
    with pytest.raises(DataError, match="the same in each of 3 rows: 'a', 'b'"):
        kind.check(train[[1, 1, 1]], held_out)


def test_thousands_of_labels_are_read_and_shown_in_a_line() -> None:
    names = [f"label{i:04}" for i in range(3000)]
    table = frame([names[i : i + 3] for i in range(0, 3000, 2)])
    kind = MultiLabel.learn(table, TASK, where="the rows")
    mask = kind.read(table, TASK, where="the rows")
    assert mask.shape == (1500, 3000)
    assert mask.sum() == 1499 * 3 + 2
    assert len(kind.describe(mask)["rows with a label"]) < 500
    assert len(np.unique(kind.strata(mask))) > 1000


def test_rows_are_grouped_by_their_rarest_label() -> None:
    mask = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1], [1, 1, 0]], np.bool_)
    assert MultiLabel(("a", "b", "c")).strata(mask).tolist() == [1, 0, 3, 2, 1]


def test_the_loss_is_that_of_transformers() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, generator=generator)
    labels = torch.rand(5, 3, generator=generator) < 0.4
    expected = torch.nn.BCEWithLogitsLoss()(logits, labels.float())
    found = MultiLabel(("a", "b", "c")).row_losses(logits, labels)
    torch.testing.assert_close(found.mean(), expected)


def test_a_threshold_decides() -> None:
    logits = np.array([[0.0, -1.0, 3.0]], np.float32)
    kind = MultiLabel(("a", "b", "c"))
    assert kind.predict(logits).tolist() == [[False, False, True]]
    assert kind.thresholds()[0.25].predict(logits).tolist() == [[True, True, True]]
    assert kind.answers(logits).values.tolist() == [["c"]]
    assert kind.answers(logits).probabilities["b"] == pytest.approx(1 / (1 + np.e))


def test_metrics_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((50, 4)) < (0.1, 0.3, 0.5, 0.7)
    logits = rng.normal(size=(50, 4)) + truth
    guess = logits > 0.3
    found = compute(
        [n for n, m in METRICS.items() if "multilabel" in m.targets], guess, truth, logits
    )
    expected = {
        **{
            f"{form}_{name}": getattr(metrics, f"{name}_score")(truth, guess, average=form)
            for name in ("f1", "precision", "recall")
            for form in ("macro", "micro", "weighted")
        },
        "samples_f1": metrics.f1_score(truth, guess, average="samples", zero_division=1.0),
        "mean_average_precision": metrics.average_precision_score(truth, logits, average="macro"),
        "ranking_loss": metrics.label_ranking_loss(truth, logits),
        "subset_accuracy": metrics.accuracy_score(truth, guess),
        "hamming_loss": metrics.hamming_loss(truth, guess),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert len(found) == 14


@pytest.mark.parametrize("name", ["f1", "precision", "recall"])
@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_labels_that_nothing_is_said_of_count_as_in_scikit_learn(name: str, average: str) -> None:
    rng = np.random.default_rng(0)
    for share in (0.0, 0.1, 0.5, 1.0):
        truth, guess = rng.random((2, 6, 3)) < share
        for one, other in ((truth, guess), (truth & False, guess), (truth, guess & False)):
            wanted = getattr(metrics, f"{name}_score")(one, other, average=average, zero_division=0)
            found = compute([f"{average}_{name}"], other, one)
            assert found == {f"{average}_{name}": pytest.approx(wanted)}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"label_columns": ("a",)}, "two or more different label_columns"),
        ({"label_columns": ("a", "a")}, "two or more different label_columns"),
        ({"label_columns": ("a", "text")}, "a label column that is not input; found 'text'"),
        ({"label_columns": ("a", "b"), "label_separator": ";"}, "label_columns or label_separator"),
        ({"label_columns": ("a", "b"), "target": "classes"}, "target multilabel beside label_col"),
        ({"label_separator": ";", "target": "number"}, "target multilabel beside label_separator"),
        ({"target": "multilabel", "choices": ("a", "b")}, "classes for multiple choice"),
        ({"target": "multilabel", "metrics": ("accuracy",)}, "metrics for multilabel"),
        ({"label_separator": ";", "metrics": ("rmse",)}, "metrics for multilabel"),
    ],
)
def test_columns_that_contradict_each_other_are_refused(more: Any, told: str) -> None:
    with pytest.raises(HeadstartError, match=told):
        from_columns(("text",), **more)
