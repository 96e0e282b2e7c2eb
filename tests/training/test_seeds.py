"""Streams of randomness: each its own, the same everywhere and for ever."""

from __future__ import annotations

import torch

from headstart.training.seeds import seeded, stream


def test_streams_stay_what_they_are() -> None:
    # Fixed on purpose: another value would change every run of every user.
    assert stream(0, "order") == 5231958647509549229
    assert stream(7, "dropout", 12, 0) == 8746219968127860869


def test_streams_are_independent_of_one_another() -> None:
    keys = [
        (seed, name, *place)
        for seed in range(5)
        for name in ("order", "dropout", "tuner", "adjusted_score")
        for place in ((), (0,), (1,), (0, 1), (1, 0), (11,))
    ]
    found = {stream(*key) for key in keys}
    assert len(found) == len(keys) == 120
    assert all(0 <= number < 2**63 for number in found)
    assert stream(1, "a", 2) == stream(1, "a", 2)


def test_a_seeded_block_is_repeatable_and_leaves_no_trace() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    draws = []
    for _ in range(2):
        with seeded(5):
            draws.append(torch.rand(4))
    assert torch.equal(*draws)
    assert torch.equal(torch.rand(2), expected)
    with seeded(6):
        assert not torch.equal(torch.rand(4), draws[0])
