"""Which of many tests that are alike ``make test`` runs; the others are marked ``all``."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

import pytest

ALL = pytest.mark.all


def spread(
    cases: Iterable[tuple[Any, ...]], turn: str = "", times: int = 2, keep: Collection[Any] = ()
) -> list[Any]:
    """Choose cases such that each value of each parameter still occurs.

    Args:
        cases: Values of all parameters, case by case.
        turn: Another word chooses other cases, so that tests of one list share out its pairs.
        times: How often each value has to occur, where there are as many cases with it.
        keep: Cases that are chosen in any case.

    Returns:
        All cases for ``parametrize``; those that were not chosen are marked ``all``.
    """
    given = list(cases)
    seen: Counter[tuple[int, Any]] = Counter()
    chosen = set()
    # A function's repr has its address, which differs from one worker to the next.
    told = [tuple(getattr(value, "__name__", value) for value in case) for case in given]
    order = sorted(range(len(given)), key=lambda n: zlib.crc32(repr((turn, told[n])).encode()))
    mixed = [given[n] for n in order]
    for case in sorted(mixed, key=lambda case: case not in keep):
        if case in keep or any(seen[place] < times for place in enumerate(case)):
            chosen.add(case)
            seen.update(enumerate(case))
    return [pytest.param(*case, marks=[] if case in chosen else [ALL]) for case in given]


def first(values: Iterable[Any], every: int) -> list[Any]:
    """Choose one of so many values, from the first one on; the others are marked ``all``."""
    return [pytest.param(v, marks=[ALL] if n % every else []) for n, v in enumerate(values)]


def leading(values: Iterable[Any], number: int) -> list[Any]:
    """Choose the first of a list whose most telling cases come first; mark the others ``all``."""
    cases = [v if isinstance(v, tuple) else (v,) for v in values]
    return [pytest.param(*case, marks=[ALL] if n >= number else []) for n, case in enumerate(cases)]


def chosen(params: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Return the cases of ``spread``, ``first`` or ``leading`` that ``make test`` runs."""
    return [tuple(param.values) for param in params if not param.marks]
