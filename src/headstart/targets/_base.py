"""The contract of every kind of target: from the label column to the prediction.

::

    recognises, learn        which labels there are, from the training rows
    read                     the labels of a table
    check, describe          what a user should know of them before training
    fit, standardise         to the units of training and, in save_units, back
    row_losses, chance_loss  what is minimised, and what a constant guess would give
    adjusted_sums, adjusted_score
                             how far above chance some rows are predicted
    predict, answers         logits to predictions, and to columns for the user
    flat, tags               labels of words: as the logits have them, as sequences
    row_scores, p_better     whether one model is better than another on the same rows

``Labels`` are always an array with one entry, or one row, for each row of the table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from headstart.data.labels import Labels
from headstart.data.rows import Rows
from headstart.models.backbone import SplitModel
from headstart.models.head_choice import ProblemType
from headstart.targets._answers import Answers
from headstart.tasks.spec import InputShape, Target, TaskSpec

Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TargetKind(ABC):
    """A kind of target, fitted to the training rows of a task, or read from a saved model.

    ``frame`` are rows, the training rows where the kind is not known yet; ``task`` says which
    column holds the label; ``where`` says which rows, for messages.

    Args:
        names: Labels in the order of the logits; empty for a number.
    """

    name: ClassVar[Target]
    """As the task and ``--target`` call it."""
    problem_type: ClassVar[ProblemType]
    """As transformers calls it in a model's config."""
    tag: ClassVar[str]
    """What the model card calls it."""
    calibrates: ClassVar[bool] = False
    """Whether ``probability_errors`` has a meaning, and a temperature can be fitted."""

    strengths: ClassVar[tuple[float, ...]] = (3.0, 10.0, 100.0, 1e3, 1e4)
    """C of the penalties that a head's optimum is tried with, from strong to weak, as scikit-learn
    defines it, for inputs whose mean squared norm is 1. The second is taken where no rows can be
    held out. Stronger ones would leave little but the biases, which is the most frequent class
    whatever the row, where classes are not quite even.
    """
    shape: ClassVar[InputShape | None] = None
    """The only kind of input whose rows have such labels; ``None`` for any but those of others."""

    names: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        """Logits of a row."""
        return max(1, len(self.names))

    # Labels of a table

    @classmethod
    @abstractmethod
    def recognises(cls, frame: pd.DataFrame, task: TaskSpec, *, where: str) -> bool:
        """Tell whether labels whose kind is not said are of this kind.

        Raises ``DataError`` if they may be of several kinds. Raises ``DataError`` if they may be of
        several kinds.
        """

    @classmethod
    def declared(cls, frame: pd.DataFrame, task: TaskSpec) -> TaskSpec:  # noqa: ARG003
        """Return the task with label names that the source of the rows declares."""
        return task

    @classmethod
    @abstractmethod
    def learn(cls, frame: pd.DataFrame, task: TaskSpec, *, where: str) -> Self:
        """Learn which labels there are, perhaps in the order that the task names them.

        Raises ``DataError`` if there is nothing to learn.
        """

    @classmethod
    @abstractmethod
    def of_model(cls, names: tuple[str, ...], config: Any) -> Self:
        """Make the kind of a saved model, in the units of the user."""

    @classmethod
    @abstractmethod
    def unlabelled(
        cls, frame: pd.DataFrame, task: TaskSpec, names: tuple[str, ...] | None, *, where: str
    ) -> Mask:
        """Return a mask, (n,), of the rows without label; ``names`` are the labels where known."""

    @abstractmethod
    def read(self, frame: pd.DataFrame, task: TaskSpec, *, where: str) -> Labels:
        """Read the labels of a table, in the units of the user.

        Raises ``HeadstartError`` if labels are missing, unknown or of another kind.
        """

    def flat(self, labels: Labels) -> Labels:
        """Return labels as the logits have them: those of words of all rows end to end."""
        return labels

    def tags(self, guesses: Labels, labels: Labels) -> tuple[Labels, Labels] | None:  # noqa: ARG002
        """Return the true and the predicted tags of each row by name, where labels are such."""
        return None

    @abstractmethod
    def strata(self, labels: Labels) -> npt.NDArray[np.int64]:
        """Return a group for each row, (n,), so that parts of the rows can be drawn alike."""

    @abstractmethod
    def check(self, train: Labels, held_out: Labels) -> list[str]:
        """Check that there is something to learn, and warn of labels that cannot be learned.

        Warnings are sentences. Raises ``DataError`` if there is nothing to learn.
        """

    @abstractmethod
    def describe(self, labels: Labels) -> dict[str, str]:
        """Describe the labels for the plan."""

    # Units of training

    def fit(self, labels: Labels) -> Self:  # noqa: ARG002
        """Measure what ``standardise`` needs."""
        return self

    def standardise(self, labels: Labels) -> Labels:
        """Bring labels into the units of training."""
        return labels

    def restore(self, labels: Labels) -> Labels:
        """Bring labels in the units of training back into those of the user."""
        return labels

    def load_units(self, split: SplitModel) -> None:  # noqa: B027
        """Bring a head that was given from the units of the user into those of training."""

    def save_units(self, split: SplitModel) -> None:  # noqa: B027
        """Bring the head from the units of training into those of the user."""

    def users_loss(self, loss: float) -> float:
        """Bring a mean loss in the units of training into those of the user."""
        return loss

    def statistics(self) -> dict[str, float]:
        """Return mean and standard deviation of the labels, 0 and 1 where they have none."""
        return {"number_mean": 0.0, "number_scale": 1.0}

    # Training

    @abstractmethod
    def row_losses(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Compute each row's loss, (b,), in fp32, from logits, (b, outputs), and labels.

        These are in the units of training, (b,) or (b, outputs).
        """

    @abstractmethod
    def chance_loss(self, labels: Labels) -> float:
        """Compute the mean loss of the best guess that ignores the input."""

    @abstractmethod
    def adjusted_sums(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return what ``adjusted_score`` needs to know of some rows; the sums of more rows add up.

        Logits are (n, outputs), labels (n,) or (n, outputs); the sums have two dimensions, in fp64
        where the device has it.
        """

    @abstractmethod
    def adjusted_score(self, sums: Scores) -> float:
        """Return how far above chance rows are predicted, from finite ``adjusted_sums``.

        0 for chance, 1 for perfect; 0 where the rows say nothing.
        """

    def class_counts(self, labels: Labels) -> list[int]:  # noqa: ARG002
        """Count the rows of each class, for techniques that weigh them; empty without classes."""
        return []

    # Predictions

    @abstractmethod
    def predict(self, logits: Floats) -> Labels:
        """Return each row's prediction from logits, (n, outputs), in form and units of ``read``."""

    @abstractmethod
    def answers(self, logits: Floats, rows: Rows | None = None) -> Answers:
        """Return predictions, from logits (n, outputs), as a user gets them.

        ``rows`` are what was predicted; only where a row has several words with a label each.
        """

    def thresholds(self) -> dict[float, Self]:
        """Return the thresholds above which a label is predicted, and the kind with each of them.

        There are none where each row has one answer.
        """
        return {}

    @abstractmethod
    def row_scores(self, logits: Floats, labels: Labels) -> Scores:
        """Score each row, (n,), higher is better, for the comparison of two models.

        Logits are (n, outputs), labels in the units of training.
        """

    def p_better(self, gains: Scores) -> float:
        """Return the one-sided p that one model is better than another: by default of a sign test.

        ``gains`` are differences of ``row_scores``, none of them 0, at least one.
        """
        from scipy import stats

        up = int((gains > 0).sum())
        return float(stats.binomtest(up, len(gains), alternative="greater").pvalue)

    def collapsed(self, logits: Floats, labels: Labels) -> str:  # noqa: ARG002
        """Say that a model has learned nothing, or predicts the same for every row.

        A sentence, or nothing; logits are of the validation rows, (n, outputs).
        """
        return ""

    def probability_errors(self, logits: Floats, labels: Labels) -> dict[str, float]:  # noqa: ARG002
        """Measure how far the probabilities of finite logits, (n, outputs), can be believed.

        By log loss, Brier score and ECE; nothing where that has no meaning.
        """
        return {}
