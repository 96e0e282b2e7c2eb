"""Targets inside a text: finding them, and marking them so that any model sees them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd

from headstart.data._faults import row_numbers
from headstart.errors import DataError, HeadstartError
from headstart.tasks.spec import Span

Place = tuple[int, int]
"""First character and one past the last."""

MARKS = ("*", "#", "$", "@", "%", "+", "=", "~")


def mark(text: str, places: Sequence[Place]) -> str:
    """Put marks around targets: ``the * first * and the # second #``.

    The marks are those of Raffel et al. 2020 (arXiv 1910.10683, WSC): characters of plain text that
    every tokenizer knows, a different one for each target so that two can be told apart. The space
    between keeps the tokens of the target what they are elsewhere. Targets come in the order of
    their marks; they may touch, nest or cross.
    """
    inserts = []
    for number, (start, end) in enumerate(places):
        sign = MARKS[number % len(MARKS)]
        # At one place: first what closes, inner before outer; then what opens, outer before inner.
        inserts.append((start, 1, -end, number, f"{sign} "))
        inserts.append((end, 0, -start, -number, f" {sign}"))
    parts, done = [], 0
    for place, *_, sign in sorted(inserts):
        parts += [text[done:place], sign]
        done = place
    return "".join([*parts, text[done:]])


def find_spans(
    frame: pd.DataFrame, span: Span, texts: Sequence[str], *, where: str
) -> tuple[list[Place], list[HeadstartError]]:
    """Find a target in each row.

    The places are (n,), ``(0, 0)`` where there is none, and there is at most one fault. An empty
    text is passed over.
    """
    finder, names = _finder(span)
    cells = zip(*(frame[name].tolist() for name in names), strict=True)
    found = [finder(text, *row) if text else (0, 0) for text, row in zip(texts, cells, strict=True)]
    lost = [row for row, place in enumerate(found) if place is None]
    faults: list[HeadstartError] = []
    if lost:
        values = ", ".join(f"{name} = {frame[name].iloc[lost[0]]!r}" for name in names)
        faults.append(
            DataError(
                f"the target of columns {', '.join(names)} inside {span.column!r} of {where}",
                f"{row_numbers(lost)} without it, the first with {values}",
                "Correct these cells; offsets count characters from 0, the end is one past the "
                "last; words are counted from 0 and separated by spaces.",
            )
        )
    return [place or (0, 0) for place in found], faults


def _finder(span: Span) -> tuple[Callable[..., Place | None], list[str]]:
    if span.start is not None and span.end is not None:
        return _by_offsets, [span.start, span.end]
    names = [name for name in (span.text, span.word_index) if name is not None]
    return (_by_word if span.word_index is not None else _by_text), names


def _by_offsets(text: str, start: Any, end: Any) -> Place | None:
    first, last = _whole(start), _whole(end)
    if first is None or last is None or not 0 <= first < last <= len(text):
        return None
    return (first, last) if text[first:last].strip() else None


def _by_text(text: str, words: Any) -> Place | None:
    return next((place for places in _occurrences(text, words) for place in places), None)


def _by_word(text: str, words: Any, index: Any) -> Place | None:
    """Take the occurrence nearest to the word of that index, since punctuation may shift it."""
    number = _whole(index)
    starts = [match.start() for match in re.finditer(r"\S+", text)]
    if number is None or not 0 <= number < len(starts):
        return None
    places = next((places for places in _occurrences(text, words, cased=False) if places), [])
    return min(places, key=lambda place: abs(place[0] - starts[number]), default=None)


def _occurrences(text: str, words: Any, *, cased: bool = True) -> Iterator[list[Place]]:
    """Yield the places of some words: as whole words in their own case, in any case, as a part."""
    if not isinstance(words, str) or not words.strip():
        return
    pattern = r"\s+".join(map(re.escape, words.split()))
    whole = rf"(?<!\w){pattern}(?!\w)"
    if cased:
        yield [match.span() for match in re.finditer(whole, text)]
    yield [match.span() for match in re.finditer(whole, text, re.IGNORECASE)]
    yield [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]


def _whole(value: Any) -> int | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() else None
