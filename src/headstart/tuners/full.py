"""Every parameter of the backbone: plain fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from headstart.models.backbone import SplitModel
from headstart.tuners._base import InPlaceTuner


@dataclass
class Full(InPlaceTuner):
    """The whole backbone trains together with the head."""

    lr: ClassVar[float] = 1e-4
    head_lr: ClassVar[float] = 1e-4
    installs: ClassVar[bool] = False
    rate_follows_size: ClassVar[bool] = True

    def select(self, split: SplitModel) -> dict[str, nn.Parameter]:
        """Choose all of the backbone.

        Args:
            split: The model.

        Returns:
            Every backbone parameter.
        """
        return dict(split.backbone)


TUNER = Full
