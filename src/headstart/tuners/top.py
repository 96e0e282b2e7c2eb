"""The last k encoder layers and what comes after them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from headstart.errors import ConfigError
from headstart.models.backbone import SplitModel
from headstart.tuners._base import ONE_OR_MORE, InPlaceTuner, Range


@dataclass
class Top(InPlaceTuner):
    """The last ``k`` encoder layers, a pretrained pooler and a final norm train.

    Args:
        k: Number of layers, counted from the output.
    """

    lr: ClassVar[float] = 1e-4
    head_lr: ClassVar[float] = 1e-4
    installs: ClassVar[bool] = False
    rate_follows_size: ClassVar[bool] = True
    ranges: ClassVar[Mapping[str, Range]] = {"k": ONE_OR_MORE}
    k: int = 1

    def select(self, split: SplitModel) -> dict[str, nn.Parameter]:
        """Choose the parameters of the top layers.

        Args:
            split: The model.

        Returns:
            The chosen backbone parameters.

        Raises:
            ConfigError: If the model has fewer than ``k`` layers.
        """
        layers = split.layers()
        if self.k > len(layers):
            raise ConfigError(
                f"top(k) with k from 1 to {len(layers)}, the layers of this model",
                f"k = {self.k}",
                "Choose a k in that range, or 'full' to train the embeddings too.",
            )
        chosen = tuple(f"{name}." for name, _ in layers[-self.k :])
        above = set(split.above_layers())
        return {
            name: p
            for name, p in split.backbone.items()
            if name.startswith(chosen) or name in above
        }


TUNER = Top
