"""One class for each row (single-label classification)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch.nn import functional

from headstart.data.checks import check_training, class_balance
from headstart.data.labels import LabelMap, Labels, index_aliases, label_column, without_class
from headstart.data.rows import Rows
from headstart.data.tables.classnames import case_aliases, class_names, ordered_classes
from headstart.models.head_choice import ProblemType
from headstart.targets._adjusted import exact, no_better
from headstart.targets._answers import Answers
from headstart.targets._base import Floats, Mask, Scores, TargetKind
from headstart.tasks.calibration import measure, softmax
from headstart.tasks.spec import Target, TaskSpec
from headstart.untrusted import shown


@dataclass(frozen=True)
class Classes(TargetKind):
    """Classes that exclude one another; labels are class indices, (n,)."""

    name: ClassVar[Target] = "classes"
    problem_type: ClassVar[ProblemType] = "single_label_classification"
    tag = "classification"
    calibrates = True

    @classmethod
    def recognises(cls, frame: pd.DataFrame, task: TaskSpec, *, where: str) -> bool:  # noqa: ARG003
        """Recognise columns whose source declares classes; see ``TargetKind.recognises``."""
        return ordered_classes(frame, task.label) is not None

    @classmethod
    def declared(cls, frame: pd.DataFrame, task: TaskSpec) -> TaskSpec:
        """Take the names of ``datasets``, so that rows without them may use its numbers."""
        names = class_names(frame, task.label)
        return replace(task, labels=task.labels or names) if names and not task.choices else task

    @classmethod
    def learn(cls, frame: pd.DataFrame, task: TaskSpec, *, where: str) -> Self:
        """Take the classes that are declared, else those of the rows; see ``TargetKind.learn``."""
        declared = task.labels or task.choices or ordered_classes(frame, task.label)
        if declared:
            return cls(LabelMap(declared).names)
        cells = label_column(frame, task.label, where=where)
        return cls(LabelMap.infer(cells, where=where).names)

    @classmethod
    def of_model(cls, names: tuple[str, ...], config: Any) -> Self:  # noqa: ARG003
        """Take the names of a saved model; see ``TargetKind.of_model``."""
        return cls(names)

    @classmethod
    def unlabelled(
        cls, frame: pd.DataFrame, task: TaskSpec, names: tuple[str, ...] | None, *, where: str
    ) -> Mask:
        """Find empty cells, and -1 where it is no class; see ``TargetKind.unlabelled``."""
        return without_class(label_column(frame, task.label, where=where), names)

    def read(self, frame: pd.DataFrame, task: TaskSpec, *, where: str) -> Labels:
        """Read class indices as int64; see ``TargetKind.read``."""
        labels, names = LabelMap(self.names), class_names(frame, task.label) or ()
        aliases = case_aliases(self.names, names)
        if task.labels is not None or task.choices:
            columns = {name: index for index, name in enumerate(task.choices)}
            aliases = {**aliases, **index_aliases(self.names), **columns}
        # A checkpoint without names of its own knows its classes by number; so are candidates
        # known, whose columns are seldom called like the classes: A, B, C, D.
        by_number = labels.numbered or (task.choices and not {*names} & {*self.names, *aliases})
        cells = label_column(frame, task.label, where=where, named=not by_number)
        return labels.encode(cells, where=where, aliases=aliases)

    def strata(self, labels: Labels) -> npt.NDArray[np.int64]:
        """Return the classes; see ``TargetKind.strata``."""
        return labels

    def check(self, train: Labels, held_out: Labels) -> list[str]:
        """Check that there are two classes, and warn of rare ones; see ``TargetKind.check``."""
        told = check_training(train, LabelMap(self.names))
        if (held_out == held_out[0]).all():
            told.append(
                f"All validation rows belong to {shown(self.names[int(held_out[0])])}, so their "
                "scores cannot tell what the model has learned of the other classes."
            )
        return told

    def describe(self, labels: Labels) -> dict[str, str]:
        """Say names and balance of the classes; see ``TargetKind.describe``."""
        balance, rows = class_balance(labels, LabelMap(self.names)), max(1, len(labels))
        return {
            "labels": ", ".join(f"{i} = {shown(name)}" for i, name in enumerate(self.names)),
            "class balance": ", ".join(
                f"{shown(name)} {count:,} ({count / rows:.0%})" for name, count in balance.items()
            ),
        }

    def row_losses(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Compute the cross-entropy; see ``TargetKind.row_losses``."""
        return functional.cross_entropy(logits.float(), labels, reduction="none")

    def chance_loss(self, labels: Labels) -> float:
        """Return the entropy of the shares in nats; see ``TargetKind.chance_loss``."""
        shares = np.bincount(labels, minlength=self.outputs) / len(labels)
        return float(-sum(s * math.log(s) for s in shares if s > 0))

    def adjusted_sums(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Count each class's rows and those predicted right, (2, classes)."""
        logits = exact(logits)
        members = labels[:, None] == torch.arange(logits.shape[1], device=labels.device)
        right = members & (logits.argmax(dim=1) == labels)[:, None]
        return torch.stack([members.sum(dim=0), right.sum(dim=0)]).to(logits.dtype)

    def adjusted_score(self, sums: Scores) -> float:
        """Return the balanced accuracy, rescaled so that a constant guess gives 0.

        It is also called informedness. It is 0 where all rows are of one class.
        """
        rows, right = sums
        present = rows > 0
        chance = 1 / max(1, present.sum())
        recall = float((right[present] / rows[present]).mean()) if present.any() else 0.0
        return float((recall - chance) / (1 - chance)) if chance < 1 else 0.0

    def class_counts(self, labels: Labels) -> list[int]:
        """Count the rows of each class; see ``TargetKind.class_counts``."""
        found: list[int] = np.bincount(labels, minlength=self.outputs).tolist()
        return found

    def predict(self, logits: Floats) -> Labels:
        """Return the index of the largest logit; see ``TargetKind.predict``."""
        found: Labels = logits.argmax(axis=1)
        return found

    def answers(self, logits: Floats, rows: Rows | None = None) -> Answers:  # noqa: ARG002
        """Return names, and probabilities by softmax; see ``TargetKind.answers``."""
        values = np.array(self.names, object)[self.predict(logits)]
        return Answers(values, dict(zip(self.names, softmax(logits).T, strict=True)))

    def row_scores(self, logits: Floats, labels: Labels) -> Scores:
        """Return 1 where a row is right, so that ``p_better`` is the exact test of McNemar."""
        return np.asarray(self.predict(logits) == labels, np.float64)

    def collapsed(self, logits: Floats, labels: Labels) -> str:
        """Say whether one class alone is predicted, or no better than by chance."""
        if len(np.unique(labels)) < 2:
            return ""  # such rows cannot tell
        guesses = np.unique(self.predict(logits))
        if len(guesses) == 1:
            return f"The model predicts one class only: {shown(self.names[int(guesses[0])])}."
        return no_better(self, logits, labels)

    def probability_errors(self, logits: Floats, labels: Labels) -> dict[str, float]:
        """Measure log loss, Brier score and ECE; see ``TargetKind.probability_errors``."""
        return measure(logits, labels)


TARGET = Classes
