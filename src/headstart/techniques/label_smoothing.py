"""Part of the target is spread over all classes, so that no logit has to grow without end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional

from headstart.plugins.cards import Card
from headstart.plugins.ranges import A_RATE, Range
from headstart.techniques._base import Technique


@dataclass
class LabelSmoothing(Technique):
    """Cross-entropy with targets ``(1 - eps) onehot + eps / classes``.

    Szegedy et al. 2016, arXiv 1512.00567, section 7.

    Args:
        eps: The part that is spread.
    """

    ranges: ClassVar[Mapping[str, Range]] = {"eps": A_RATE}
    targets: ClassVar[tuple[str, ...]] = ("classes", "tags")
    eps: float = 0.1

    def refuses(self, trains: str, others: Sequence[str]) -> str:  # noqa: ARG002
        """Refuse to stand behind what changes the loss that it replaces."""
        before = [name for name in ("focal", "class_weights") if name in others]
        return f"It replaces the loss; write it before {before[0]}." if before else ""

    def row_losses(
        self, losses: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """Return the smoothed losses."""
        del losses
        return functional.cross_entropy(
            logits.float(), labels, reduction="none", label_smoothing=self.eps
        )


TECHNIQUE = LabelSmoothing
CARD = Card(
    idea="A part of each target is spread over all classes. No logit then has to grow without end "
    "to lower the loss. Probabilities become less extreme.",
    equation="loss = -Σ_k ((1 - eps) [k = y] + eps / K) log p_k",
    helps="Labels with some errors, and probabilities that are to be trusted.",
    harms="Where the order of the logits is used for distillation or ranking; very few classes "
    "with clean labels.",
    citation="Szegedy et al.: Rethinking the Inception Architecture for Computer Vision (CVPR "
    "2016), arXiv 1512.00567, section 7.",
    sources={
        "eps": "the paper's",
    },
)
