"""Rows that are already predicted well count less."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from headstart.plugins.cards import Card
from headstart.plugins.ranges import NOT_NEGATIVE, Range
from headstart.techniques._base import Technique


def focal_factors(logits: torch.Tensor, labels: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return ``(1 - p)^gamma``, p the probability of the true class (Lin et al. 2017, equation 4).

    Logits are (b, classes), factors (b,), with their gradient; gamma 0 leaves every row as it is.
    """
    chances = logits.float().softmax(1)
    wrong = 1 - chances.gather(1, labels[:, None])[:, 0]
    return wrong.clamp(min=1e-7) ** gamma  # a power of 0 has no finite gradient for gamma < 1


@dataclass
class Focal(Technique):
    """The focal loss, without class weights of its own (Lin et al. 2017, arXiv 1708.02002).

    Args:
        gamma: How strongly easy rows are played down.
    """

    ranges: ClassVar[Mapping[str, Range]] = {"gamma": NOT_NEGATIVE}
    targets: ClassVar[tuple[str, ...]] = ("classes", "tags")
    gamma: float = 2.0

    def row_losses(
        self, losses: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """Return the losses times the focal factors."""
        return losses * focal_factors(logits, labels, self.gamma)


TECHNIQUE = Focal
CARD = Card(
    idea="Rows that are already predicted well count less. What is left of the gradient comes from "
    "hard rows. With gamma 0 it is plain cross-entropy.",
    equation="loss = -(1 - p_y)^gamma log p_y",
    helps="Rare classes, and many easy rows that drown the others.",
    harms="Wrong labels: they are the hardest rows of all.",
    citation="Lin et al.: Focal Loss for Dense Object Detection (ICCV 2017), arXiv 1708.02002.",
    sources={
        "gamma": "the paper's best",
    },
    deviations="Without class weights of its own: write `+class_weights` behind it. Softmax over "
    "the classes instead of a sigmoid for each.",
)
