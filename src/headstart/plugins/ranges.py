"""The values that knobs accept: in words, and as a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Range = tuple[str, Callable[[Any], bool]]
ABOVE_0: Range = ("above 0", lambda value: value > 0)
ONE_OR_MORE: Range = ("1 or more", lambda value: value >= 1)
NOT_NEGATIVE: Range = ("0 or more", lambda value: value >= 0)
UP_TO_1: Range = ("above 0 and up to 1", lambda value: 0 < value <= 1)
A_SHARE: Range = ("from 0 to 1", lambda value: 0 <= value <= 1)
A_RATE: Range = ("from 0 to below 1", lambda value: 0 <= value < 1)
