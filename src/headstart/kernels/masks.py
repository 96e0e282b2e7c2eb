"""Random masks for dropout, many numbers at a time.

Torch draws one Bernoulli number after the other from a Mersenne twister, which takes longer than
the matrix products around it. Here additive lagged Fibonacci generators (Knuth, The Art of
Computer Programming 2, 3.2.2) make 32-bit words with one addition each, and each half of a word
decides for one element.

Several such generators run side by side, each for its own part of a mask. Torch gives the first
part of an array to the first core and the last to the last, so a core meets only numbers that it
has made itself; to fetch them from another core takes ten times as long as to make them.

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
LONG, SHORT = 19937, 9842
"""The lags: x[n] = x[n - LONG] + x[n - SHORT] mod 2**32. The trinomial is primitive (Kurita and
Matsumoto 1991), so even the lowest bit has the period 2**19937 - 1."""
STREAMS = 16
"""Generators side by side."""


def rounded_rate(rate: float) -> tuple[int, float]:
    """Round a dropout rate, in [0, 1), to what can be drawn.

    How many of the ``LEVELS`` numbers drop an element, and the factor for what is kept.
    """
    dropped = min(round(rate * LEVELS), LEVELS - 1)
    return dropped, LEVELS / (LEVELS - dropped)


class Randomness:
    """A stream of random numbers, of which the same seed gives the same."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._words: torch.Tensor | None = None
        self._used = 0

    def keep_mask(self, shape: Sequence[int], dropped: int) -> torch.Tensor:
        """Draw an int16 mask to combine with an element's bits: -1 (all set) keeps it, 0 drops it.

        ``dropped`` is as from ``rounded_rate``, at least 1.
        """
        size = math.prod(shape)
        border = LEVELS // 2 - dropped  # numbers go from -LEVELS / 2; those below it keep
        mask = self._clamped(math.ceil(size / STREAMS), border).sub_(border)
        return mask.view(shape) if mask.numel() == size else mask.view(-1)[:size].view(shape)

    def _clamped(self, width: int, border: int) -> torch.Tensor:
        """Return unused numbers of each stream, (STREAMS, width), each as border or one less."""
        fresh = self._numbers(width)
        if fresh.shape[1] == width:
            return torch.clamp(fresh, border - 1, border)
        found, at = torch.empty(STREAMS, width, dtype=torch.int16), fresh.shape[1]
        torch.clamp(fresh, border - 1, border, out=found[:, :at])
        while at < width:
            fresh = self._numbers(width - at)
            torch.clamp(fresh, border - 1, border, out=found[:, at : at + fresh.shape[1]])
            at += fresh.shape[1]
        return found

    def _numbers(self, most: int) -> torch.Tensor:
        """Return up to so many unused numbers of each stream, (STREAMS, n), as int16."""
        if self._words is None:
            # A generator of another kind makes the first words.
            first = torch.from_numpy(SFC64(self._seed).random_raw(STREAMS * LONG // 2 + 1))
            self._words = first.view(torch.int32)[: STREAMS * LONG].view(STREAMS, LONG)
            self._halves = self._words.view(torch.int16)
        elif self._used == 2 * LONG:
            self._refill(self._words)
        start, self._used = self._used, min(2 * LONG, self._used + most)
        return self._halves[:, start : self._used]

    def _refill(self, x: torch.Tensor) -> None:
        overlap = LONG - SHORT
        x[:, :SHORT].add_(x[:, overlap:])
        x[:, SHORT : 2 * SHORT].add_(x[:, :SHORT])
        x[:, 2 * SHORT :].add_(x[:, SHORT:overlap])
        self._used = 0


def integers_like(tensor: torch.Tensor) -> torch.dtype:
    """Return ``torch.int16`` or ``torch.int32``, as wide as a tensor's floating-point numbers."""
    return torch.int16 if tensor.element_size() == 2 else torch.int32
