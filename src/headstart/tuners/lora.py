"""Low-rank changes of the attention's linear maps: LoRA."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.plugins.cards import Card
from headstart.tuners._peft import LowRankTuner


@dataclass
class Lora(LowRankTuner):
    """Each chosen linear map ``W`` acts as ``W + alpha / r * B A`` with trainable ``A`` and ``B``.

    Hu et al. 2021, arXiv 2106.09685. ``B`` starts at zero, so training starts from the checkpoint's
    own output. The layers are those of ``peft``, put into the base model in place.
    """


TUNER = Lora
CARD = Card(
    idea="Beside each chosen linear map acts the product of two thin matrices, which train; the "
    "map itself stands still. The product starts at zero, so training starts from the "
    "checkpoint's own output. In the end it can be added to the map, and nothing is left of it.",
    equation="y = W x + alpha / r · B A x    A: r × inputs, B: outputs × r, B = 0 at first",
    helps="As stage 1 it reaches a higher training score than biases in the same number of steps. "
    "The paper finds no difference between ranks 8 and 1024 there.",
    harms="Its head is fitted to features that are gone in stage 2 more than with biases; the "
    "score at step 0 of stage 2 drops accordingly.",
    citation="Hu et al.: LoRA (2021), arXiv 2106.09685.",
    sources={
        "r": "EH-FT, appendix (arXiv 2210.16771)",
        "alpha": "EH-FT, appendix",
        "dropout": "EH-FT, appendix",
        "targets": "EH-FT, appendix: queries, keys, values and output",
    },
    notes="Merged, the map is `W' = W + alpha / r · B A`, exact up to rounding. The layers are "
    "those of `peft`, put in place and taken out by headstart, so that the backbone's parameters "
    "stay the same objects and nothing is left behind.",
)
