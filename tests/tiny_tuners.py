"""Tuners as a line writes them, and which of them which family refuses, and why."""

from __future__ import annotations

import tiny
from headstart.strategies.notation import parse
from headstart.techniques import TECHNIQUES
from headstart.tuners import TUNERS
from headstart.tuners._base import Tuner
from headstart.tuners._bind import bind

EVERY = (*tiny.FAMILIES, *tiny.IMAGE, *tiny.AUDIO)
"""Every family that a tuner may meet."""
_NO_KEYS = "keys and values from linear maps of their own"
_NO_PREFIX = "an encoder of a family that takes a prefix"
REFUSALS = {
    ("bitfit", "modernbert"): "whose layers have none",
    ("beft", "modernbert"): _NO_KEYS,
    ("ia3", "modernbert"): _NO_KEYS,
    ("prefix", "audio-spectrogram-transformer"): _NO_PREFIX,
}
"""By tuner and family: a part of the reason that is told. Anything else must work."""
VARIANTS = {
    "bitfit(add=true)": ("modernbert",),
    "adapter(kind=pfeiffer, activation=relu)": ("bert", "modernbert"),
    "adapter(kind=parallel, scale=4)": ("bert", "albert", "modernbert", "vit"),
    "histogram(bins=8, start=paper)": ("bert", "deberta-v2", "audio-spectrogram-transformer"),
    "hydra(2, 2, dropout=0.2, targets=vision)": ("roberta", "modernbert", "vit"),
    "lora(targets=all)": ("bert",),
    "oft(block=8, exact=true)": ("bert", "modernbert"),
    "peft(type=boft)": ("bert", "vit"),
    "peft(type=hra, r=4)": ("bert", "deberta-v2"),
    "peft(type=randlora)": ("bert", "modernbert"),
    "peft(type=lily)": ("bert",),
    "pissa(r=4, alpha=4)": ("bert", "modernbert"),
}
"""Other settings of a tuner, and families on which they are tried."""
PAIRS = [(name, family) for name in TUNERS for family in EVERY if (name, family) not in REFUSALS]
CASES = PAIRS + [(line, family) for line, families in VARIANTS.items() for family in families]


def make(line: str) -> Tuner:
    """Build a tuner."""
    return bind(parse(line, TUNERS, TECHNIQUES).stages[0], line)
