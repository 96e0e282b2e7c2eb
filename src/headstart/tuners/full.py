"""Every parameter of the backbone: plain fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from headstart.models.backbone import SplitModel
from headstart.plugins.cards import Card
from headstart.tuners._base import InPlaceTuner


@dataclass
class Full(InPlaceTuner):
    """The whole backbone trains together with the head."""

    where: ClassVar[str] = "every parameter of the backbone"
    formula: ClassVar[str] = "all of the backbone"
    serves: ClassVar[frozenset[str]] = frozenset({"text", "image", "audio"})
    lr: ClassVar[float] = 1e-4
    head_lr: ClassVar[float] = 1e-4
    installs: ClassVar[bool] = False
    rate_follows_size: ClassVar[bool] = True

    def select(self, split: SplitModel) -> dict[str, nn.Parameter]:
        """Choose all of the backbone."""
        return dict(split.backbone)


TUNER = Full
CARD = Card(
    idea="Everything trains together with the head: plain fine-tuning. It is the last stage of "
    "nearly every strategy here. What comes before it decides from which head it starts.",
    equation="θ ← θ - lr · AdamW(∇θ)    for all backbone weights θ",
    helps="With enough rows and steps it reaches the highest scores; its only rival is cost.",
    harms="From a random head and with few rows it pulls the features about before the head has "
    "learned anything, and seeds differ much.",
    citation="Devlin et al.: BERT (2019), arXiv 1810.04805. The strong form (bias-corrected AdamW, "
    "warm-up, linear decay): Mosbach et al. (2021), arXiv 2006.04884.",
    notes="The default rate follows the size of the backbone: 1e-4 below 60 M parameters, 2e-5 "
    "below 250 M, 1e-5 above; only the first is measured here, the others are the literature's "
    "usual choices.",
)
