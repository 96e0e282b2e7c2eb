"""The metrics by name, and the score that is their mean.

scikit-learn and scipy do the arithmetic; they are imported only when something is scored. Names are
accepted as scikit-learn spells them, too, and in any case: ``f1_macro``, ``neg_log_loss``,
``ROC AUC``.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from headstart.errors import ConfigError, DataError, HeadstartError, NumericalError, did_you_mean
from headstart.tasks._functions import (
    accuracy,
    averaged,
    correlation,
    error,
    one_against_rest,
    scikit,
    top_k,
)
from headstart.tasks._multilabel import (
    mean_average_precision,
    samples_f1,
)
from headstart.tasks._tags import entity_f1, entity_precision, entity_recall
from headstart.tasks.calibration import brier_score, log_loss, softmax
from headstart.tasks.spec import Target
from headstart.untrusted import shown

Array = npt.NDArray[Any]
CLASSES: tuple[Target, ...] = ("classes",)
MULTILABEL: tuple[Target, ...] = ("multilabel",)
NUMBER: tuple[Target, ...] = ("number",)
TAGS: tuple[Target, ...] = ("tags",)
EACH: tuple[Target, ...] = (*CLASSES, *TAGS)
BOTH = (*CLASSES, *MULTILABEL, *TAGS)


@dataclass(frozen=True)
class Metric:
    """One metric.

    Args:
        function: Takes references and what it ``reads``, in this order.
        targets: The kinds of target it measures.
        summary: What it is, in a line.
        reads: ``predictions``, in the form of the references; ``logits``, (n, outputs); or the
            ``tags`` of each row by their names, which the references are then too.
        lower_is_better: Whether it measures an error, which a score counts as negative.
        defined: Whether references define it; there are some.
        fewest: Classes that it needs.
        most: Classes that it can be used for; ``None`` for any number.
    """

    function: Callable[[Array, Array], float]
    targets: tuple[Target, ...]
    summary: str
    reads: Literal["predictions", "logits", "tags"] = "predictions"
    lower_is_better: bool = False
    defined: Callable[[Array], bool] = lambda _: True
    fewest: int = 2
    most: int | None = None


def _differ(references: Array) -> bool:
    return bool((references != references[0]).any())


def _of_classes(name: str, what: str) -> dict[str, Metric]:
    """Return precision, recall or F1 in its four forms."""
    second = f"{what} of the second class (label 1)" + (", as in MRPC and QQP" * (name == "f1"))
    forms = {
        "macro": f"mean of the classes' {what}; a rare class counts fully",
        "micro": f"{what} over all rows together; equals accuracy where a row has one class",
        "weighted": f"mean of the classes' {what}, weighted by their rows",
    }
    plural = {"precision": "precisions", "recall": "recalls"}.get(name, what)
    return {
        name: Metric(partial(averaged, name, "second"), CLASSES, second, most=2),
        **{
            f"{form}_{name}": Metric(
                partial(averaged, name, form), BOTH, told.replace(f"' {what}", f"' {plural}")
            )
            for form, told in forms.items()
        },
    }


METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy, EACH, "share of rows (of words, for tags) predicted right"),
    "balanced_accuracy": Metric(
        partial(scikit, "balanced_accuracy_score"),
        EACH,
        "mean over the classes in the rows of the share predicted right",
    ),
    **_of_classes("f1", "F1"),
    **_of_classes("precision", "precision"),
    **_of_classes("recall", "recall"),
    "matthews": Metric(
        partial(scikit, "matthews_corrcoef"),
        CLASSES,
        "correlation; 0 for a constant guess",
        defined=_differ,
    ),
    "cohen_kappa": Metric(
        partial(scikit, "cohen_kappa_score"),
        CLASSES,
        "agreement beyond chance; 0 for a guess",
        defined=_differ,
    ),
    "roc_auc": Metric(
        partial(one_against_rest, "roc_auc_score"),
        CLASSES,
        "area under the ROC curve of the second class; of more than two classes the mean of each "
        "against the rest; 0.5 by chance",
        "logits",
        defined=_differ,
    ),
    "average_precision": Metric(
        partial(one_against_rest, "average_precision_score"),
        CLASSES,
        "area under the curve of precision and recall, of the second class or as a mean, as for "
        "`roc_auc`",
        "logits",
        defined=_differ,
    ),
    **{
        f"top_{k}_accuracy": Metric(
            partial(top_k, k),
            CLASSES,
            f"share of rows whose class is among the {k} most probable",
            "logits",
            fewest=k + 1,
        )
        for k in (2, 3, 5, 10)
    },
    "log_loss": Metric(
        lambda y, logits: log_loss(logits, y),
        CLASSES,
        "mean of -log(p) of the true class",
        "logits",
        True,
    ),
    "brier": Metric(
        lambda y, logits: brier_score(softmax(logits), y),
        CLASSES,
        "squared error of the probabilities, summed over the classes: 0 to 2 (with two classes "
        "twice scikit-learn's)",
        "logits",
        True,
    ),
    "pearson": Metric(
        partial(correlation, "pearsonr"),
        NUMBER,
        "linear correlation; 0 for a constant guess",
        defined=_differ,
    ),
    "spearman": Metric(
        partial(correlation, "spearmanr"),
        NUMBER,
        "correlation of ranks; 0 for a constant guess",
        defined=_differ,
    ),
    "r2": Metric(
        partial(error, "r2_score"),
        NUMBER,
        "share of the variance explained; below 0 if worse than the mean",
        defined=_differ,
    ),
    "mae": Metric(
        partial(error, "mean_absolute_error"),
        NUMBER,
        "mean absolute error, in the labels' unit",
        lower_is_better=True,
    ),
    "mse": Metric(
        partial(error, "mean_squared_error"), NUMBER, "mean squared error", lower_is_better=True
    ),
    "rmse": Metric(
        partial(error, "root_mean_squared_error"),
        NUMBER,
        "root of the mean squared error, in the labels' unit",
        lower_is_better=True,
    ),
    "entity_f1": Metric(
        entity_f1,
        TAGS,
        "F1 of the entities that tags mark, of words and type both right (CoNLL, seqeval)",
        "tags",
    ),
    "entity_precision": Metric(
        entity_precision, TAGS, "share of the predicted entities that are right", "tags"
    ),
    "entity_recall": Metric(entity_recall, TAGS, "share of the true entities found", "tags"),
    "samples_f1": Metric(samples_f1, MULTILABEL, "mean of the rows' F1 of their labels"),
    "mean_average_precision": Metric(
        mean_average_precision,
        MULTILABEL,
        "mean over the labels of the area under the curve of precision and recall (mAP)",
        "logits",
        defined=lambda references: bool(references.any()),
    ),
    "subset_accuracy": Metric(
        partial(scikit, "accuracy_score"), MULTILABEL, "share of rows of which all labels are right"
    ),
    "hamming_loss": Metric(
        partial(scikit, "hamming_loss"),
        MULTILABEL,
        "share of wrong entries of the table of rows and labels",
        lower_is_better=True,
    ),
    "ranking_loss": Metric(
        partial(scikit, "label_ranking_loss"),
        MULTILABEL,
        "share of pairs of a row's label and another in the wrong order",
        "logits",
        lower_is_better=True,
    ),
}


ALIASES = {
    **{
        f"{name}_{form}": f"{form}_{name}"
        for name in ("f1", "precision", "recall")
        for form in ("macro", "micro", "weighted")
    },
    "map": "mean_average_precision", "label_ranking_loss": "ranking_loss",
    "exact_match": "subset_accuracy", "exact_match_ratio": "subset_accuracy",
    "f1_samples": "samples_f1", "acc": "accuracy",
    "ap": "average_precision", "auc": "roc_auc", "auroc": "roc_auc", "roc_auc_ovr": "roc_auc",
    "top_k_accuracy": "top_2_accuracy", "brier_score": "brier", "brier_score_loss": "brier",
    "kappa": "cohen_kappa", "mcc": "matthews", "matthews_corrcoef": "matthews",
    "matthews_correlation": "matthews", "pearsonr": "pearson", "spearmanr": "spearman",
    "mean_absolute_error": "mae", "mean_squared_error": "mse", "root_mean_squared_error": "rmse",
}  # fmt: skip
"""Other names, mostly scikit-learn's; ``neg_`` may stand before and ``_score`` behind."""


def canonical_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return metrics by their own names, each once; a name that is unknown stays as it is."""
    return tuple(dict.fromkeys(map(_canonical, names)))


def _canonical(name: str) -> str:
    # scikit-learn's neg_log_loss is a score; a metric here is the loss, and the score negates it.
    plain = re.sub(r"[^a-z0-9]+", "_", str(name).lower()).strip("_").removeprefix("neg_")
    for spelling in (plain, plain.removesuffix("_score")):
        found = ALIASES.get(spelling, spelling)
        if found in METRICS:
            return found
    return name


DEFAULTS: dict[Target, tuple[str, ...]] = {
    "classes": ("accuracy",),
    "multilabel": ("micro_f1", "macro_f1"),
    "number": ("pearson", "spearman"),
    "tags": ("entity_f1",),
}
"""The metrics of a task that names none, by its target; for numbers as in STS-B."""


def compute(
    names: Iterable[str],
    predictions: Array,
    references: Array,
    logits: Array | None = None,
    tags: tuple[Array, Array] | None = None,
) -> dict[str, float]:
    """Compute metrics.

    What the references do not define (a correlation, where they are all equal) is NaN. What
    predictions leave undefined, being all equal, is 0: they say nothing about the rows.

    Args:
        names: Keys of ``METRICS``.
        predictions: Class indices, masks of labels, or numbers in the unit of the references.
        references: The true ones, in the same form.
        logits: What the predictions come from, (n, outputs); only metrics of probabilities need it.
        tags: The true and the predicted tags of each row by their names, (rows,) each; only metrics
            of entities need them.

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
    given = {
        "predictions": (references, predictions), "logits": (references, logits),
        "tags": tags or (references, None),
    }  # fmt: skip
    return {name: _value(METRICS[name], *given[METRICS[name].reads]) for name in names}


def undefined(names: Iterable[str], references: Array) -> str:
    """Write ``pearson undefined, as all labels are equal``; nothing if references define all."""
    found = [name for name in names if not METRICS[name].defined(references)]
    if not found:
        return ""
    one = "all labels are equal" if len(references) > 1 else "there is only one"
    why = one if references.ndim == 1 else "none has a label"
    return f"{' and '.join(found)} undefined, as {why}"


def score(names: Sequence[str], values: Mapping[str, float]) -> float:
    """Return the mean of several metrics, which is how GLUE and SuperGLUE combine them.

    It is unweighted, errors counted as negative, so that higher is always better; NaN if one of
    them is undefined. ``values`` may hold more than is named.
    """
    signed = (-values[n] if METRICS[n].lower_is_better else values[n] for n in names)
    return sum(signed) / len(names)


def score_name(names: Sequence[str]) -> str:
    """Write what a score is the mean of.

    For example ``accuracy + macro_f1``, or ``-log_loss``: errors count as negative.
    """
    signs = ("-" if n in METRICS and METRICS[n].lower_is_better else "" for n in names)
    return " + ".join(f"{sign}{name}" for sign, name in zip(signs, names, strict=True))


def is_share(names: Sequence[str]) -> bool:
    """Return whether a score can be given in percent.

    None of its metrics is then an error, which has a unit or no upper bound.
    """
    return not any(n in METRICS and METRICS[n].lower_is_better for n in names)


def class_faults(names: Iterable[str], classes: Sequence[str]) -> list[HeadstartError]:
    """Return an error for each metric that needs fewer or more classes."""
    some = [*map(shown, classes[:5]), *(["…"] if len(classes) > 5 else [])]
    found = f"{len(classes)}: {', '.join(some)}"
    faults: list[HeadstartError] = []
    for name in names:
        metric = METRICS[name]
        if metric.most is not None and len(classes) > metric.most:
            wanted = f"two classes for the metric {name}, which is that of the second"
            faults.append(ConfigError(wanted, found, f"Use --metrics macro_{name}, their mean."))
        elif len(classes) < metric.fewest:
            few = f"{metric.fewest} classes or more for the metric {name}"
            faults.append(ConfigError(few, found, "With fewer it is always 1."))
    return faults


def metric_faults(names: Iterable[str], target: Target | None = None) -> list[HeadstartError]:
    """Return an error for each metric that is unknown or does not measure this kind of target.

    ``None`` checks the names alone.
    """
    fitting = [name for name, m in METRICS.items() if target is None or target in m.targets]
    faults: list[HeadstartError] = []
    for name in names:
        if name not in METRICS:
            fix = did_you_mean(name, fitting)
            faults.append(ConfigError("the name of a metric", repr(name), fix))
        elif name not in fitting:
            measured, fix = (
                " and ".join(METRICS[name].targets),
                f"Use one of: {', '.join(fitting)}.",
            )
            faults.append(
                ConfigError(f"metrics for {target}", f"{name!r}, which is for {measured}", fix)
            )
    return faults


def _value(metric: Metric, references: Array, predictions: Array | None) -> float:
    if predictions is None:
        raise RuntimeError("metrics of probabilities and of entities need what they read")
    if not metric.defined(references):
        return math.nan
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # The libraries warn of constant input; what is reported for it is part of our definition.
        warnings.simplefilter("ignore")
        value = metric.function(references, predictions)
    # An error too large for a number is not to pass for the smallest one.
    return value if np.isfinite(value) or metric.lower_is_better else 0.0
