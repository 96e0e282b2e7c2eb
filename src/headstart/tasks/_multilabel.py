"""Metrics of several labels a row, as scikit-learn defines them."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


def samples_f1(references: Array, predictions: Array) -> float:
    """Compute the mean F1 of the rows' labels, (n, labels).

    A row without labels counts 1 if none is predicted.
    """
    from sklearn.metrics import f1_score

    return float(f1_score(references, predictions, average="samples", zero_division=1.0))


def mean_average_precision(references: Array, logits: Array) -> float:
    """Average the areas under precision and recall, of (n, labels), over the labels.

    Those count that some row has; NaN if there is none.
    """
    from sklearn.metrics import average_precision_score

    there = references.any(axis=0)
    if not there.any():
        return float("nan")
    return float(average_precision_score(references[:, there], logits[:, there], average="macro"))
