"""Each map's inputs are rotated in blocks: orthogonal fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from peft import OFTConfig, PeftConfig
from torch import nn

from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.plugins.cards import Card
from headstart.plugins.ranges import A_RATE, Range
from headstart.tuners._peft import PeftTuner, sizes


@dataclass
class Oft(PeftTuner):
    """Each chosen linear map ``W`` acts as ``W R`` with a trainable orthogonal ``R`` in blocks.

    Qiu et al. 2023, arXiv 2306.07280. ``R`` is Cayley's transform of a skew matrix that starts at
    zero, so training starts from the checkpoint's own output.

    Args:
        block: Rows and columns of a block; the inputs of every map must be a multiple of it.
        dropout: Rate at which blocks are left out in a step.
        exact: Whether Cayley's transform is solved exactly, or by a series of five terms.
        targets: ``attention`` for the linear maps of the attention blocks (queries, keys, values
            and output), ``all`` for those of the feed-forward blocks too.
    """

    lr: ClassVar[float] = 1e-3
    head_lr: ClassVar[float] = 1e-3
    where: ClassVar[str] = (
        "before the linear maps of the attention of every layer; with targets=all before "
        "those of the feed-forward block too"
    )
    formula: ClassVar[str] = "inputs / block · block · (block - 1) / 2 for each map"
    ranges: ClassVar[Mapping[str, Range]] = {
        "block": ("2 or more", lambda value: value >= 2),
        "dropout": A_RATE,
    }
    block: int = 32
    dropout: float = 0.0
    exact: bool = False
    targets: Literal["attention", "all"] = "attention"

    def maps(self, split: SplitModel) -> dict[str, nn.Module]:
        """Choose the linear maps of the encoder layers.

        Raises ``ModelError`` if their inputs are no multiple of ``block``.
        """
        chosen = super().maps(split)
        widths = sorted({sizes(module)[0] for module in chosen.values()})
        if any(width % self.block for width in widths):
            most = math.gcd(*widths)
            raise ModelError(
                f"oft(block=…) that divides the inputs of every map: {widths}",
                f"block = {self.block}",
                f"Choose a divisor of {most}, or use another tuner such as 'lora'.",
            )
        return chosen

    def config(self, names: list[str]) -> PeftConfig:
        """Write the settings as ``peft`` has them."""
        return OFTConfig(
            r=0, oft_block_size=self.block, module_dropout=self.dropout, target_modules=names,
            use_cayley_neumann=not self.exact,
        )  # fmt: skip

    def count(self, split: SplitModel) -> int:
        """Compute how many numbers will train beside the head."""
        inputs = sum(sizes(module)[0] for module in self.maps(split).values())
        return inputs // self.block * (self.block * (self.block - 1) // 2)


TUNER = Oft
CARD = Card(
    idea="What a map reads is rotated, block by block, before the map sees it. A rotation changes "
    "no length and no angle between the map's rows, which is where much of what was pretrained "
    "lies. The rotations start at none and can be multiplied into the weights in the end.",
    equation="y = W R x;  R = (I + Q)(I - Q)⁻¹,  Q = -Qᵀ in blocks of block × block, first Q = 0",
    helps="When the pretrained features should be kept more strictly than low-rank changes do.",
    harms="A step costs more than LoRA's.",
    citation="Qiu et al.: Controlling Text-to-Image Diffusion by Orthogonal Finetuning (2023), "
    "arXiv 2306.07280.",
    sources={
        "block": "peft's",
        "dropout": "peft's",
        "exact": "peft's: a series, as in Qiu et al. 2025, arXiv 2506.19847",
        "targets": "as for lora",
    },
)
