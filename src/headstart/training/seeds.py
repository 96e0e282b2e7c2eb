"""Named streams of randomness from one seed.

Every use of chance has a stream of its own, so that two strategies with the same seed start from
the same head and see the data in the same order, whatever else they draw.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch


def stream(seed: int, *names: str | int) -> int:
    """Derive the seed, in [0, 2**63), of a named stream.

    ``names`` are the stream and positions within it, for example ``"dropout", epoch, step``.
    """
    key = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block with torch's CPU generator set to a seed, and put its state back after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
