from __future__ import annotations

import pandas as pd
import pytest

from headstart.data.tokens.spans import find_spans, mark
from headstart.errors import DataError
from headstart.tasks.spec import Span

OFFSETS = Span("text", start="from", end="to")
TEXT = Span("text", text="word")
INDEX = Span("text", text="word", word_index="index")


@pytest.mark.parametrize(
    ("text", "places", "marked"),
    [
        ("the dog ran.", [(4, 7)], "the * dog * ran."),
        ("the dog saw him.", [(4, 7), (12, 15)], "the * dog * saw # him #."),
        ("the dog saw him.", [(12, 15), (4, 7)], "the # dog # saw * him *."),
        ("one two", [(0, 7), (0, 3)], "* # one # two *"),
        ("one two", [(4, 7), (0, 7)], "# one * two * #"),
        ("ab", [(0, 1), (1, 2)], "* a *# b #"),
        ("one", [(0, 3), (0, 3)], "* # one # *"),
        ("one", [], "one"),
    ],
)
def test_marks_stand_around_targets(text: str, places: list[tuple[int, int]], marked: str) -> None:
    assert mark(text, places) == marked


def find(span: Span, text: str, **cells: object) -> tuple[int, int] | None:
    frame = pd.DataFrame({name: [cell] for name, cell in cells.items()})
    places, faults = find_spans(frame, span, [text], where="training")
    assert len(faults) == (places == [(0, 0)])
    return None if faults else places[0]


@pytest.mark.parametrize(("start", "end"), [(4, 7), ("4", "7"), (4.0, "7.0")])
def test_offsets(start: object, end: object) -> None:
    assert find(OFFSETS, "the dog", **{"from": start, "to": end}) == (4, 7)


@pytest.mark.parametrize(
    ("start", "end"), [(4, 4), (5, 4), (-1, 3), (4, 8), ("x", 7), (None, 7), (1.5, 7), (3, 4)]
)
def test_faulty_offsets(start: object, end: object) -> None:
    assert find(OFFSETS, "the dog", **{"from": start, "to": end}) is None


@pytest.mark.parametrize(
    ("text", "word", "place"),
    [
        ("then he", "he", (5, 7)),
        ("Dog dog", "dog", (4, 7)),
        ("Dog", "dog", (0, 3)),
        ("dogs", "dog", (0, 3)),
        ("the  big\ndog", "big dog", (5, 12)),
        ("what?!", "?", (4, 5)),
        ("cat", "dog", None),
        ("cat", "", None),
        ("cat", None, None),
    ],
)
def test_first_occurrence(text: str, word: object, place: tuple[int, int] | None) -> None:
    assert find(TEXT, text, word=word) == place


@pytest.mark.parametrize(
    ("text", "word", "index", "place"),
    [
        ("he saw him , he ran", "he", 4, (13, 15)),
        ('he said " he ran', "he", "3", (10, 12)),
        ('he said "he" ran', "he", 2, (9, 11)),
        ("He saw he", "he", 0, (0, 2)),
        ("he said that he ran", "he", 2, (13, 15)),
        ("he", "he", 1, None),
        ("he", "he", -1, None),
        ("he", "he", None, None),
        ("he", "she", 0, None),
    ],
)
def test_word_index(text: str, word: str, index: object, place: tuple[int, int] | None) -> None:
    assert find(INDEX, text, word=word, index=index) == place


def test_lost_targets_are_told_by_row() -> None:
    frame = pd.DataFrame({"word": ["dog", "cat", "cow", "ox"]})
    texts = ["a dog", "a dog", "", "a dog"]
    places, faults = find_spans(frame, TEXT, texts, where="training")
    assert places == [(2, 5), (0, 0), (0, 0), (0, 0)]
    assert isinstance(faults[0], DataError)
    assert "2 rows (2, 4) without it, the first with word = 'cat'" in str(faults[0])
