"""A number to predict (regression)."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch.nn import functional

from headstart.data._faults import row_numbers, some
from headstart.data.labels import (
    MANY,
    Labels,
    Numbers,
    coded,
    label_column,
    missing_cells,
    missing_labels,
    spelling,
    to_number,
    too_many,
)
from headstart.data.rows import Rows
from headstart.data.tables.classnames import class_names
from headstart.errors import DataError, raise_all
from headstart.models.backbone import SplitModel
from headstart.models.rescale import rescale_output
from headstart.targets._adjusted import correlations, exact, moments
from headstart.targets._answers import Answers
from headstart.targets._base import Floats, Mask, Scores, TargetKind
from headstart.targets._label_lists import holds_lists
from headstart.tasks.spec import TaskSpec

_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


@dataclass(frozen=True)
class Number(TargetKind):
    """A number, standardised for training.

    Args:
        names: None.
        mean: Mean of the training numbers.
        scale: Their standard deviation.
    """

    name = "number"
    problem_type = "regression"
    tag = "regression"
    strengths = (0.1, 1.0, 10.0, 100.0, 1e3, 1e4)  # the bias is the mean, a good guess

    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def recognises(cls, frame: pd.DataFrame, task: TaskSpec, *, where: str) -> bool:
        """Recognise decimal fractions; see ``TargetKind.recognises``."""
        cells = label_column(frame, task.label, where=where)
        return not holds_lists(frame, task.label) and looks_numeric(cells)

    @classmethod
    def learn(cls, frame: pd.DataFrame, task: TaskSpec, *, where: str) -> Self:  # noqa: ARG003
        """Learn no names; see ``TargetKind.learn``."""
        return cls()

    @classmethod
    def of_model(cls, names: tuple[str, ...], config: Any) -> Self:  # noqa: ARG003
        """Take a saved model as it is: its head is in the user's units."""
        return cls()

    @classmethod
    def unlabelled(
        cls,
        frame: pd.DataFrame,
        task: TaskSpec,
        names: tuple[str, ...] | None,  # noqa: ARG003
        *,
        where: str,
    ) -> Mask:
        """Find empty cells; -1 is a number like others. See ``TargetKind.unlabelled``."""
        return missing_cells(_cells(frame, task, where))

    def read(self, frame: pd.DataFrame, task: TaskSpec, *, where: str) -> Labels:
        """Read numbers, or text that spells them; see ``TargetKind.read``."""
        return read_numbers(_cells(frame, task, where), where=where)

    def strata(self, labels: Labels) -> npt.NDArray[np.int64]:
        """Put all rows into one group; see ``TargetKind.strata``."""
        return np.zeros(len(labels), np.int64)

    def check(self, train: Labels, held_out: Labels) -> list[str]:  # noqa: ARG002
        """Check that the numbers differ; see ``TargetKind.check``."""
        if (train == train[0]).all():
            raise DataError(
                "numbers that differ in the training rows",
                f"{train.mean():g} in every row",
                "There is nothing to learn; check the label column.",
            )
        return []

    def describe(self, labels: Labels) -> dict[str, str]:  # noqa: ARG002
        """Say mean and standard deviation; see ``TargetKind.describe``."""
        return {"target": f"a number, mean {self.mean:g}, sd {self.scale:g}"}

    def fit(self, labels: Labels) -> Self:
        """Measure mean and standard deviation; see ``TargetKind.fit``."""
        return replace(self, mean=float(labels.mean()), scale=float(labels.std()))

    def standardise(self, labels: Labels) -> Labels:
        """Take the mean off and divide by the standard deviation."""
        return (np.asarray(labels, np.float64) - self.mean) / self.scale

    def restore(self, labels: Labels) -> Labels:
        """Undo ``standardise``."""
        return labels.astype(np.float64) * self.scale + self.mean

    def load_units(self, split: SplitModel) -> None:
        """Standardise a given head's output; see ``TargetKind.load_units``."""
        rescale_output(split, -self.mean / self.scale, 1 / self.scale)

    def save_units(self, split: SplitModel) -> None:
        """Undo ``load_units``; see ``TargetKind.save_units``."""
        rescale_output(split, self.mean, self.scale)

    def users_loss(self, loss: float) -> float:
        """Multiply by the variance: squared errors of the labels, if they fit into a number."""
        return min(loss * self.scale**2, sys.float_info.max) if math.isfinite(loss) else loss

    def statistics(self) -> dict[str, float]:
        """Return mean and standard deviation of the training numbers."""
        return {"number_mean": self.mean, "number_scale": self.scale}

    def row_losses(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Compute squared errors; see ``TargetKind.row_losses``."""
        return functional.mse_loss(logits.float().squeeze(-1), labels.float(), reduction="none")

    def chance_loss(self, labels: Labels) -> float:
        """Return the variance, the loss of the mean; see ``TargetKind.chance_loss``."""
        return float(np.var(labels.astype(np.float64)))

    def adjusted_sums(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Sum up for a correlation, (1, 6); see ``TargetKind.adjusted_sums``."""
        guess = exact(logits)
        return moments(guess, labels.to(guess.dtype)[:, None])

    def adjusted_score(self, sums: Scores) -> float:
        """Return the squared correlation; see ``TargetKind.adjusted_score``."""
        return float(np.nan_to_num(correlations(sums)[0]) ** 2)

    def predict(self, logits: Floats) -> Labels:
        """Return the single output in the user's units; see ``TargetKind.predict``."""
        return self.restore(logits[:, 0])

    def answers(self, logits: Floats, rows: Rows | None = None) -> Answers:  # noqa: ARG002
        """Return the numbers; see ``TargetKind.answers``."""
        return Answers(logits[:, 0], {})

    def collapsed(self, logits: Floats, labels: Labels) -> str:
        """Say whether one number alone is predicted, which no correlation is defined for."""
        found = self.predict(logits)
        if len(labels) < 2 or (found != found[0]).any():
            return ""
        return f"The model predicts {found[0]:g} for every row; a correlation with it counts as 0."

    def row_scores(self, logits: Floats, labels: Labels) -> Scores:
        """Return minus the squared errors; see ``TargetKind.row_scores``."""
        errors = logits[:, 0].astype(np.float64) - labels.astype(np.float64)
        return -errors * errors

    def p_better(self, gains: Scores) -> float:
        """Do Wilcoxon's signed-rank test; see ``TargetKind.p_better``."""
        from scipy import stats

        return float(stats.wilcoxon(gains, alternative="greater").pvalue)


def looks_numeric(values: Any) -> bool:
    """Tell whether labels are numbers rather than classes: decimal fractions are.

    A column of many fractions stays one of numbers if a few of its cells are none. Raises
    ``DataError`` if the labels are so many different whole numbers that they may be either.
    """
    codes, names = coded(values)
    numbers = [number for name in names if math.isfinite(number := to_number(name))]
    slips = len(names) - len(numbers)
    if not numbers or (slips and (len(numbers) <= MANY or slips > len(numbers) / 2)):
        return False
    if not all(number.is_integer() for number in numbers):
        return True
    if not slips and too_many(names, len(codes)):
        raise DataError(
            "labels that are clearly classes or clearly numbers",
            f"{len(names)} different whole numbers in {len(codes)} rows",
            "Say which: --target number or --target classes.",
        )
    return False


def read_numbers(values: Any, *, where: str = "the rows") -> Numbers:
    """Turn labels, (n,), numbers or text that spells them, into numbers, (n,).

    Raises ``DataError`` if labels are missing or are no finite numbers.
    """
    cells = list(values)
    numbers = np.array([to_number(cell) for cell in cells], np.float64)
    wrong = ~np.isfinite(numbers)
    missing = np.zeros(len(cells), np.bool_)
    missing[wrong] = [spelling(cells[place]) is None for place in np.flatnonzero(wrong)]
    faults = [missing_labels(missing, where)] if missing.any() else []
    if (others := wrong & ~missing).any():
        texts = dict.fromkeys(repr(cells[place]) for place in np.flatnonzero(others))
        comma = any(_DECIMAL_COMMA.fullmatch(str(cells[i]).strip()) for i in np.flatnonzero(others))
        fix = "Write a point instead of the decimal comma. " if comma else ""
        fix += "Correct these cells; a model of classes is trained with --target classes."
        found = f"{some(texts)} in {row_numbers(others)} of {where}"
        faults.append(DataError("a number in every label cell", found, fix))
    raise_all(faults)
    return numbers


def _cells(frame: pd.DataFrame, task: TaskSpec, where: str) -> pd.Series[Any]:
    """Return the label column; integers stay, unless the names of the classes are numbers all."""
    names = class_names(frame, task.label) if task.label in frame.columns else None
    named = all(math.isfinite(to_number(name)) for name in names or ())
    return label_column(frame, task.label, where=where, named=named)


TARGET = Number
