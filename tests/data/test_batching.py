"""The order of rows: all of them once an epoch, the same for a seed, with little padding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data.batching import BatchOrder, Indices, budget_batches, round_width


def review_lengths(rows: int = 500, seed: int = 0) -> Indices:
    """Lengths as of sentences: most short, some long."""
    drawn = np.random.default_rng(seed).lognormal(3, 0.6, rows)
    return np.clip(drawn, 3, 128).astype(np.int64)


def padding(lengths: Indices, batches: list[Indices]) -> float:
    """Return filled-up places as a share of the real tokens."""
    places = sum(int(lengths[rows].max()) * len(rows) for rows in batches)
    return places / int(lengths.sum()) - 1


def joined(batches: list[Indices]) -> list[int]:
    return [int(i) for rows in batches for i in rows]


LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=80).map(
    lambda values: np.array(values, np.int64)
)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 33), st.integers(0, 2**62), st.integers(0, 5))
def test_an_epoch_is_every_row_once(
    lengths: Indices, batch_size: int, seed: int, number: int
) -> None:
    order = BatchOrder(lengths, batch_size, seed)
    batches = order.epoch(number)
    assert sorted(joined(batches)) == list(range(len(lengths)))
    assert len(batches) == order.per_epoch == -(-len(lengths) // batch_size)
    sizes = sorted((len(rows) for rows in batches), reverse=True)
    assert sizes[:-1] == [batch_size] * (len(batches) - 1)
    assert 1 <= sizes[-1] <= batch_size


def test_seed_and_epoch_alone_decide() -> None:
    lengths = review_lengths()
    first, again = BatchOrder(lengths, 32, 7), BatchOrder(lengths.copy(), 32, 7)
    np.random.seed(1)
    third = joined(first.epoch(3))  # no earlier epoch has been asked for
    assert joined(again.epoch(0)) == joined(first.epoch(0))
    assert joined(again.epoch(3)) == third
    assert joined(BatchOrder(lengths, 32, 8).epoch(0)) != joined(first.epoch(0))


def test_epochs_mix_rows_differently() -> None:
    order = BatchOrder(review_lengths(), 32, 0)
    mixtures = [{frozenset(joined([rows])) for rows in order.epoch(n)} for n in range(3)]
    for left, right in ((0, 1), (0, 2), (1, 2)):
        assert len(mixtures[left] & mixtures[right]) <= 1
    means = [float(order.lengths[rows].mean()) for rows in order.epoch(0)]
    assert means != sorted(means)
    assert means != sorted(means, reverse=True)


@pytest.mark.parametrize("seed", range(3))
def test_batches_are_of_similar_lengths(seed: int) -> None:
    lengths = review_lengths(seed=seed)
    shuffled = np.random.default_rng(seed).permutation(len(lengths))
    unsorted = padding(lengths, np.split(shuffled, range(32, len(lengths), 32)))
    bucketed = padding(lengths, BatchOrder(lengths, 32, seed).epoch(0))
    assert unsorted > 0.6
    assert bucketed < 0.3


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 300), st.integers(1, 20))
def test_batches_for_inference_keep_to_their_budget(
    lengths: Indices, tokens: int, rows: int
) -> None:
    batches = budget_batches(lengths, tokens, rows)
    assert sorted(joined(batches)) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= rows
        assert len(batch) == 1 or int(lengths[batch].max()) * len(batch) <= tokens
    ordered: npt.NDArray[np.int64] = lengths[joined(batches)]
    assert (np.diff(ordered) <= 0).all()


def test_the_budget_is_used() -> None:
    lengths = np.array([10] * 20 + [100], np.int64)
    assert [len(rows) for rows in budget_batches(lengths, 80, 6)] == [1, 6, 6, 6, 2]
    assert [len(rows) for rows in budget_batches(lengths, 80, 99)] == [1, 8, 8, 4]
    assert budget_batches(np.zeros(0, np.int64), 80, 6) == []


def test_batches_have_few_widths_and_little_more_to_fill() -> None:
    longest = np.arange(1, 513)
    widths = np.array([round_width(int(n)) for n in longest])
    assert (widths[:16] == longest[:16]).all()
    assert (widths >= longest).all()
    assert ((widths - longest) <= longest / 16).all()
    assert len(set(widths[:256])) == 72
    assert [round_width(n) for n in (17, 64, 65, 129, 400)] == [18, 64, 68, 136, 400]
