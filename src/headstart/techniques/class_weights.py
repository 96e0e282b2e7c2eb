"""Rows of rare classes count more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from headstart.plugins.cards import Card
from headstart.plugins.ranges import A_SHARE, Range
from headstart.techniques._base import Technique, TechniqueContext


def class_weights(counts: Sequence[int], power: float) -> torch.Tensor:
    """Return a weight for each class, such that the mean over the training rows is 1.

    With power 1 these are scikit-learn's ``balanced`` weights, n / (classes * count), after King
    and Zeng 2001, as long as every class has rows. Weights are (classes,); a class without rows has
    the weight 0, and power 0 gives equal weights.
    """
    numbers = torch.tensor(counts, dtype=torch.float32)
    raw = torch.where(numbers > 0, numbers.clamp(min=1) ** -power, 0.0)
    return raw * numbers.sum() / (raw * numbers).sum()


@dataclass
class ClassWeights(Technique):
    """Each row's loss is multiplied by its class's weight.

    Args:
        power: 0 for equal weights, 1 for classes with the same say.
    """

    ranges: ClassVar[Mapping[str, Range]] = {"power": A_SHARE}
    targets: ClassVar[tuple[str, ...]] = ("classes", "tags")
    power: float = 1.0

    def begin(self, context: TechniqueContext) -> None:
        """Count the classes."""
        self._weights = class_weights(context.counts, self.power)

    def row_losses(
        self, losses: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """Return the weighted losses."""
        del logits
        return losses * self._weights.to(labels.device)[labels]


TECHNIQUE = ClassWeights
CARD = Card(
    idea="Each row's loss is multiplied by a weight of its class, the larger the rarer the class "
    "is. The mean weight over the training rows is 1, so that the learning rate keeps its "
    "meaning. With power 1 every class has the same say.",
    equation="loss = w_y · loss    w_k ∝ n_k^-power, Σ_k n_k w_k = Σ_k n_k",
    helps="Unbalanced classes that are scored alike (macro F1).",
    harms="Accuracy as the score: common classes then matter more than the weights let them.",
    citation="King, Zeng: Logistic Regression in Rare Events Data (Political Analysis 2001).",
    sources={
        "power": "scikit-learn's `balanced`",
    },
    deviations="`power` between 0 and 1 is ours.",
)
