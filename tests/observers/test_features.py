"""Distances between features, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from headstart.observers._features import l2_distance, linear_cka

FEATURES = np.random.default_rng(0).normal(size=(30, 6))
ROTATION = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]


def test_the_distance_is_the_mean_over_rows() -> None:
    before = np.array([[0.0, 0.0], [1.0, 1.0]], np.float32)
    after = np.array([[3.0, 4.0], [1.0, 2.0]], np.float32)
    assert l2_distance(before, after) == 3.0  # (5 + 1) / 2
    assert l2_distance(before, before) == 0.0


def test_alignment_by_hand() -> None:
    """Centred, x is (-1, 1) and y ((-1, 1), (1, -1)) / 2: the same up to rotation and scale."""
    alike = linear_cka(np.array([[0.0], [2.0]]), np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert alike == pytest.approx(1.0)
    orthogonal = linear_cka(np.array([[1.0], [-1.0], [0.0]]), np.array([[1.0], [1.0], [-2.0]]))
    assert orthogonal == pytest.approx(0.0, abs=1e-15)
    # Centred: x (-1, 0, 1), y (-1, 1, 0). |x'y|^2 / (|x'x| |y'y|) = 1 / (2 * 2).
    partly = linear_cka(np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [2.0], [1.0]]))
    assert partly == pytest.approx(0.25)


@pytest.mark.parametrize(
    "other", [FEATURES @ ROTATION, 7 * FEATURES, FEATURES + 3, -2 * FEATURES @ ROTATION + 1]
)
def test_rotation_scale_and_shift_do_not_matter(other: np.ndarray) -> None:
    assert linear_cka(FEATURES, other) == pytest.approx(1.0)


def test_features_of_another_width_and_other_features_are_less_alike() -> None:
    assert 0 < linear_cka(FEATURES, FEATURES[:, :2]) < 0.99
    stretched = FEATURES * np.array([10, 1, 1, 1, 1, 1])
    assert linear_cka(FEATURES, stretched) < 0.9


def test_features_that_do_not_vary_have_no_alignment() -> None:
    assert math.isnan(linear_cka(FEATURES, np.ones((30, 2))))
