"""Distances between two sets of features of the same rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


def l2_distance(before: Floats, after: Floats) -> float:
    """Return the mean Euclidean distance of each row's features (arXiv 2210.16771, figure 1).

    Both are (n, D); the mean is in the units of the features.
    """
    return float(np.linalg.norm(after.astype(float) - before, axis=1).mean())


def linear_cka(one: Floats, other: Floats) -> float:
    """Return the linear centred kernel alignment (Kornblith et al. 2019, arXiv 1905.00414, eq. 3).

    It is 1 for features that are equal up to rotation, scale and shift. Features are of the same
    rows, (n, D) and (n, E); it is ``nan`` where those of one side do not vary.
    """
    x, y = (f.astype(float) - f.mean(axis=0) for f in (one, other))
    scale = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(x.T @ y) ** 2 / scale) if scale else float("nan")
