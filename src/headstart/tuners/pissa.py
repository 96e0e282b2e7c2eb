"""LoRA that begins with the largest singular vectors of each map: PiSSA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from headstart.plugins.cards import Card
from headstart.tuners._peft import LowRankTuner


@dataclass
class Pissa(LowRankTuner):
    """The map acts as ``R + alpha / r * B A``: ``B A`` begins as the best rank-r part of ``W``.

    Meng et al. 2024, arXiv 2404.02948. ``R``, which is left over, stands still. With
    ``alpha = r`` the sum is ``W`` at first, so training starts from the checkpoint's own output (up
    to rounding); with another ``alpha`` the two parts are scaled so that it is.
    """

    part_at_zero: ClassVar[bool] = False
    changes_weights: ClassVar[bool] = True
    options: ClassVar[Mapping[str, Any]] = {"init_lora_weights": "pissa"}


TUNER = Pissa
CARD = Card(
    idea="The product of two thin matrices starts as the largest singular part of each map instead "
    "of zero, and what is left of the map stands still. So the directions train that carry most "
    "of what the map does. Taking it away puts the map's own bits back.",
    equation="W = U S Vᵀ;  B = U_r √S_r,  A = √S_r V_rᵀ,  R = W - B A;  y = (R + B A) x",
    helps="Where LoRA learns slowly at first: the paper finds faster convergence.",
    harms="What trains is the main part of the map itself, so a head is further from the restored "
    "backbone than with LoRA.",
    citation="Meng, Wang, Zhang: PiSSA (2024), arXiv 2404.02948.",
    sources={
        "r": "as for lora, so that the two compare",
        "alpha": "as for lora",
        "dropout": "as for lora",
        "targets": "as for lora",
    },
    deviations="The paper has alpha = r. With another alpha B A begins as r / alpha times the main "
    "part and is multiplied by alpha / r, so that the sum is the same.",
)
