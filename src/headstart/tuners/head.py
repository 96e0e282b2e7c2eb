"""The head alone on a frozen backbone: linear probing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from headstart.models.backbone import SplitModel
from headstart.plugins.cards import Card
from headstart.tuners._base import InPlaceTuner


@dataclass
class Head(InPlaceTuner):
    """Nothing but the head trains (Kumar et al. 2022, arXiv 2202.10054: the LP of LP-FT)."""

    where: ClassVar[str] = "nowhere in the backbone: it only holds it still"
    formula: ClassVar[str] = "0"
    serves: ClassVar[frozenset[str]] = frozenset({"text", "image", "audio"})
    lr: ClassVar[float] = 5e-3
    head_lr: ClassVar[float] = 5e-3
    installs: ClassVar[bool] = False
    frozen_features: ClassVar[bool] = True

    def select(self, split: SplitModel) -> dict[str, nn.Parameter]:  # noqa: ARG002
        """Choose nothing of the backbone."""
        return {}


TUNER = Head
CARD = Card(
    idea="Only the head trains, on a backbone that stands still: a linear probe. What the backbone "
    "computes is the same in every epoch, so it is computed once. As a first stage it is the LP "
    "of LP-FT.",
    equation="head ← head - lr · AdamW(∇head)    with the backbone's θ fixed",
    helps="When many heads share one backbone, when hundreds of rows must do, and as the cheapest "
    "first stage there is.",
    harms="On tasks whose answer the frozen features do not hold (entailment, acceptability). As a "
    "first stage its head is fitted to features that fine-tuning then leaves.",
    citation="Kumar et al.: Fine-Tuning can Distort Pretrained Features (2022), arXiv 2202.10054.",
    notes="The features are computed without dropout and replayed; where the head reads every "
    "token's state and these would take more than 2 GiB, they are computed anew in every epoch, "
    "and the run says so. `headstart probe` trains the heads of many seeds and learning rates at "
    "once; its best rate is chosen by the rows that it is scored on, which is optimistic.",
)
