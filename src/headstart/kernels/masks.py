"""Random masks for dropout, many numbers at a time.

Torch draws one Bernoulli number after the other from a Mersenne twister, which takes longer than
the matrix products around it. Here many xorshift generators (Marsaglia 2003, 64 bits, shifts 13, 7,
17) step side by side as one tensor, and each 16-bit part of a word decides for one element.

A rate is rounded to a multiple of 1/32768, so it is off by at most 1/65536 (0.1 becomes 0.100006);
the scale of what is kept belongs to the rounded rate, so the expectation is exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from numpy.random import SFC64

LEVELS = 2**15
"""Values that the random number of an element can take."""
LANES = 2**16
"""Generators side by side: enough for torch to use several threads, few enough for the cache."""


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
        # Another generator starts the lanes, so that they have nothing to do with each other.
        self._state = torch.from_numpy(SFC64(seed).random_raw(LANES).view("int64"))
        self._scratch = torch.empty_like(self._state)
        self._numbers = self._state.view(torch.int16)
        self._used = 0

    def signs(self, shape: Sequence[int], dropped: int) -> torch.Tensor:
        """Draw numbers that are negative where an element is dropped.

        Args:
            shape: Shape of the result.
            dropped: As from ``rounded_rate``.

        Returns:
            int16 numbers, negative with probability ``dropped / LEVELS``.
        """
        result = torch.empty(math.prod(shape), dtype=torch.int16)
        at = 0
        while at < len(result):
            if self._used == len(self._numbers):
                self._step()
            size = min(len(result) - at, len(self._numbers) - self._used)
            fresh = self._numbers[self._used : self._used + size]
            torch.bitwise_and(fresh, LEVELS - 1, out=result[at : at + size])
            at, self._used = at + size, self._used + size
        return result.sub_(dropped).view(*shape)

    def keep_mask(self, shape: Sequence[int], dropped: int) -> torch.Tensor:
        """Draw a mask to be combined with an element's bits.

        Args:
            shape: Shape of the mask.
            dropped: As from ``rounded_rate``.

        Returns:
            int16: all bits set where an element is kept, none where it is dropped.
        """
        return self.signs(shape, dropped).bitwise_right_shift_(15).bitwise_not_()

    def _step(self) -> None:
        x, shifted = self._state, self._scratch
        x.bitwise_xor_(torch.bitwise_left_shift(x, 13, out=shifted))
        # The shift repeats the sign; the generator wants zeros there.
        torch.bitwise_right_shift(x, 7, out=shifted)
        x.bitwise_xor_(shifted.bitwise_and_(2**57 - 1))
        x.bitwise_xor_(torch.bitwise_left_shift(x, 17, out=shifted))
        self._used = 0


def integers_like(tensor: torch.Tensor) -> torch.dtype:
    """Return the integer type as wide as a tensor's numbers.

    Args:
        tensor: Of a 16-bit or 32-bit floating-point type.

    Returns:
        ``torch.int16`` or ``torch.int32``.
    """
    return torch.int16 if tensor.element_size() == 2 else torch.int32
