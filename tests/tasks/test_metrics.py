"""Metrics against scikit-learn and scipy, and their values where these libraries have none."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from sklearn import metrics as sk
from sklearn.metrics import get_scorer_names

from headstart.errors import ConfigError, DataError, NumericalError
from headstart.tasks.calibration import softmax
from headstart.tasks.metrics import (
    ALIASES,
    DEFAULTS,
    METRICS,
    canonical_names,
    class_faults,
    compute,
    is_share,
    metric_faults,
    score,
    score_name,
    undefined,
)

Array = npt.NDArray[Any]

CLASS_REFERENCES = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "matthews": sk.matthews_corrcoef,
    "cohen_kappa": sk.cohen_kappa_score,
    **{name: getattr(sk, f"{name}_score") for name in ("f1", "precision", "recall")},
    **{
        f"{form}_{name}": partial(getattr(sk, f"{name}_score"), average=form)
        for name in ("f1", "precision", "recall")
        for form in ("macro", "micro", "weighted")
    },
}


def ranked(function: Callable[..., float]) -> Callable[[Array, Array], float]:
    """Take the second column of two, as scikit-learn wants it, and the mean of more."""
    return lambda y, p: (
        function(y, p[:, 1])
        if p.shape[1] == 2
        else np.mean([function(y == c, p[:, c]) for c in range(p.shape[1])])
    )


PROBABILITY_REFERENCES = {
    "roc_auc": lambda y, p: (
        sk.roc_auc_score(y, p[:, 1])
        if p.shape[1] == 2
        else sk.roc_auc_score(y, p, multi_class="ovr")
    ),
    "average_precision": ranked(sk.average_precision_score),
    "log_loss": lambda y, p: sk.log_loss(y, p, labels=range(p.shape[1])),
    "brier": lambda y, p: sk.brier_score_loss(y, p, labels=range(p.shape[1]), scale_by_half=False),
    **{
        f"top_{k}_accuracy": partial(sk.top_k_accuracy_score, k=k, labels=range(12))
        for k in (2, 3, 5, 10)
    },
}
NUMBER_REFERENCES = {
    "pearson": lambda y, p: stats.pearsonr(y, p).statistic,
    "spearman": lambda y, p: stats.spearmanr(y, p).statistic,
    "r2": sk.r2_score,
    "mae": sk.mean_absolute_error,
    "mse": sk.mean_squared_error,
    "rmse": sk.root_mean_squared_error,
}


SEVERAL = {name for name, metric in METRICS.items() if metric.targets == ("multilabel",)}
"""Compared with scikit-learn in tests/targets/test_multilabel.py."""
ENTITIES = {name for name, metric in METRICS.items() if metric.reads == "tags"}
"""Compared with seqeval in test_entity_metrics.py."""


def test_every_metric_is_covered() -> None:
    of_classes = CLASS_REFERENCES.keys() | PROBABILITY_REFERENCES.keys()
    assert of_classes | NUMBER_REFERENCES.keys() | SEVERAL | ENTITIES == METRICS.keys()
    assert len(METRICS) == 38
    assert all("classes" in METRICS[name].targets for name in of_classes)
    assert {n for n in METRICS.keys() - SEVERAL if METRICS[n].reads == "logits"} == (
        PROBABILITY_REFERENCES.keys()
    )
    assert all(METRICS[name].targets == ("number",) for name in NUMBER_REFERENCES)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", CLASS_REFERENCES)
def test_class_metrics_equal_the_reference(name: str, seed: int) -> None:
    classes = 2 if METRICS[name].most == 2 or seed % 2 else 4
    rng = np.random.default_rng(seed)
    truth, guess = rng.integers(classes, size=(2, 60))
    expected = CLASS_REFERENCES[name](truth, guess)
    assert compute([name], guess, truth)[name] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", PROBABILITY_REFERENCES)
def test_metrics_of_probabilities_equal_the_reference(name: str, seed: int) -> None:
    classes = 12 if name.startswith("top") else (2, 4)[seed % 2]
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(60) % classes)
    logits = rng.normal(size=(60, classes)).astype(np.float32)
    expected = PROBABILITY_REFERENCES[name](truth, softmax(logits))
    found = compute([name], logits.argmax(axis=1), truth, logits)[name]
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", NUMBER_REFERENCES)
def test_number_metrics_equal_the_reference(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=60)
    guess = (truth + rng.normal(size=60)).astype(np.float32)
    expected = NUMBER_REFERENCES[name](truth, guess.astype(float))
    assert compute([name], guess, truth)[name] == pytest.approx(expected, abs=1e-12)


def test_predictions_and_references_are_not_swapped() -> None:
    truth, guess = np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.0, 0.0])
    assert compute(["r2"], guess, truth)["r2"] == pytest.approx(-1.5)


def test_f1_is_that_of_label_1() -> None:
    truth, guess = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert compute(["f1"], guess, truth)["f1"] == pytest.approx(2 / 3)


RIGHT = np.arange(24) % 12
TWO = RIGHT % 2


@pytest.mark.parametrize("name", sorted(METRICS.keys() - SEVERAL - ENTITIES))
def test_every_metric_is_best_for_the_truth_and_worse_for_an_error(name: str) -> None:
    metric = METRICS[name]
    truth = TWO if metric.most == 2 else RIGHT
    worse = truth[[1, 0, *range(2, 24)]]
    if "number" in metric.targets:
        truth, worse = truth.astype(float), worse.astype(float)
    logits = 40.0 * np.eye(12, dtype=np.float32)
    # Of the wrong rows the true class is the least probable one.
    less = logits[worse.astype(int)]
    less[[0, 1], truth[:2].astype(int)] = -40
    best = compute([name], truth, truth, logits[truth.astype(int)])
    assert best[name] == pytest.approx(0 if metric.lower_is_better else 1, abs=1e-12)
    assert score([name], compute([name], worse, truth, less)) < score([name], best)


CORRELATIONS = ("matthews", "cohen_kappa", "pearson", "spearman")
NEED_TWO = (*CORRELATIONS, "r2", "roc_auc", "average_precision")


@pytest.mark.parametrize("name", CORRELATIONS)
def test_a_constant_guess_has_no_correlation_and_gives_no_warning(name: str) -> None:
    truth = np.arange(5).astype(int if "classes" in METRICS[name].targets else float)
    assert compute([name], np.ones_like(truth), truth) == {name: 0.0}


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("name", NEED_TWO)
def test_references_that_are_all_equal_leave_it_undefined(name: str, rows: int) -> None:
    truth = np.ones(rows, int if "classes" in METRICS[name].targets else float)
    logits = np.arange(2.0 * rows, dtype=np.float32).reshape(rows, 2)
    found = compute([name, "accuracy"], np.arange(rows).astype(truth.dtype), truth, logits)
    assert np.isnan(found[name])
    assert np.isfinite(found["accuracy"])
    assert np.isnan(score([name, "accuracy"], found))
    assert score(["accuracy"], found) == found["accuracy"]
    why = "all labels are equal" if rows > 1 else "there is only one"
    assert undefined([name, "accuracy"], truth) == f"{name} undefined, as {why}"
    assert undefined([name], np.arange(2)) == ""


def test_rows_without_any_label_leave_the_mean_average_precision_undefined() -> None:
    none, logits = np.zeros((3, 2), bool), np.zeros((3, 2), np.float32)
    assert np.isnan(
        compute(["mean_average_precision"], none, none, logits)["mean_average_precision"]
    )
    told = undefined(["micro_f1", "mean_average_precision"], none)
    assert told == "mean_average_precision undefined, as none has a label"
    one = np.array([[True, False]] * 3)
    assert undefined(["mean_average_precision"], one) == ""


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", [n for n in METRICS if "classes" in METRICS[n].targets])
def test_one_class_everywhere_gives_no_warning(name: str, classes: int) -> None:
    zeros = np.zeros(3, dtype=int)
    logits = np.tile(np.arange(classes)[::-1].astype(np.float32), (3, 1))
    found = compute([name], zeros, zeros, logits)[name]
    assert np.isnan(found) if name in NEED_TWO else 0 <= found <= 1


def test_a_class_that_no_row_has_is_left_out_of_the_mean_of_rankings() -> None:
    rng = np.random.default_rng(0)
    truth, logits = np.arange(40) % 3, rng.normal(size=(40, 4)).astype(np.float32)
    found = compute(("roc_auc", "average_precision"), truth, truth, logits)
    probabilities = softmax(logits)
    for name, function in (
        ("roc_auc", sk.roc_auc_score),
        ("average_precision", sk.average_precision_score),
    ):
        expected = np.mean([function(truth == c, probabilities[:, c]) for c in range(3)])
        assert found[name] == pytest.approx(expected)
    for name in ("log_loss", "brier", "top_3_accuracy", "balanced_accuracy"):
        assert math.isfinite(compute([name], truth, truth, logits)[name])


SPELLINGS = {
    "Accuracy": "accuracy",
    "ROC AUC": "roc_auc",
    "roc-auc": "roc_auc",
    "roc_auc_score": "roc_auc",
    "f1_macro": "macro_f1",
    "F1_Weighted": "weighted_f1",
    "precision_micro": "micro_precision",
    "recall_score": "recall",
    "neg_log_loss": "log_loss",
    "neg_brier_score": "brier",
    "neg_mean_absolute_error": "mae",
    "neg_root_mean_squared_error": "rmse",
    "mean_squared_error": "mse",
    "cohen_kappa_score": "cohen_kappa",
    "matthews_corrcoef": "matthews",
    "top_k_accuracy": "top_2_accuracy",
    "top_k_accuracy_score": "top_2_accuracy",
    "r2_score": "r2",
    "acuracy": "acuracy",
    "": "",
}


def test_names_are_read_as_scikit_learn_spells_them() -> None:
    assert {name: canonical_names([name])[0] for name in SPELLINGS} == SPELLINGS
    assert canonical_names(METRICS) == tuple(METRICS)
    assert set(ALIASES.values()) <= METRICS.keys()
    assert canonical_names(("F1_macro", "accuracy", "macro_f1")) == ("macro_f1", "accuracy")


@pytest.mark.parametrize("name", sorted(get_scorer_names()))
def test_every_scorer_of_scikit_learn_is_known_or_named_here(name: str) -> None:
    known = canonical_names([name])[0] in METRICS
    assert known != bool(NOT_OURS.search(name))


NOT_OURS = re.compile(
    "adjusted|mutual|rand_score|homogeneity|completeness|v_measure|fowlkes|jaccard|n_samples|l_samples|"
    "likelihood|d2_|poisson|gamma|msle|log_error|percentage|median|max_error|explained|"
    "roc_auc_ov._|roc_auc_ovo"
)
"""Of clusters and several labels a row, or rarely used."""


def test_errors_count_as_negative_in_a_score() -> None:
    assert score(("log_loss",), {"log_loss": 0.4}) == pytest.approx(-0.4)
    assert score(("accuracy", "brier"), {"accuracy": 0.8, "brier": 0.3}) == pytest.approx(0.25)
    assert score_name(("accuracy", "brier")) == "accuracy + -brier"
    assert is_share(("accuracy", "r2"))
    assert not is_share(("accuracy", "rmse"))


def test_an_error_beyond_numbers_is_not_the_smallest_one() -> None:
    found = compute(["rmse"], np.array([1e200, 1.0]), np.array([0.0, 1.0]))
    assert found == {"rmse": math.inf}


def test_classes_too_few_or_too_many_for_a_metric_are_told() -> None:
    names = ("accuracy", "precision", "top_3_accuracy")
    assert [f.expected for f in class_faults(names, "abcde")] == [
        "two classes for the metric precision, which is that of the second"
    ]
    assert "macro_precision" in class_faults(names, "abcde")[0].fix
    assert [f.expected for f in class_faults(names, "ab")] == [
        "4 classes or more for the metric top_3_accuracy"
    ]
    for name in ("f1", "precision", "recall"):
        assert f"macro_{name}" in METRICS


def test_nearly_constant_predictions_give_a_finite_value() -> None:
    guess = np.array([1.0, 1.0, np.nextafter(1.0, 2.0)])
    assert math.isfinite(compute(["pearson"], guess, np.arange(3.0))["pearson"])


def test_the_score_is_the_mean_of_the_named_metrics_alone() -> None:
    values = {"accuracy": 0.8, "f1": 0.6, "loss": 9.0}
    assert score(("accuracy", "f1"), values) == pytest.approx(0.7)


def test_values_come_in_the_order_of_the_names() -> None:
    labels = np.array([0, 1])
    assert list(compute(("f1", "accuracy"), labels, labels)) == ["f1", "accuracy"]


def test_no_rows_and_no_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="at least one row"):
        compute(["accuracy"], np.array([]), np.array([]))
    with pytest.raises(NumericalError, match="finite"):
        compute(["pearson"], np.array([1.0, np.nan]), np.array([1.0, 2.0]))


def test_defaults_fit_their_target() -> None:
    for target, names in DEFAULTS.items():
        assert metric_faults(names, target) == []
    assert DEFAULTS["classes"] == ("accuracy",)


def test_faults_name_the_unknown_and_the_unfit() -> None:
    faults = metric_faults(["acuracy", "pearson", "f1"], "classes")
    assert all(isinstance(fault, ConfigError) for fault in faults)
    assert [fault.found for fault in faults] == ["'acuracy'", "'pearson', which is for number"]
    assert "'accuracy'" in faults[0].fix
    assert "macro_f1" in faults[1].fix
    assert metric_faults(["pearson", "f1"]) == []


def test_import_needs_no_scientific_library() -> None:
    code = (
        "import sys, headstart.tasks.metrics, headstart.tasks.builtin\n"
        "print({'sklearn', 'scipy', 'torch', 'pandas'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
