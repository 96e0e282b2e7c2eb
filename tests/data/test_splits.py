from __future__ import annotations

import numpy as np
import pytest

from headstart.data.splits import carve, sample
from headstart.errors import ConfigError, DataError


def labels(*counts: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))


@pytest.mark.parametrize("y", [labels(70, 30), labels(100)])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_parts_are_sorted_and_hold_every_row_once(share: float, y: np.ndarray) -> None:
    train, held_out = carve(y, share, 1)
    assert sorted([*train, *held_out]) == list(range(100))
    assert np.all(np.diff(train) > 0)
    assert np.all(np.diff(held_out) > 0)
    assert len(held_out) == round(100 * share)


def test_shares_of_the_classes_are_kept() -> None:
    y = labels(700, 200, 100)
    _, held_out = carve(y, 0.1, 1)
    assert np.bincount(y[held_out]).tolist() == [70, 20, 10]


def test_largest_remainder() -> None:
    y = labels(55, 27, 18)  # exact shares of 10 rows: 5.5, 2.7, 1.8
    assert np.bincount(y[sample(y, 10, 1)]).tolist() == [5, 3, 2]


def test_small_classes_are_in_both_parts() -> None:
    y = labels(90, 2, 3, 1)
    train, held_out = carve(y, 0.1, 1)
    assert np.bincount(y[held_out], minlength=4).tolist() == [8, 1, 1, 0]
    assert set(y[train]) == {0, 1, 2, 3}
    _, most = carve(y, 0.97, 1)
    assert np.bincount(y[most], minlength=4).tolist() == [89, 1, 2, 0]


def test_more_classes_than_rows_asked_for() -> None:
    y = labels(*[2] * 20)
    assert len(carve(y, 0.1, 1)[1]) == 4
    assert len(sample(y, 7, 1)) == 7


def test_seed_decides() -> None:
    y = labels(50, 50)
    first, again, other = (carve(y, 0.2, seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other
    assert sample(y, 9, 1).tolist() == sample(y, 9, 1).tolist() != sample(y, 9, 2).tolist()


def test_a_sample_has_each_class_and_the_number_asked_for() -> None:
    y = labels(96, 3, 1)
    chosen = sample(y, 10, 1)
    assert len(chosen) == len(set(chosen)) == 10
    assert np.bincount(y[chosen]).tolist() == [8, 1, 1]
    assert sample(y, 100, 1).tolist() == list(range(100))


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5])
def test_share_out_of_range(share: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        carve(labels(5, 5), share, 1)


@pytest.mark.parametrize(
    ("y", "share"), [(labels(1, 1), 0.5), (labels(1), 0.5), (labels(2, 2), 0.9)]
)
def test_too_few_rows(y: np.ndarray, share: float) -> None:
    with pytest.raises(DataError, match="enough rows"):
        carve(y, share, 1)


@pytest.mark.parametrize("n", [0, -1, 11])
def test_sample_out_of_range(n: int) -> None:
    with pytest.raises(ConfigError, match="from 1 to 10"):
        sample(labels(5, 5), n, 1)
