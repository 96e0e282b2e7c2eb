"""Low-rank changes of direction, with the length of each output apart: DoRA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from headstart.models.backbone import SplitModel
from headstart.plugins.cards import Card
from headstart.tuners._peft import LowRankTuner, sizes


@dataclass
class Dora(LowRankTuner):
    """The map acts as ``m (W + alpha / r * B A) / |W + alpha / r * B A|``, each output by itself.

    Liu et al. 2024, arXiv 2402.09353, equation 5. ``m`` starts as the norms of the rows of ``W``,
    so training starts from the checkpoint's own output. The norm below is taken as a constant in
    the backward pass, as section 4.3 of the paper proposes.
    """

    formula: ClassVar[str] = "r · (inputs + outputs) + outputs for each map"
    options: ClassVar[Mapping[str, Any]] = {"use_dora": True}

    def count(self, split: SplitModel) -> int:
        """Compute how many numbers will train beside the head."""
        lengths = sum(sizes(module)[1] for module in self.maps(split).values())
        return super().count(split) + lengths


TUNER = Dora
CARD = Card(
    idea="LoRA changes how long each row of a map is and where it points at once; DoRA takes the "
    "two apart. A trainable vector holds the lengths, and LoRA's product changes the directions. "
    "Its steps then look more like those of full fine-tuning.",
    equation="y = m · (W + α/r B A) x / ‖W + α/r B A‖    m: one number for each output",
    helps="At small ranks, where the paper finds it above LoRA.",
    harms="It costs more time and memory than LoRA: the norm of every changed row in every step.",
    citation="Liu et al.: DoRA: Weight-Decomposed Low-Rank Adaptation (2024), arXiv 2402.09353.",
    sources={
        "r": "as for lora, so that the two compare",
        "alpha": "as for lora",
        "dropout": "as for lora",
        "targets": "as for lora",
    },
)
