"""LoRA with a scale that suits every rank: rsLoRA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from headstart.plugins.cards import Card
from headstart.tuners._peft import LowRankTuner


@dataclass
class Rslora(LowRankTuner):
    """The map acts as ``W + alpha / sqrt(r) * B A``.

    Kalajdzievski 2023, arXiv 2312.03732: with LoRA's ``alpha / r`` the change and its gradients
    shrink as the rank grows.
    """

    options: ClassVar[Mapping[str, Any]] = {"use_rslora": True}


TUNER = Rslora
CARD = Card(
    idea="LoRA divides its change by the rank, so that large ranks learn as little as small ones. "
    "Divided by the root of the rank instead, outputs and gradients keep their size whatever the "
    "rank. Otherwise it is LoRA.",
    equation="y = W x + α/√r · B A x",
    helps="With ranks of 32 and more.",
    harms="At rank 8 it is LoRA with a scale 2.8 times as large, no more.",
    citation="Kalajdzievski: A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA (2023), "
    "arXiv 2312.03732.",
    sources={
        "r": "as for lora, so that the two compare",
        "alpha": "as for lora",
        "dropout": "as for lora",
        "targets": "as for lora",
    },
)
