"""Any number of labels for each row (multi-label classification)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.special import entr, expit
from torch.nn import functional

from headstart.data._faults import some
from headstart.data.checks import FEW
from headstart.data.labels import LabelMap, Labels, in_order, index_aliases
from headstart.data.rows import Rows
from headstart.data.tables.classnames import case_aliases, item_names
from headstart.errors import DataError
from headstart.models.checkpoints.model_config import THRESHOLD
from headstart.targets._adjusted import correlations, exact, moments, no_better
from headstart.targets._answers import Answers
from headstart.targets._base import Floats, Mask, Scores, TargetKind
from headstart.targets._label_lists import (
    holds_lists,
    missing_lists,
    read_lists,
    require_joined,
    to_matrix,
)
from headstart.tasks.spec import TaskSpec
from headstart.untrusted import quoted, shown

MOST_SHOWN, RAREST_SHOWN = 15, 5
"""Of many labels, the frequent and the rare ones that the plan shows."""


@dataclass(frozen=True)
class MultiLabel(TargetKind):
    """Labels that are there or not, each by itself: a mask of them for each row, (n, labels).

    Args:
        names: Labels in the order of the logits.
        threshold: Probability above which a label is predicted.
    """

    name = "multilabel"
    problem_type = "multi_label_classification"
    tag = "multi-label-classification"

    threshold: float = 0.5

    @classmethod
    def recognises(cls, frame: pd.DataFrame, task: TaskSpec, *, where: str) -> bool:  # noqa: ARG003
        """Recognise a column of lists; see ``TargetKind.recognises``."""
        return holds_lists(frame, task.label)

    @classmethod
    def declared(cls, frame: pd.DataFrame, task: TaskSpec) -> TaskSpec:
        """Take the names of ``datasets``, so that rows without them may use its numbers."""
        return replace(task, labels=task.labels or item_names(frame, task.label))

    @classmethod
    def learn(cls, frame: pd.DataFrame, task: TaskSpec, *, where: str) -> Self:
        """Take the labels that are declared, else those of the rows; see ``TargetKind.learn``."""
        require_joined(frame, task, where)
        if declared := task.labels or task.label_columns:
            return cls(LabelMap(declared).names)
        rows = read_lists(frame, task, where=where)
        names = in_order({name for row in rows for name in row})
        if not names:
            raise DataError(
                f"labels in {where}",
                f"an empty list in each of {len(rows)} rows",
                "Check the label column.",
            )
        if len(names) < 2:
            raise DataError(
                "two labels or more",
                f"only {quoted(names[0])} in {len(rows)} rows of {where}",
                "Whether one label is there or not are two classes: use --target classes.",
            )
        return cls(LabelMap(names).names)

    @classmethod
    def of_model(cls, names: tuple[str, ...], config: Any) -> Self:
        """Take names and threshold of a saved model; see ``TargetKind.of_model``."""
        found = getattr(config, THRESHOLD, None)
        return cls(names, found) if isinstance(found, float) and 0 < found < 1 else cls(names)

    @classmethod
    def unlabelled(
        cls,
        frame: pd.DataFrame,
        task: TaskSpec,
        names: tuple[str, ...] | None,  # noqa: ARG003
        *,
        where: str,  # noqa: ARG003
    ) -> Mask:
        """Find empty cells; an empty list is no empty cell. See ``TargetKind.unlabelled``."""
        return missing_lists(frame, task)

    def read(self, frame: pd.DataFrame, task: TaskSpec, *, where: str) -> Labels:
        """Read a mask of the labels, (n, labels); see ``TargetKind.read``."""
        aliases = case_aliases(self.names, item_names(frame, task.label) or ())
        if task.labels is not None or LabelMap(self.names).numbered:
            aliases |= {
                name: place
                for name, place in index_aliases(self.names).items()
                if name not in ("True", "False")
            }
        return to_matrix(read_lists(frame, task, where=where), self.names, aliases, where=where)

    def strata(self, labels: Labels) -> npt.NDArray[np.int64]:
        """Group rows by the rarest of their labels; those without one are a group too."""
        groups = np.full(len(labels), self.outputs, np.int64)
        for label in np.argsort(-labels.sum(axis=0), kind="stable"):
            groups[labels[:, label]] = label
        return groups

    def check(self, train: Labels, held_out: Labels) -> list[str]:
        """Check that rows differ in their labels, and warn of rare ones; see ``TargetKind.check``.

        Raises ``DataError`` if all training rows have the same labels.
        """
        if (train == train[0]).all():
            here = some(map(quoted, np.array(self.names, object)[train[0]])) or "none"
            raise DataError(
                "training rows that differ in their labels",
                f"the same in each of {len(train)} rows: {here}",
                "Check the label column.",
            )
        counts = dict(zip(self.names, train.sum(axis=0).tolist(), strict=True))
        absent = [quoted(name) for name, count in counts.items() if not count]
        rare = [f"{quoted(name)} ({n})" for name, n in counts.items() if 0 < n < FEW]
        unseen = [
            quoted(name)
            for name, there in zip(self.names, (held_out.sum(axis=0) > 0).tolist(), strict=True)
            if counts[name] and not there
        ]
        bare = int((~train.any(axis=1)).sum())
        told = (
            (bare, f"{bare:,} of {len(train):,} training rows have no label (an empty list)."),
            (absent, f"No training row has the label {some(absent)}, so it cannot be learned."),
            (rare, f"Labels in fewer than {FEW} training rows are hard to learn: {some(rare)}."),
            (unseen, f"No validation row has the label {some(unseen)}; no score tells of it."),
        )
        return [sentence for found, sentence in told if found]

    def describe(self, labels: Labels) -> dict[str, str]:
        """Say how often each label occurs, and labels a row; see ``TargetKind.describe``."""
        each, counts = labels.sum(axis=1), labels.sum(axis=0)
        order = np.argsort(-counts, kind="stable").tolist()
        told = [
            f"{shown(self.names[i])} {counts[i]:,} ({counts[i] / len(labels):.0%})" for i in order
        ]
        if len(told) > MOST_SHOWN + RAREST_SHOWN:
            told = [*told[:MOST_SHOWN], "…", *told[-RAREST_SHOWN:]]
        return {
            "labels": f"{self.outputs:,}, a row has {each.mean():.2g} on average, "
            f"{each.min()} to {each.max()}",
            "rows with a label": ", ".join(told),
        }

    def row_losses(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Compute the binary cross-entropy, the mean over the labels; see ``TargetKind``."""
        losses = functional.binary_cross_entropy_with_logits(
            logits.float(), labels.float(), reduction="none"
        )
        return losses.mean(dim=1)

    def chance_loss(self, labels: Labels) -> float:
        """Return the mean entropy of the labels in nats; see ``TargetKind.chance_loss``."""
        shares = labels.mean(axis=0)
        return float((entr(shares) + entr(1 - shares)).mean())

    def adjusted_sums(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Sum up for a correlation of each label, (labels, 6)."""
        guess = exact(logits).sigmoid()
        return moments(guess, labels.to(guess.dtype))

    def adjusted_score(self, sums: Scores) -> float:
        """Return the mean correlation of label and probability, over the labels that occur.

        It needs no threshold: early in training no rare label comes near one.
        """
        found = correlations(sums)
        known = found[~np.isnan(found)]
        return float(known.mean()) if len(known) else 0.0

    def predict(self, logits: Floats) -> Labels:
        """Return which labels are above the threshold; see ``TargetKind.predict``."""
        found: Labels = logits > math.log(self.threshold / (1 - self.threshold))
        return found

    def answers(self, logits: Floats, rows: Rows | None = None) -> Answers:  # noqa: ARG002
        """Return lists of names, and each label's own probability; see ``TargetKind.answers``."""
        names, values = np.array(self.names, object), np.empty(len(logits), object)
        for place, row in enumerate(self.predict(logits)):
            values[place] = names[row].tolist()
        chances = expit(logits.astype(np.float64)).T
        return Answers(values, dict(zip(self.names, chances, strict=True)))

    def thresholds(self) -> dict[float, Self]:
        """Offer thresholds from 0.05 to 0.95; see ``TargetKind.thresholds``."""
        tried = (round(0.05 * n, 2) for n in range(1, 20))
        return {threshold: replace(self, threshold=threshold) for threshold in tried}

    def row_scores(self, logits: Floats, labels: Labels) -> Scores:
        """Return each row's F1, 1 where no label is there and none predicted."""
        guesses = self.predict(logits)
        right = (guesses & labels).sum(axis=1)
        size = guesses.sum(axis=1) + labels.sum(axis=1)
        return np.where(size == 0, 1.0, 2 * right / np.maximum(size, 1))

    def collapsed(self, logits: Floats, labels: Labels) -> str:
        """Say whether every row gets the same labels, or no better than by chance."""
        guesses = self.predict(logits)
        if (guesses == guesses[0]).all() and not (labels == labels[0]).all():
            which = some(map(quoted, np.array(self.names, object)[guesses[0]]))
            if which:
                return f"The model predicts the same labels for every row: {which}."
            return (
                "The model predicts no label for any row: no probability is above "
                f"{self.threshold:g}. Train longer, or choose the threshold by --tune-threshold."
            )
        return no_better(self, logits, labels)


TARGET = MultiLabel
