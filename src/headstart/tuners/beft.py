"""The bias of the values' maps alone: BEFT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from peft import BeftConfig, PeftConfig
from torch import nn

from headstart.errors import ConfigError
from headstart.models.backbone import SplitModel
from headstart.plugins.cards import Card
from headstart.tuners._peft import PeftTuner, keys_and_values, sizes, wrapped


@dataclass
class Beft(PeftTuner):
    """A trainable vector, zero at first, is added to the values of every layer.

    Huang et al. 2025, arXiv 2509.15974: of all biases, that of the values does most with few rows.
    """

    lr: ClassVar[float] = 1e-2
    head_lr: ClassVar[float] = 5e-4
    where: ClassVar[str] = "behind the map that makes the values, in every layer"
    formula: ClassVar[str] = "outputs of the values' maps"

    def maps(self, split: SplitModel) -> dict[str, nn.Module]:
        """Choose the maps of the values."""
        return keys_and_values(split, "beft", keys=False)

    def config(self, names: list[str]) -> PeftConfig:
        """Write the settings as ``peft`` has them."""
        return BeftConfig(target_modules=names)

    def require_merge(self, split: SplitModel) -> None:
        """Refuse to keep the change where the values' maps have no bias that could hold it.

        Raises ``ConfigError`` if a map has none.
        """
        super().require_merge(split)
        if any(layer.get_base_layer().bias is None for layer in wrapped(split).values()):
            raise ConfigError(
                "maps of the values with a bias, to which beft's can be added in the end",
                f"{type(split.base).__name__}, whose maps have none",
                "Write 'beft > full', which throws the change away, or use another tuner, such as "
                "'lora'.",
            )

    def count(self, split: SplitModel) -> int:
        """Compute how many numbers will train beside the head."""
        return sum(sizes(module)[1] for module in self.maps(split).values())


TUNER = Beft
CARD = Card(
    idea="Of all biases in a layer only that of the values trains. A vector is added behind the "
    "map that makes them, zero at first. In the end it is added to the map's own bias.",
    equation="v = W_v x + b_v + Δb    train Δb",
    helps="With very few rows, or when a twelfth of BitFit's numbers must do.",
    harms="With more rows BitFit's other biases reach more. On the small demo encoder it hardly "
    "left chance in 120 steps at any rate from 3e-3 to 3e-1.",
    citation="Huang et al.: BEFT: Bias-Efficient Fine-Tuning of Language Models (2025), arXiv "
    "2509.15974.",
)
