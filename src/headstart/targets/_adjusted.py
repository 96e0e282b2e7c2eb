"""Adjusted score: how far above chance some rows are predicted, whatever the shares of the labels.

It follows from a few sums, so that rows can be counted batch by batch and process by process.
"""

from __future__ import annotations

import numpy as np
import torch

from headstart.data.labels import Labels
from headstart.targets._base import Floats, Scores, TargetKind


def adjusted_score(kind: TargetKind, logits: Floats, labels: Labels) -> float:
    """Return how far above chance some rows are predicted.

    See ``TargetKind.adjusted_score``; it is 0 where a logit is not finite.
    """
    if not np.isfinite(logits).all():
        return 0.0
    found = kind.adjusted_sums(torch.from_numpy(logits), torch.from_numpy(kind.flat(labels)))
    return adjusted_score_of_sums(kind, found.numpy())


def adjusted_score_of_sums(kind: TargetKind, sums: Scores) -> float:
    """Return the adjusted score on the rows behind some sums.

    See ``TargetKind.adjusted_score``; it is 0 where a sum is not finite.
    """
    return kind.adjusted_score(sums) if np.isfinite(sums).all() else 0.0


ABOVE_CHANCE = 0.02
"""Adjusted score on the validation rows below which a model is no better than chance."""


def no_better(kind: TargetKind, logits: Floats, labels: Labels) -> str:
    """Say that logits of the validation rows, (n, outputs), are no better than chance.

    A sentence; nothing where they are better.
    """
    if adjusted_score(kind, logits, labels) >= ABOVE_CHANCE:
        return ""
    return "The model is no better than chance on the validation rows."


def exact(logits: torch.Tensor) -> torch.Tensor:
    """Return logits in fp64, or in fp32 where the device has nothing better."""
    return logits.to(torch.float32 if logits.device.type == "mps" else torch.float64)


def moments(guess: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return the sums from which ``correlations`` follow, of guesses and truths (n, k).

    For each of the k columns the rows, and the sums of guess, truth, their squares and their
    product, (k, 6).
    """
    products = (torch.ones_like(guess), guess, truth, guess * guess, truth * truth, guess * truth)
    return torch.stack([p.sum(dim=0) for p in products], dim=1)


def correlations(sums: Scores) -> Scores:
    """Return the correlation of guess and truth for each column, (k,), from ``moments``, (k, 6).

    NaN where the truth is constant, 0 where the guess is, up to rounding.
    """
    n, guess, truth, guess2, truth2, product = sums.T
    spreads = n * guess2 - guess**2, n * truth2 - truth**2
    with np.errstate(all="ignore"):
        found = (n * product - guess * truth) / np.sqrt(spreads[0] * spreads[1])
    level = [
        spread < 1e-6 * np.maximum(n * square, 1e-30)
        for spread, square in zip(spreads, (guess2, truth2), strict=True)
    ]
    return np.where(level[1], np.nan, np.where(level[0], 0.0, found))
