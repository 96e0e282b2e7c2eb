"""What holds for every kind of target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch

from headstart.config import FitConfig
from headstart.data.ragged import joined
from headstart.errors import HeadstartError
from headstart.inputs._rows import build_rows
from headstart.models.head_choice import ProblemType, Target
from headstart.targets import TARGETS
from headstart.targets._adjusted import adjusted_score
from headstart.targets._base import TargetKind
from headstart.targets._model import kind_of
from headstart.tasks import spec
from headstart.tasks.metrics import DEFAULTS, METRICS, compute, metric_faults
from headstart.tasks.spec import TaskSpec

ROWS = 24
rng = np.random.default_rng(0)


@dataclass(frozen=True)
class Case:
    """Labels of a kind, as they stand in a table.

    Args:
        cells: The label column.
        bad: A cell that is refused.
        constant: Logits of the best constant guess, from the labels in the units of training.
        perfect: Logits that are right for every row.
    """

    cells: list[Any]
    bad: Any
    constant: Any
    perfect: Any


def several() -> list[list[str]]:
    table = rng.random((ROWS, 3)) < (0.2, 0.5, 0.8)
    table[0], table[1] = True, False
    return [[name for name, there in zip("abc", row, strict=True) if there] for row in table]


def tagged() -> list[list[str]]:
    return [["B-x", "I-x", "O", "B-x"], ["B-x"], ["O", "O"]] * (ROWS // 3)


CASES = {
    "classes": Case(
        ["x", "y", "z", "y"] * (ROWS // 4),
        "w",
        lambda labels: np.log(np.bincount(labels) / len(labels)),
        lambda labels: 30 * np.eye(3)[labels],
    ),
    "multilabel": Case(
        several(),
        ["a", "a"],
        lambda labels: np.log(labels.mean(axis=0) / (1 - labels.mean(axis=0))),
        lambda labels: 60.0 * labels - 30,
    ),
    "number": Case(
        (10 + 3 * rng.normal(size=ROWS)).tolist(),
        "many",
        lambda labels: np.array([labels.mean()]),
        lambda labels: labels[:, None],
    ),
    "tags": Case(
        tagged(),
        ["B-x"] * 9,
        lambda labels: np.log(np.bincount(joined(labels)) / len(joined(labels))),
        lambda labels: 30 * np.eye(3)[joined(labels)],
    ),
}
each = pytest.mark.parametrize("name", list(TARGETS))


def task_of(name: Any) -> TaskSpec:
    shape = TARGETS.get(name).shape or "single"
    return TaskSpec("own", shape, ("text",), DEFAULTS[name], target=name)


def frame_of(name: str) -> pd.DataFrame:
    cells = CASES[name].cells
    texts = [[f"t{i}"] * len(cells[i]) if name == "tags" else f"t{i}" for i in range(ROWS)]
    return pd.DataFrame({"text": texts, "label": cells})


def fitted(name: str) -> tuple[TargetKind, Any]:
    """Return the kind as a run has it, and the labels in the units of training."""
    frame, task = frame_of(name), task_of(name)
    kind = TARGETS.get(name).learn(frame, task, where="the rows")
    labels = build_rows(frame, task, kind, where="the rows").labels
    assert labels is not None
    kind = kind.fit(labels)
    return kind, kind.standardise(labels)


def logits_of(values: Any) -> Any:
    return np.asarray(values, np.float32)


def test_every_kind_is_known_by_all_its_names() -> None:
    named = set(TARGETS)
    assert named == set(CASES) == set(DEFAULTS) == set(get_args(spec.Target))
    assert named == set(get_args(FitConfig.model_fields["target"].annotation)) - {"auto"}
    assert {TARGETS.get(name).problem_type for name in named} == set(get_args(ProblemType))
    assert named == {target for metric in METRICS.values() for target in metric.targets}


@each
def test_a_kind_is_found_by_its_name_and_by_its_models(name: str) -> None:
    kind, _ = fitted(name)
    assert kind.name == name
    model = "tokens" if name == "tags" else "sequence"
    target = Target(kind.names, model, multilabel=name == "multilabel")
    assert kind_of(target.problem_type) is TARGETS.get(name)
    again = type(kind).of_model(kind.names, object())
    assert again.outputs == target.outputs == kind.outputs
    assert metric_faults(DEFAULTS[kind.name], kind.name) == []


@each
def test_labels_of_one_kind_alone_are_recognised_as_such(name: str) -> None:
    frame, task = frame_of(name), task_of("classes")
    if name == "tags":  # lists too, which those with rows of their own kind are asked about first
        assert TARGETS.get(name).recognises(frame, task, where="the rows")
        return
    found = [
        other for other in TARGETS if TARGETS.get(other).recognises(frame, task, where="the rows")
    ]
    assert found in ([name], [])
    assert name == "classes" or found == [name]


@each
def test_gaps_are_found_and_refused_and_so_is_a_bad_cell(name: str) -> None:
    kind, _ = fitted(name)
    task = task_of(name)
    for cell in (None, CASES[name].bad):
        frame = frame_of(name)
        frame["label"] = pd.Series([cell, *CASES[name].cells[1:]], dtype=object)
        missing = kind.unlabelled(frame, task, kind.names or None, where="the rows")
        assert missing.tolist() == [cell is None] + [False] * (ROWS - 1)
        with pytest.raises(HeadstartError, match=r"1 row \(1\)"):
            kind.read(frame, task, where="the rows")


@each
def test_units_of_training_go_back_to_those_of_the_user(name: str) -> None:
    kind, labels = fitted(name)
    given = kind.flat(kind.restore(labels))
    np.testing.assert_allclose(kind.flat(kind.standardise(kind.restore(labels))), kind.flat(labels))
    again = kind.predict(logits_of(CASES[name].perfect(labels)))
    np.testing.assert_allclose(again, given, rtol=1e-5)


@each
def test_the_chance_loss_is_that_of_the_best_constant_guess(name: str) -> None:
    kind, labels = fitted(name)
    constant = CASES[name].constant(labels)
    truth = torch.from_numpy(kind.flat(labels))

    def loss(values: Any) -> float:
        logits = torch.from_numpy(logits_of(np.tile(values, (len(truth), 1))))
        losses = kind.row_losses(logits, truth)
        assert losses.shape == (len(truth),)
        assert losses.dtype == torch.float32
        return float(losses.mean())

    assert kind.chance_loss(labels) == pytest.approx(loss(constant), rel=1e-4)
    for place in range(kind.outputs):
        moved = constant.copy()
        moved[place] += 0.5
        assert loss(moved) > kind.chance_loss(labels)


@each
def test_the_adjusted_score_is_1_without_errors_and_0_for_a_constant(name: str) -> None:
    kind, labels = fitted(name)
    perfect = logits_of(CASES[name].perfect(labels))
    assert adjusted_score(kind, perfect, labels) == pytest.approx(1)
    flat = kind.flat(labels)
    constant = logits_of(np.tile(CASES[name].constant(labels), (len(flat), 1)))
    assert adjusted_score(kind, constant, labels) == pytest.approx(0, abs=1e-6)
    halves = [
        kind.adjusted_sums(torch.from_numpy(perfect[part]), torch.from_numpy(flat[part]))
        for part in (slice(0, 7), slice(7, None))
    ]
    assert kind.adjusted_score(sum(halves).numpy()) == pytest.approx(1)  # type: ignore[union-attr]


@each
def test_predictions_are_scored_and_told(name: str) -> None:
    kind, labels = fitted(name)
    perfect = logits_of(CASES[name].perfect(labels))
    guesses = kind.predict(perfect)
    tags, given = kind.tags(guesses, labels), kind.flat(kind.restore(labels))
    values = compute(DEFAULTS[kind.name], guesses, given, perfect, tags)
    assert list(values.values()) == pytest.approx([1.0] * len(values))
    rows = build_rows(frame_of(name), task_of(name), None, where="the rows")
    told = kind.answers(perfect, rows)
    assert len(told.values) == ROWS
    assert tuple(told.probabilities) == (() if told.tags is not None else kind.names)
    for column in told.probabilities.values():
        assert column.shape == (ROWS,)
        assert ((column >= 0) & (column <= 1)).all()
    if kind.names:
        assert (told.values if told.tags is None else told.tags).tolist() == CASES[name].cells
    assert kind.collapsed(perfect, labels) == ""


@each
def test_two_models_are_compared_row_by_row(name: str) -> None:
    kind, labels = fitted(name)
    good = logits_of(CASES[name].perfect(labels))
    bad = np.roll(good, 1, axis=0)
    gains = kind.row_scores(good, labels) - kind.row_scores(bad, labels)
    assert (gains >= 0).all()
    changed = gains[gains != 0]
    assert len(changed) > 5
    assert kind.p_better(changed) < 0.05 < kind.p_better(-changed)


@each
def test_rows_are_grouped_and_described(name: str) -> None:
    kind, labels = fitted(name)
    groups = kind.strata(labels)
    assert groups.shape == (ROWS,)
    assert np.issubdtype(groups.dtype, np.integer)
    assert all(kind.describe(labels).values())
    kind.check(labels, labels)
    with pytest.raises(HeadstartError):
        alike = labels[[0, 0, 0]] if name != "tags" else labels[[2, 2]]
        kind.check(alike, labels)
