"""The metrics of the benchmarks by name, and the score that is their mean.

Every metric here is better when higher, so a mean over several of them is too. scikit-learn and
scipy do the arithmetic; they are imported only when something is scored.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.errors import ConfigError, DataError, HeadstartError, NumericalError, did_you_mean
from headstart.tasks.spec import Target

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Args:
        function: Takes references and predictions, (n,) each, in this order.
        target: The kind of target it measures.
        summary: What it is, in a line.
    """

    function: Callable[[Array, Array], float]
    target: Target
    summary: str


def _accuracy(references: Array, predictions: Array) -> float:
    return float(np.mean(references == predictions))


def _f1(references: Array, predictions: Array) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(references, predictions, labels=[1], average=None, zero_division=0)[0])


def _macro_f1(references: Array, predictions: Array) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(references, predictions, average="macro", zero_division=0))


def _matthews(references: Array, predictions: Array) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(references, predictions))


def _pearson(references: Array, predictions: Array) -> float:
    from scipy.stats import pearsonr

    return float(pearsonr(references, predictions)[0]) if len(references) > 1 else 0.0


def _spearman(references: Array, predictions: Array) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(references, predictions)[0]) if len(references) > 1 else 0.0


def _r2(references: Array, predictions: Array) -> float:
    from sklearn.metrics import r2_score

    return float(r2_score(references, predictions))


METRICS: dict[str, Metric] = {
    "accuracy": Metric(_accuracy, "classes", "share of rows predicted right"),
    "f1": Metric(_f1, "classes", "F1 of the second class (label 1), as in MRPC and QQP"),
    "macro_f1": Metric(_macro_f1, "classes", "mean of the classes' F1; a rare class counts fully"),
    "matthews": Metric(_matthews, "classes", "correlation of classes; 0 for a constant guess"),
    "pearson": Metric(_pearson, "number", "linear correlation"),
    "spearman": Metric(_spearman, "number", "correlation of ranks"),
    "r2": Metric(_r2, "number", "share of the variance explained; below 0 if worse than the mean"),
}


def default_metrics(target: Target) -> tuple[str, ...]:
    """Return the metrics of a task that names none.

    Args:
        target: What the task predicts.

    Returns:
        Accuracy for classes; both correlations for a number, as in STS-B.
    """
    return ("accuracy",) if target == "classes" else ("pearson", "spearman")


def compute(names: Iterable[str], predictions: Array, references: Array) -> dict[str, float]:
    """Compute metrics.

    What is undefined because one side is constant (a correlation, for instance) is 0: such
    predictions say nothing about the rows.

    Args:
        names: Keys of ``METRICS``.
        predictions: Class indices, or numbers in the unit of the references, (n,).
        references: The true ones, (n,).

    Returns:
        Value by name, in the order of ``names``.

    Raises:
        DataError: If there are no rows.
        NumericalError: If a prediction is not a finite number.
    """
    if len(references) == 0:
        raise DataError("at least one row to score", "none", "Check the evaluation rows.")
    if not np.isfinite(predictions).all():
        raise NumericalError(
            "finite predictions", "NaN or infinity", "Lower the learning rate of the last stage."
        )
    return {name: _value(METRICS[name], references, predictions) for name in names}


def score(names: Sequence[str], values: Mapping[str, float]) -> float:
    """Return the mean of several metrics, which is how GLUE and SuperGLUE combine them.

    Args:
        names: Metrics that count, at least one.
        values: What ``compute`` gave, perhaps with more beside.

    Returns:
        Their unweighted mean.
    """
    return sum(values[name] for name in names) / len(names)


def metric_faults(names: Iterable[str], target: Target | None = None) -> list[HeadstartError]:
    """Return what is wrong with a choice of metrics.

    Args:
        names: Metrics that a user asked for.
        target: What the task predicts; ``None`` checks the names alone.

    Returns:
        One error for each metric that is unknown or does not measure this kind of target.
    """
    fitting = [name for name, metric in METRICS.items() if target in (None, metric.target)]
    faults: list[HeadstartError] = []
    for name in names:
        if name not in METRICS:
            fix = did_you_mean(name, fitting)
            faults.append(ConfigError("the name of a metric", repr(name), fix))
        elif name not in fitting:
            measured, fix = METRICS[name].target, f"Use one of: {', '.join(fitting)}."
            faults.append(
                ConfigError(f"metrics for {target}", f"{name!r}, which is for {measured}", fix)
            )
    return faults


def _value(metric: Metric, references: Array, predictions: Array) -> float:
    if metric.target == "number":
        # Sums over many rows in half or single precision would lose digits.
        references, predictions = references.astype(float), predictions.astype(float)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # The libraries warn of constant input; what is reported for it is part of our definition.
        warnings.simplefilter("ignore")
        value = metric.function(references, predictions)
    return value if np.isfinite(value) else 0.0
