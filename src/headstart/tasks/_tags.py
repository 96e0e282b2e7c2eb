"""Tags of words: their scheme, the entities that they mark, and the metrics of those.

An entity is read as the CoNLL evaluation reads it, and ``seqeval`` after it: leniently, so that
each sequence of tags has a meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Scheme = Literal["IOB2", "IOB1", "IOBES"]
Entity = tuple[str, int, int]
"""Its type, its first word, one past its last."""
Array = npt.NDArray[Any]
OUTSIDE = "O"
_MARKED = re.compile(r"([BIESLU])-(.+)", re.DOTALL)
_LETTERS = {"L": "E", "U": "S"}  # BILOU's names


def read_tag(tag: str) -> tuple[str, str]:
    """Return a tag's letter and type, as ``B`` and ``person``; ``O`` and nothing outside.

    A tag without letter, such as a part of speech, continues one of the same name before it.
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    found = _MARKED.fullmatch(tag)
    return (_LETTERS.get(found[1], found[1]), found[2]) if found else ("I", tag)


def entities(tags: Sequence[str]) -> list[Entity]:
    """Find the entities that the tags of a row mark.

    One begins at B and S, at another type, and at I or E behind O, E or S; it ends where the next
    begins, at O, and behind E and S.
    """
    found: list[Entity] = []
    begin, kind, before = 0, "", OUTSIDE
    for place, tag in enumerate([*tags, OUTSIDE]):
        letter, own = read_tag(tag)
        starts = letter in "BS" or own != kind or before in "ESO"
        if kind and (starts or letter == OUTSIDE):
            found.append((kind, begin, place))
            kind = ""
        if letter != OUTSIDE and starts:
            begin, kind = place, own
        before = letter
    return found


def scheme_of(rows: Iterable[Sequence[str]]) -> Scheme | None:
    """Infer the scheme by which tags mark entities.

    ``IOBES`` where an E or S (or L or U) stands among them; of B, I and O the scheme that fewer
    entities break; ``None`` where some tags have no letter, as parts of speech.
    """
    rows = list(rows)
    kinds = {tag for row in rows for tag in row} - {OUTSIDE}
    if not kinds or not all(_MARKED.fullmatch(tag) for tag in kinds):
        return None
    letters = {read_tag(tag)[0] for tag in kinds}
    if letters & {"E", "S"}:
        return "IOBES"
    wrong = {name: sum(len(breaks(row, name)) for row in rows) for name in ("IOB2", "IOB1")}
    return "IOB1" if wrong["IOB1"] < wrong["IOB2"] else "IOB2"


def breaks(tags: Sequence[str], scheme: Scheme) -> list[int]:
    """Find the tags that break a scheme.

    In ``IOB2`` an entity begins with B; in ``IOB1`` with I, and with B only behind one of the same
    type; in ``IOBES`` with B, ends with E, and is S where it is one word. Returned are the tags'
    places.
    """
    read = [(OUTSIDE, ""), *map(read_tag, tags), (OUTSIDE, "")]
    found = []
    for place in range(1, len(read) - 1):
        (before, earlier), (letter, kind), (after, later) = read[place - 1 : place + 2]
        inside = earlier == kind and before in "BI"
        goes_on = later == kind and after in "IE"
        if scheme == "IOB1":
            wrong = letter == "B" and not inside
        elif scheme == "IOB2":
            wrong = letter == "I" and not inside
        else:
            wrong = (letter in "IE" and not inside) or (letter in "BI" and not goes_on)
        if wrong:
            found.append(place - 1)
    return found


def counts(references: Array, predictions: Array) -> npt.NDArray[np.int64]:
    """Count the entities of each row of tags: those that are right, predicted, true, (n, 3)."""
    both = zip(references, predictions, strict=True)
    pairs = ((set(entities(true)), set(entities(told))) for true, told in both)
    found = [(len(true & told), len(told), len(true)) for true, told in pairs]
    return np.array(found, np.int64).reshape(-1, 3)


def entity_precision(references: Array, predictions: Array) -> float:
    """Return the share of predicted entities that are right; 0 where none is predicted."""
    right, told, _ = counts(references, predictions).sum(axis=0).tolist()
    return right / told if told else 0.0


def entity_recall(references: Array, predictions: Array) -> float:
    """Return the share of true entities that are found; 0 where there is none."""
    right, _, true = counts(references, predictions).sum(axis=0).tolist()
    return right / true if true else 0.0


def entity_f1(references: Array, predictions: Array) -> float:
    """Return the harmonic mean of both, over all entities together."""
    right, told, true = counts(references, predictions).sum(axis=0).tolist()
    return 2 * right / (told + true) if told + true else 0.0
