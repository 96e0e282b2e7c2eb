"""Metrics of classes and numbers.

scikit-learn and scipy do the arithmetic; they are imported only when something is scored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.tasks._multilabel import counted
from headstart.tasks.calibration import softmax

Array = npt.NDArray[Any]


def accuracy(references: Array, predictions: Array) -> float:
    """Compute the share of rows predicted right, of class indices (n,)."""
    return float(np.mean(references == predictions))


def averaged(name: str, average: str, references: Array, predictions: Array) -> float:
    """Compute precision, recall or F1: of class 1 (``second``), or averaged over the classes.

    ``average`` is ``second``, or what scikit-learn calls an average. Both sides are class indices,
    (n,), or which labels are there, (n, labels).
    """
    if references.ndim == 2:
        return counted(name, average, references, predictions)
    from sklearn import metrics

    function = getattr(metrics, f"{name}_score")
    if average == "second":
        # Not average="binary", which refuses rows that all belong to one class.
        (value,) = function(references, predictions, labels=[1], average=None, zero_division=0)
    else:
        value = function(references, predictions, average=average, zero_division=0)
    return float(value)


def scikit(name: str, references: Array, predictions: Array) -> float:
    """Compute a metric by the function of scikit-learn of a name."""
    from sklearn import metrics

    return float(getattr(metrics, name)(references, predictions))


def one_against_rest(name: str, references: Array, logits: Array) -> float:
    """Rank the rows by the probability of class 1; of three classes or more, of each in turn.

    ``name`` is a function of scikit-learn for two classes, logits are (n, classes). The mean is
    over the classes that some rows belong to and others do not; NaN if none is such.
    """
    from sklearn import metrics

    function, probabilities = getattr(metrics, name), softmax(logits)
    classes = range(logits.shape[1]) if logits.shape[1] > 2 else (1,)
    values = [
        function(own, probabilities[:, c])
        for c in classes
        if (own := references == c).any() and not own.all()
    ]
    return float(np.mean(values)) if values else float("nan")


def top_k(k: int, references: Array, logits: Array) -> float:
    """Compute the share of rows whose class is among the k most probable of (n, classes)."""
    from sklearn.metrics import top_k_accuracy_score

    classes = logits.shape[1]
    if k >= classes:
        return 1.0
    return float(top_k_accuracy_score(references, logits, k=k, labels=range(classes)))


def correlation(name: str, references: Array, predictions: Array) -> float:
    """Compute a correlation of two rows or more by the function of scipy of a name."""
    from scipy import stats

    return float(getattr(stats, name)(references.astype(float), predictions.astype(float))[0])


def error(name: str, references: Array, predictions: Array) -> float:
    """Compute a metric of numbers by the function of scikit-learn of a name."""
    # Sums over many rows in half or single precision would lose digits.
    return scikit(name, references.astype(float), predictions.astype(float))
