"""The head alone on a frozen backbone: linear probing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from headstart.models.backbone import SplitModel
from headstart.tuners._base import InPlaceTuner


@dataclass
class Head(InPlaceTuner):
    """Nothing but the head trains (Kumar et al. 2022, arXiv 2202.10054: the LP of LP-FT)."""

    lr: ClassVar[float] = 5e-3
    head_lr: ClassVar[float] = 5e-3
    installs: ClassVar[bool] = False
    frozen_features: ClassVar[bool] = True

    def select(self, split: SplitModel) -> dict[str, nn.Parameter]:  # noqa: ARG002
        """Choose nothing of the backbone.

        Args:
            split: The model.

        Returns:
            An empty dictionary.
        """
        return {}


TUNER = Head
