"""Two vectors at random matrices that all maps share: VeRA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from peft import PeftConfig, VeraConfig

from headstart.models.backbone import SplitModel
from headstart.plugins.cards import Card
from headstart.plugins.ranges import A_RATE, ABOVE_0, ONE_OR_MORE, Range
from headstart.tuners._peft import PeftTuner, sizes


@dataclass
class Vera(PeftTuner):
    """Each map acts as ``W + diag(b) B diag(d) A``: ``A`` and ``B`` are random, fixed and shared.

    Kopiczko et al. 2023, arXiv 2310.11454. ``b`` starts at zero, so training starts from the
    checkpoint's own output.

    Args:
        r: Rank: rows of ``A``.
        d_initial: Where ``d`` starts.
        dropout: Dropout rate on the input of ``A``.
        targets: ``attention`` for the linear maps of the attention blocks (queries, keys, values
            and output), ``all`` for those of the feed-forward blocks too.
    """

    part_at_zero: ClassVar[bool] = True
    lr: ClassVar[float] = 3e-2
    head_lr: ClassVar[float] = 1e-3
    where: ClassVar[str] = (
        "beside the linear maps of the attention of every layer; with targets=all beside "
        "those of the feed-forward block too"
    )
    formula: ClassVar[str] = "r + outputs for each map"
    ranges: ClassVar[Mapping[str, Range]] = {
        "r": ONE_OR_MORE,
        "d_initial": ABOVE_0,
        "dropout": A_RATE,
    }
    r: int = 256
    d_initial: float = 0.1
    dropout: float = 0.0
    targets: Literal["attention", "all"] = "attention"

    def config(self, names: list[str]) -> PeftConfig:
        """Write the settings as ``peft`` has them."""
        return VeraConfig(
            r=self.r, d_initial=self.d_initial, vera_dropout=self.dropout, target_modules=names,
            save_projection=False,
        )  # fmt: skip

    def count(self, split: SplitModel) -> int:
        """Compute how many numbers will train beside the head."""
        return sum(self.r + sizes(module)[1] for module in self.maps(split).values())


TUNER = Vera
CARD = Card(
    idea="All maps share one pair of thin random matrices, which never train. Each map has two "
    "vectors of its own that rescale what comes out of them. A tenth of LoRA's numbers then do "
    "for a much higher rank.",
    equation="y = W x + diag(b) B diag(d) A x    A, B random and shared, b = 0 at first",
    helps="When as few numbers as with biases may train and the change should still be low-rank.",
    harms="Its rank is large, so a step costs more than LoRA's.",
    citation="Kopiczko, Blankevoort, Asano: VeRA (2023), arXiv 2310.11454.",
    sources={
        "r": "the paper's, for RoBERTa-large; 1024 for RoBERTa-base",
        "d_initial": "the paper's",
        "dropout": "the paper's, for RoBERTa",
        "targets": "as for lora (the paper: queries and values)",
    },
    notes="The learning rate was chosen on training rows of the small demo encoder, where 1e-2 "
    "hardly leaves chance in 120 steps.",
    deviations="A and B are the same in every run, whatever its seed: peft draws them with a key "
    "of its own.",
)
