"""Predictions in the form in which a user gets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Answers:
    """Predictions as a user gets them.

    Args:
        values: A label, a number, a list of labels, or one of entities for each row, (n,).
        probabilities: Probability of each label by name, (n,) each; empty for numbers and tags.
        tags: The tag of each word of each row, (n,); ``None`` where words have none.
    """

    values: npt.NDArray[Any]
    probabilities: Mapping[str, npt.NDArray[np.float64]]
    tags: npt.NDArray[Any] | None = None
