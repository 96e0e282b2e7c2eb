"""Inputs of a finished model: how long texts are read, and errors after training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headstart.errors import DataError, HeadstartError


@dataclass(frozen=True)
class LongTexts:
    """The user's choice about texts over the longest input; ``None`` is as in training.

    Args:
        use: ``cut`` or ``windows``.
        overlap: Tokens that a window shares with the one before.
    """

    use: Literal["cut", "windows"] | None = None
    overlap: int | None = None


def after_training(fault: HeadstartError, labels: tuple[str, ...]) -> HeadstartError:
    """Replace advice on labels that only helps before training: now the model's are settled."""
    if "--target" not in fault.fix and "training rows" not in fault.fix:
        return fault
    near = f"{fault.fix.partition('?')[0]}? " if fault.fix.startswith("Did") else ""
    gives = "The model was trained on these labels" if labels else "The model predicts a number"
    if labels and all(name.startswith("LABEL_") for name in labels):
        gives = "The checkpoint has no names for its classes, so number them 0, 1 … in its order"
    fix = f"{near}{gives}: correct the rows, give a file that fits, or another --label COLUMN."
    return DataError(fault.expected, fault.found, fix)
