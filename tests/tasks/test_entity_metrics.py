"""Entities of tags against ``seqeval``, whose results are written down here."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.tasks._tags import (
    breaks,
    entities,
    entity_f1,
    entity_precision,
    entity_recall,
    scheme_of,
)

# seqeval 1.2.2, get_entities (whose ends are the last word, not one past it).
FOUND = [
    (
        "S-X B-X E-X O S-Y S-X E-X",
        [("X", 0, 0), ("X", 1, 2), ("Y", 4, 4), ("X", 5, 5), ("X", 6, 6)],
    ),
    (
        "E-Y O I-Y O I-X E-X I-X B-Y",
        [("Y", 0, 0), ("Y", 2, 2), ("X", 4, 5), ("X", 6, 6), ("Y", 7, 7)],
    ),
    (
        "B-Y E-Y S-X E-Y O O I-Y O S-Y",
        [("Y", 0, 1), ("X", 2, 2), ("Y", 3, 3), ("Y", 6, 6), ("Y", 8, 8)],
    ),
    (
        "O E-X B-X O B-X B-Y S-X O",
        [("X", 1, 1), ("X", 2, 2), ("X", 4, 4), ("Y", 5, 5), ("X", 6, 6)],
    ),
    (
        "B-X O S-Y E-Y I-Y E-Y B-Y I-Y O I-Y I-Y",
        [("X", 0, 0), ("Y", 2, 2), ("Y", 3, 3), ("Y", 4, 5), ("Y", 6, 7), ("Y", 9, 10)],
    ),
]
TRUE = """O I-X B-Y O O I-X|O B-Y B-X I-Y O I-X|I-Y O I-X I-X B-X O|O B-X O B-Y I-X O|
O I-X I-X I-X O O|O B-X O B-Y O B-X"""
TOLD = """B-Y B-X B-Y O O I-X|O B-Y B-X O O I-X|I-Y I-Y I-X I-X B-X O|O O O B-Y O O|
O I-X I-X I-X O O|O B-Y O B-Y O B-X"""


def rows(text: str) -> np.ndarray:
    found = [row.split() for row in text.split("|")]
    made = np.empty(len(found), object)
    made[:] = found
    return made


@pytest.mark.parametrize(("tags", "wanted"), FOUND)
def test_entities_are_those_of_seqeval(tags: str, wanted: list[tuple[str, int, int]]) -> None:
    assert entities(tags.split()) == [(kind, first, last + 1) for kind, first, last in wanted]


def test_metrics_are_those_of_seqeval() -> None:
    true, told = rows(TRUE), rows(TOLD)
    assert entity_f1(true, told) == pytest.approx(0.75)
    assert entity_precision(true, told) == pytest.approx(0.8)
    assert entity_recall(true, told) == pytest.approx(0.7058823529411765)


def test_an_entity_does_not_go_on_in_the_next_row() -> None:
    assert entity_f1(rows("B-X|I-X"), rows("B-X|I-X")) == 1
    assert entity_f1(rows("B-X|I-X"), rows("B-X|O")) == pytest.approx(2 / 3)


def test_nothing_predicted_or_nothing_there_is_no_division_by_zero() -> None:
    nothing, one = rows("O O"), rows("B-X O")
    assert entity_f1(one, nothing) == entity_precision(one, nothing) == 0
    assert entity_f1(nothing, nothing) == entity_recall(nothing, one) == 0


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("O B-X I-X|B-X B-X O", "IOB2"),
        ("O I-X I-X|I-X B-X O", "IOB1"),
        ("O B-X E-X|S-X O", "IOBES"),
        ("O B-X L-X|U-X O", "IOBES"),
        ("NOUN VERB", None),
        ("O O", None),
    ],
)
def test_the_scheme_is_told_from_the_tags(text: str, scheme: str | None) -> None:
    assert scheme_of(rows(text)) == scheme


def test_tags_that_break_their_scheme_are_found() -> None:
    assert breaks(["O", "I-X", "I-X", "B-Y", "I-X"], "IOB2") == [1, 4]
    assert breaks(["I-X", "B-X", "O", "B-X"], "IOB1") == [3]
    assert breaks(["B-X", "O", "E-X", "S-X", "B-X", "E-X"], "IOBES") == [0, 2]
    assert breaks(["B-X", "L-X", "U-X"], "IOBES") == []
