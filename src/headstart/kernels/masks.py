"""Random masks for dropout, many numbers at a time.

Torch draws one Bernoulli number after the other from a Mersenne twister, which takes longer than
the matrix products around it. Here an additive lagged Fibonacci generator (Knuth, The Art of
Computer Programming 2, 3.2.2) makes machine words with one addition each, in blocks that stay in
the cache, and each 16-bit part of a word decides for one element.

A rate is rounded to a multiple of 1/65536, so it is off by at most 1/131072 (0.1 becomes 0.100006);
the scale of what is kept belongs to the rounded rate, so the expectation is exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from numpy.random import SFC64

LEVELS = 2**16
"""Values that the random number of an element can take."""
LONG, SHORT = 110503, 53719
"""The lags: x[n] = x[n - LONG] + x[n - SHORT] mod 2**64. The trinomial is primitive (Heringa et al.
1992), so even the lowest bit has the period 2**110503 - 1."""


def rounded_rate(rate: float) -> tuple[int, float]:
    """Round a dropout rate to what can be drawn.

    Args:
        rate: Share of elements that are dropped, in [0, 1).

    Returns:
        How many of the ``LEVELS`` numbers drop an element, and the factor for what is kept.
    """
    dropped = min(round(rate * LEVELS), LEVELS - 1)
    return dropped, LEVELS / (LEVELS - dropped)


class Randomness:
    """A stream of random numbers, of which the same seed gives the same.

    Args:
        seed: Any whole number from 0 on.
    """

    def __init__(self, seed: int) -> None:
        # A generator of another kind makes the first words.
        self._words = torch.from_numpy(SFC64(seed).random_raw(LONG).view("int64"))
        self._numbers = self._words.view(torch.int16)
        self._used = len(self._numbers)

    def keep_mask(self, shape: Sequence[int], dropped: int) -> torch.Tensor:
        """Draw a mask to be combined with an element's bits.

        Args:
            shape: Shape of the mask.
            dropped: As from ``rounded_rate``; at least 1.

        Returns:
            int16: all bits set (-1) where an element is kept, none (0) where it is dropped.
        """
        result = torch.empty(math.prod(shape), dtype=torch.int16)
        border = LEVELS // 2 - dropped  # numbers go from -LEVELS / 2; those below it keep
        at = 0
        while at < len(result):
            if self._used == len(self._numbers):
                self._refill()
            size = min(len(result) - at, len(self._numbers) - self._used)
            fresh = self._numbers[self._used : self._used + size]
            torch.clamp(fresh, border - 1, border, out=result[at : at + size])
            at, self._used = at + size, self._used + size
        return result.sub_(border).view(*shape)

    def _refill(self) -> None:
        x, overlap = self._words, LONG - SHORT
        x[:SHORT].add_(x[overlap:])
        x[SHORT : 2 * SHORT].add_(x[:SHORT])
        x[2 * SHORT :].add_(x[SHORT:overlap])
        self._used = 0


def integers_like(tensor: torch.Tensor) -> torch.dtype:
    """Return the integer type as wide as a tensor's numbers.

    Args:
        tensor: Of a 16-bit or 32-bit floating-point type.

    Returns:
        ``torch.int16`` or ``torch.int32``.
    """
    return torch.int16 if tensor.element_size() == 2 else torch.int32
