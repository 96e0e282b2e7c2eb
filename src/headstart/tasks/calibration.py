"""Calibration of a classifier: measures, reliability diagrams, temperature scaling.

All functions take logits or probabilities of single-label classes, (n, classes); for multiple
choice the candidates are the classes. A number has no probabilities to calibrate.

Guo et al. 2017 (arXiv 1706.04599): dividing all logits by one temperature, fitted on rows that were
not trained on, takes most of the overconfidence away and changes no prediction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from headstart.errors import DataError, NumericalError

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

BINS = 15
"""Bins of a reliability diagram, as in Guo et al."""
LOWEST, HIGHEST = 0.01, 100.0
"""Between these a temperature is looked for."""
TOLERANCE = 1e-6
"""How near the logarithm of the temperature comes to the best one."""

Bound = Literal["", "lowest", "highest"]


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature.

    Args:
        value: What logits are to be divided by.
        bound: ``lowest`` or ``highest`` where no temperature between the bounds is best: the rows
            then do not determine it, and ``value`` is that bound. Empty otherwise.
    """

    value: float
    bound: Bound = ""

    @property
    def reason(self) -> str:
        """Why it is at a bound, in words; empty if it is not."""
        return {
            "": "",
            "lowest": "every row is predicted right, or nearly, and the more certain the better",
            "highest": "the logits say no more of these rows than equal probabilities would",
        }[self.bound]


@dataclass(frozen=True)
class Reliability:
    """The data of a reliability diagram; rows belong to bins by their confidence.

    Args:
        count: Rows in each bin, (bins,).
        confidence: Their mean confidence, the probability of the predicted class, (bins,); NaN in
            a bin without rows.
        accuracy: Share of them predicted right, (bins,); NaN in a bin without rows.
    """

    count: npt.NDArray[np.int64]
    confidence: Floats
    accuracy: Floats

    @property
    def ece(self) -> float:
        """The expected calibration error of these bins: Σ (count / n) |accuracy - confidence|."""
        gaps = self.count * np.abs(self.accuracy - self.confidence)
        return float(np.nansum(gaps) / self.count.sum())


def softmax(logits: Array) -> Floats:
    """Turn logits, (n, classes), into probabilities, rows of which add up to 1."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def log_loss(logits: Array, labels: Array) -> float:
    """Compute the mean negative log probability of the true classes, in nats.

    It is taken from the logits, so that no probability is rounded to 0 or clipped. Logits are (n,
    classes), labels true class indices, (n,). 0 is certainty that is right, log(classes) equal
    probabilities. Raises ``DataError`` if the rows cannot be judged, and ``NumericalError`` if a
    logit is not a finite number.
    """
    return float(_log_loss(*_checked(logits, labels)))


def brier_score(probabilities: Array, labels: Array) -> float:
    """Compute the Brier score in its form for any number of classes (Brier 1950).

    The mean over rows of Σ over classes (probability - 1 for the true class, 0 for another)². With
    two classes it is twice the mean squared error of the second class' probability. Probabilities
    are (n, classes), labels true class indices, (n,). 0 is certainty that is right, 2 certainty
    that is wrong. Raises ``DataError`` if the rows cannot be judged, and ``NumericalError`` if a
    probability is not a finite number.
    """
    given, truth = _checked(probabilities, labels)
    errors = given.copy()
    errors[np.arange(len(truth)), truth] -= 1
    return float((errors**2).sum(axis=1).mean())


def reliability(probabilities: Array, labels: Array, bins: int = BINS) -> Reliability:
    """Put rows into bins by the probability of the class that is predicted.

    Probabilities are (n, classes), labels true class indices, (n,). Bin m holds confidences in ((m
    - 1) / bins, m / bins], as in Guo et al. 2017 (arXiv 1706.04599). Raises ``DataError`` if the
    rows cannot be judged, and ``NumericalError`` if a probability is not a finite number.
    """
    given, truth = _checked(probabilities, labels)
    confidence = given.max(axis=1)
    right = (given.argmax(axis=1) == truth).astype(float)
    # Multiplied out, so that m / bins itself belongs to bin m whatever its rounding.
    bin_of = np.clip(np.ceil(np.round(confidence * bins, 9)).astype(int) - 1, 0, bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = (np.bincount(bin_of, v, minlength=bins) / count for v in (confidence, right))
        return Reliability(count, *means)


def measure(logits: Array, labels: Array) -> dict[str, float]:
    """Judge the probabilities of a classifier.

    Logits are (n, classes), labels true class indices, (n,). ``log_loss``, ``brier`` and ``ece``
    (15 bins of equal width) are all better when lower; the first two also reward telling classes
    apart, the last is about calibration alone. Raises ``DataError`` if the rows cannot be judged,
    and ``NumericalError`` if a logit is not a finite number.
    """
    checked, truth = _checked(logits, labels)
    probabilities = softmax(checked)
    return {
        "log_loss": float(_log_loss(checked, truth)),
        "brier": brier_score(probabilities, truth),
        "ece": reliability(probabilities, truth).ece,
    }


def fit_temperature(logits: Array, labels: Array) -> Temperature:
    """Find the temperature whose division of the logits gives the lowest log loss.

    The log loss has a single minimum along the temperature; its logarithm is searched by Brent's
    method. Logits are of rows that were not trained on, (n, classes), labels their true class
    indices, (n,). Raises ``DataError`` if the rows cannot be judged, or are all of one class, and
    ``NumericalError`` if a logit is not a finite number.
    """
    given, truth = _checked(logits, labels)
    if (truth == truth[0]).all():
        raise DataError(
            "rows of two classes or more to fit a temperature on",
            f"class {truth[0]} in every row",
            "Hold out rows of all classes.",
        )
    return _fitted(given, truth)


def cross_fitted(logits: Array, labels: Array, seed: int) -> Floats:
    """Divide each row's logits by a temperature that was fitted without it.

    The rows are parted in two halves, alike in their classes, and each half is divided by the
    temperature of the other; so rows that fit a temperature can also judge what fitting one does. A
    half that does not determine a temperature leaves the other as it is. Logits are (n, classes),
    labels true class indices, (n,); the seed draws the halves. Raises ``DataError`` if there are
    fewer than two rows, or they cannot be judged, and ``NumericalError`` if a logit is not a finite
    number.
    """
    given, truth = _checked(logits, labels)
    if len(truth) < 2:
        raise DataError("at least two rows to part in halves", "one", "Give more rows.")
    order = np.lexsort((np.random.default_rng(seed).random(len(truth)), truth))
    half = np.empty(len(truth), int)
    half[order] = np.arange(len(truth)) % 2
    divided = given.copy()
    for own, other in ((half == 0, half == 1), (half == 1, half == 0)):
        fitted = _fitted(given[other], truth[other])
        divided[own] /= 1.0 if fitted.bound else fitted.value
    return divided


def _fitted(given: Floats, truth: Array) -> Temperature:
    from scipy.optimize import minimize_scalar

    own = given[np.arange(len(truth)), truth]
    # The slopes of the loss along 1 / temperature, at its two ends, decide whether there is a
    # minimum between them; the numbers themselves would be flat there.
    if (given.max(axis=1) == own).all():
        return Temperature(LOWEST, "lowest")
    if (own - given.mean(axis=1)).mean() <= 0:
        return Temperature(HIGHEST, "highest")
    bounds = (float(np.log(LOWEST)), float(np.log(HIGHEST)))
    found = minimize_scalar(
        lambda log_t: _log_loss(given / np.exp(log_t), truth),
        bounds=bounds,
        method="bounded",
        options={"xatol": TOLERANCE},
    )
    low, high = (abs(found.x - bound) < 100 * TOLERANCE for bound in bounds)
    if low or high:
        return Temperature(LOWEST, "lowest") if low else Temperature(HIGHEST, "highest")
    return Temperature(float(np.exp(found.x)))


def _log_loss(logits: Floats, labels: Array) -> float:
    from scipy.special import log_softmax

    return float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())


def _checked(values: Array, labels: Array) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return logits or probabilities, and class indices, that can be computed with."""
    values, labels = np.asarray(values), np.asarray(labels)
    if labels.dtype.kind == "f":
        raise DataError(
            "labels that are class indices",
            "numbers with decimals",
            "A number has no probabilities to calibrate; its errors are judged by pearson or r2.",
        )
    if len(labels) == 0:
        raise DataError("at least one row to judge", "none", "Check the held-out rows.")
    if values.ndim != 2 or values.shape[0] != len(labels) or values.shape[1] < 2:
        raise DataError(
            f"a row of two classes or more for each of {len(labels)} labels",
            f"an array of shape {values.shape}",
            "Give logits or probabilities of shape (rows, classes).",
        )
    if labels.min() < 0 or labels.max() >= values.shape[1]:
        raise DataError(
            f"class indices from 0 to {values.shape[1] - 1}",
            f"{labels.min()} to {labels.max()}",
            "Number the classes in the order of the columns.",
        )
    if not np.isfinite(values).all():
        raise NumericalError(
            "finite logits or probabilities",
            "NaN or infinity",
            "Lower the learning rate of the last stage.",
        )
    return values.astype(np.float64), labels.astype(np.int64)
