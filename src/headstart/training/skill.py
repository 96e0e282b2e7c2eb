"""Skill: how far above chance some rows are predicted, whatever the shares of the classes.

For classes it is balanced accuracy, rescaled so that a constant guess gives 0 and no error gives 1
(also called informedness). For numbers it is the squared correlation. Both follow from a few sums,
so that rows can be counted batch by batch and process by process.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch


def sums(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return what skill needs to know of some rows; the sums of more rows add up.

    Args:
        logits: (n, outputs).
        labels: Class indices, or numbers as floating point, (n,).

    Returns:
        For classes the rows of each and those of them predicted right, (2, outputs); for numbers
        the rows, and the sums of guess, number, their squares and their product, (1, 6). In fp64
        where the device has it.
    """
    logits = logits.to(torch.float32 if logits.device.type == "mps" else torch.float64)
    if not labels.is_floating_point():
        classes = torch.arange(logits.shape[1], device=labels.device)
        members = labels[:, None] == classes
        right = members & (logits.argmax(dim=1) == labels)[:, None]
        return torch.stack([members.sum(dim=0), right.sum(dim=0)]).to(logits.dtype)
    guess, truth = logits[:, 0], labels.to(logits.dtype)
    products = (torch.ones_like(guess), guess, truth, guess * guess, truth * truth, guess * truth)
    return torch.stack([p.sum() for p in products])[None]


def skill_of_sums(found: npt.NDArray[np.float64]) -> float:
    """Return the skill on the rows behind some sums.

    Args:
        found: As from ``sums``.

    Returns:
        0 for chance, 1 for perfect; below 0 for worse than chance. 0 where the rows say nothing:
        one class alone, a constant guess, logits that are not finite.
    """
    if not np.isfinite(found).all():
        return 0.0
    if len(found) == 2:
        rows, right = found
        present = rows > 0
        chance = 1 / max(1, present.sum())
        recall = float((right[present] / rows[present]).mean()) if present.any() else 0.0
        return float((recall - chance) / (1 - chance)) if chance < 1 else 0.0
    n, guess, truth, guess2, truth2, product = found[0]
    spreads = n * guess2 - guess**2, n * truth2 - truth**2
    if min(spreads[0] / max(n * guess2, 1e-30), spreads[1] / max(n * truth2, 1e-30)) < 1e-6:
        return 0.0  # a constant, up to rounding
    return float((n * product - guess * truth) ** 2 / (spreads[0] * spreads[1]))


def skill(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.generic]) -> float:
    """Return the skill of some logits.

    Args:
        logits: (n, outputs).
        labels: Class indices or numbers, (n,).

    Returns:
        As ``skill_of_sums``.
    """
    if not np.isfinite(logits).all():
        return 0.0
    found = sums(torch.from_numpy(logits), torch.from_numpy(labels))
    return skill_of_sums(found.numpy())
