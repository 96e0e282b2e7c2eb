"""Metrics against scikit-learn and scipy, and their values where these libraries have none."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from headstart.errors import ConfigError, DataError, NumericalError
from headstart.tasks.metrics import METRICS, compute, default_metrics, metric_faults, score

CLASS_REFERENCES = {
    "accuracy": sk.accuracy_score,
    "f1": sk.f1_score,
    "macro_f1": lambda y, p: sk.f1_score(y, p, average="macro"),
    "matthews": sk.matthews_corrcoef,
}
NUMBER_REFERENCES = {
    "pearson": lambda y, p: stats.pearsonr(y, p).statistic,
    "spearman": lambda y, p: stats.spearmanr(y, p).statistic,
    "r2": sk.r2_score,
}


def test_every_metric_is_covered() -> None:
    assert CLASS_REFERENCES.keys() | NUMBER_REFERENCES.keys() == METRICS.keys()
    assert len(METRICS) == 7
    assert all(METRICS[name].target == "classes" for name in CLASS_REFERENCES)
    assert all(METRICS[name].target == "number" for name in NUMBER_REFERENCES)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", CLASS_REFERENCES)
def test_class_metrics_equal_the_reference(name: str, seed: int) -> None:
    classes = 2 if name == "f1" or seed % 2 else 4
    rng = np.random.default_rng(seed)
    truth, guess = rng.integers(classes, size=(2, 60))
    expected = CLASS_REFERENCES[name](truth, guess)
    assert compute([name], guess, truth)[name] == pytest.approx(expected, abs=1e-12)


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


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_1_for_the_truth_and_less_for_an_error(name: str) -> None:
    truth = np.array([0, 1, 1, 0]) if METRICS[name].target == "classes" else np.arange(4.0)
    worse = truth[[1, 0, 2, 3]]
    assert compute([name], truth, truth)[name] == pytest.approx(1)
    assert compute([name], worse, truth)[name] < 1


UNDEFINED = [(name, rows) for name in ("matthews", "pearson", "spearman") for rows in (1, 5)]


@pytest.mark.parametrize(("name", "rows"), [*UNDEFINED, ("r2", 1)])
def test_undefined_is_zero_without_a_warning(name: str, rows: int) -> None:
    dtype = int if METRICS[name].target == "classes" else float
    truth = np.arange(rows).astype(dtype)
    assert compute([name], np.ones_like(truth), truth) == {name: 0.0}
    assert compute([name], truth, np.ones_like(truth)) == {name: 0.0}


@pytest.mark.parametrize("name", [n for n in METRICS if METRICS[n].target == "classes"])
def test_one_class_everywhere_gives_no_warning(name: str) -> None:
    zeros = np.zeros(3, dtype=int)
    assert 0 <= compute([name], zeros, zeros)[name] <= 1


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
    for target in ("classes", "number"):
        assert metric_faults(default_metrics(target), target) == []
    assert default_metrics("classes") == ("accuracy",)


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
