"""Random masks: the rate, independence, and the generator's period."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.kernels.masks import LEVELS, LONG, SHORT, STREAMS, Randomness, rounded_rate


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
def test_the_share_that_is_dropped_is_the_rate(rate: float) -> None:
    dropped, scale = rounded_rate(rate)
    n = 2_000_000
    mask = Randomness(3).keep_mask((n,), dropped)
    assert set(mask.unique().tolist()) == {-1, 0}
    share = float((mask == 0).double().mean())
    assert abs(share - rate) < 5 * (rate * (1 - rate) / n) ** 0.5 + 1 / (2 * LEVELS)
    assert scale * (1 - dropped / LEVELS) == pytest.approx(1.0)
    assert abs(dropped / LEVELS - rate) <= 1 / (2 * LEVELS)


def test_places_calls_and_seeds_have_nothing_to_do_with_each_other() -> None:
    random = Randomness(5)
    first = random.keep_mask((1_000_000,), LEVELS // 2).double()
    second = random.keep_mask((1_000_000,), LEVELS // 2).double()
    other = Randomness(6).keep_mask((1_000_000,), LEVELS // 2).double()
    pairs = [(first, second), (first, other)]
    pairs += [(first[:-lag], first[lag:]) for lag in (1, 2, 3, 4, 8, 64, 384, 1536, 4 * SHORT)]
    for left, right in pairs:
        r = float(np.corrcoef(left.numpy(), right.numpy())[0, 1])
        assert abs(r) < 5 / len(left) ** 0.5


def test_the_same_seed_gives_the_same() -> None:
    first, again = Randomness(7), Randomness(7)
    for shape in [(1,), (3, 500_000), (17,), (999_999,)]:
        mask = first.keep_mask(shape, 6554)
        assert mask.shape == shape
        assert torch.equal(mask, again.keep_mask(shape, 6554))
    assert not torch.equal(mask, Randomness(8).keep_mask((999_999,), 6554))


def test_every_part_of_a_mask_follows_the_recurrence() -> None:
    random, half = Randomness(1), LEVELS // 2
    calls = [random._numbers(n).clone() for n in (2 * LONG, 100, 2 * LONG)]
    calls += [random._numbers(2 * LONG).clone() for _ in range(2)]
    words = torch.cat(calls, dim=1).view(torch.int32)
    assert words.shape == (STREAMS, 4 * LONG)
    n = torch.arange(LONG, 4 * LONG)
    assert torch.equal(words[:, n], words[:, n - LONG] + words[:, n - SHORT])
    mask = Randomness(1).keep_mask((STREAMS, 8 * LONG), half)
    assert torch.equal(mask, -(torch.cat(calls, dim=1) < 0).short())


def test_the_trinomial_is_primitive() -> None:
    """As 2**LONG - 1 is prime, it is enough that x**(2**LONG) is x modulo the trinomial."""
    power = np.zeros(LONG, np.uint8)
    power[1] = 1
    start = power.copy()
    square = np.zeros(2 * LONG, np.uint8)
    for _ in range(LONG):
        square[::2] = power
        high = square[LONG:]
        power = square[:LONG] ^ high
        power[SHORT:] ^= high[: LONG - SHORT]
        over = high[LONG - SHORT :]
        power[:SHORT] ^= over
        power[SHORT : 2 * SHORT] ^= over
    assert np.array_equal(power, start)
