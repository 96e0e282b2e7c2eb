"""The tags of each row: read as lists, or made of stretches of characters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, cast

import numpy as np
import pandas as pd

from headstart.data._faults import row_numbers, some
from headstart.data.labels import missing_labels, spelling
from headstart.data.tables.classnames import item_names
from headstart.data.tokens.words import LISTS, Words, as_json, read_words
from headstart.errors import DataError, HeadstartError, raise_all
from headstart.tasks._tags import OUTSIDE
from headstart.tasks.spec import TaskSpec

Mask = np.typing.NDArray[np.bool_]
_NAMES = ("label", "entity_group", "type", "entity")
_FORM = '[{"start": 0, "end": 4, "label": "person"}]'


def marked_spans(frame: pd.DataFrame, task: TaskSpec) -> bool:
    """Tell whether labels are stretches of characters rather than tags.

    The first that there are any of is then a table, or inside a table under ``entities``.
    """
    for cell in map(_items, frame[task.label].tolist()):
        if isinstance(cell, LISTS) and len(cell):
            return isinstance(cell[0], dict | list | tuple | np.ndarray)
    return False


def no_tags(frame: pd.DataFrame, task: TaskSpec) -> Mask:
    """Tell which rows, (n,), have no cell of tags; an empty list is one."""
    cells = map(_items, frame[task.label].tolist())
    return np.array(
        [not isinstance(c, (*LISTS, dict)) and spelling(c) is None for c in cells], np.bool_
    )


def read_tags(frame: pd.DataFrame, task: TaskSpec, *, where: str) -> list[list[str]]:
    """Read the tags of each row by their names.

    Raises ``HeadstartError`` for all faults together, with row numbers.
    """
    faults: list[HeadstartError] = []
    missing = no_tags(frame, task)
    if missing.any():
        faults.append(missing_labels(missing, where))
    words, wrong = read_words(frame, task, where=where, keep_empty=True)
    if wrong:  # is told by who reads the words
        raise_all(faults)
        raise_all(wrong)
    cells = [_items(cell) for cell in frame[task.label].tolist()]
    if marked_spans(frame, task):
        return _of_spans(cells, words, task.label, where, missing, faults)
    names = dict(enumerate(item_names(frame, task.label) or task.labels or ()))
    rows: list[list[str]] = []
    odd: list[int] = []
    uneven: list[int] = []
    for place, (cell, row) in enumerate(zip(cells, words, strict=True)):
        tags = _tags(cell, names)
        odd += [place] if tags is None and not missing[place] else []
        uneven += [place] if tags is not None and len(tags) != len(row) else []
        rows.append(tags or [])
    if odd:
        found = f"{repr(frame[task.label].iloc[odd[0]])[:80]} in {row_numbers(odd)}"
        expected = f"a list of tags in every cell of column {task.label!r} of {where}"
        fix = f'Write a list such as ["O", "B-person"], or spans such as {_FORM}.'
        faults.append(DataError(expected, found, fix))
    if uneven:
        first = uneven[0]
        counts = f"{len(words[first])} words and {len(rows[first])} tags"
        faults.append(
            DataError(
                f"one tag for each word in column {task.label!r} of {where}",
                f"another number of tags than of words in {row_numbers(uneven)}, the first with "
                f"{counts}",
                "Correct these rows; texts are parted at spaces where tags stand beside them."
                if task.words == "spaces"
                else "Correct these rows; lists of words keep words and tags in step.",
            )
        )
    raise_all(faults)
    return rows


def _items(cell: Any) -> Any:
    """Return a cell's list; of a table that which stands under ``entities``."""
    found = as_json(cell)
    return found["entities"] if isinstance(found, dict) and "entities" in found else found


def _tags(cell: Any, names: dict[int, str]) -> list[str] | None:
    """Return the tags of a cell; ``None`` if it is no list of them."""
    if isinstance(cell, str):
        cell = cell.split()
    if not isinstance(cell, LISTS):
        return None
    found = [spelling(_named(item, names)) for item in cell]
    return None if None in found else [tag or "" for tag in found]


def _named(item: Any, names: dict[int, str]) -> Any:
    if isinstance(item, Integral) and not isinstance(item, bool):
        return names.get(int(item), item)
    return None if isinstance(item, dict | list | tuple | np.ndarray) else item


def _of_spans(
    cells: Sequence[Any],
    words: Sequence[Words],
    column: str,
    where: str,
    missing: Mask,
    faults: list[HeadstartError],
) -> list[list[str]]:
    """Turn stretches of characters into tags: B at the first word of each, I at the others."""
    wrong: defaultdict[str, list[int]] = defaultdict(list)
    shown: dict[str, str] = {}
    rows: list[list[str]] = []
    for place, (cell, row) in enumerate(zip(cells, words, strict=True)):

        def tell(fault: str, item: Any, place: int = place) -> None:
            if place not in wrong[fault]:
                wrong[fault].append(place)
            shown.setdefault(fault, repr(item)[:80])

        rows.append([OUTSIDE] * len(row))
        if not isinstance(cell, LISTS):
            if not missing[place]:
                tell("form", cell)
            continue
        read = [span for item in cell if (span := _span(item, row, tell)) is not None]
        _put(sorted(read), row, rows[-1], tell)
    for fault, (expected, fix) in _SPAN_FAULTS.items():
        if fault in wrong:
            found = f"{shown[fault]} first, in {row_numbers(wrong[fault])}"
            faults.append(DataError(f"{expected} in column {column!r} of {where}", found, fix))
    raise_all(faults)
    return rows


_SPAN_FAULTS = {
    "form": ("spans with start, end and label", f"Write them as {_FORM}."),
    "outside": (
        "spans inside their text, start before end",
        "Offsets count characters from 0, the end is one past the last.",
    ),
    "overlap": ("spans that do not overlap", "Keep one of them: a word has one tag."),
    "cut": (
        "spans of whole words",
        "Move start and end to the edges of words; each sign is a word by itself.",
    ),
    "blank": ("spans with a word in them", "Remove these spans."),
}


def _span(item: Any, row: Words, tell: Callable[[str, Any], None]) -> tuple[int, int, str] | None:
    """Read one span; what is wrong with it is told."""
    if isinstance(item, dict):
        label = next((item[name] for name in _NAMES if name in item), None)
        values = [item.get("start"), item.get("end"), label]
    else:
        values = list(item) if isinstance(item, LISTS) else []
    whole = len(values) == 3 and all(
        isinstance(v, Integral | float | np.floating) and float(v).is_integer() for v in values[:2]
    )
    name = spelling(values[2]) if whole else None
    if name is None or name == OUTSIDE:
        tell("form", item)
        return None
    start, end = (int(cast(Any, value)) for value in values[:2])
    if not 0 <= start < end <= len(row.text):
        tell("outside", item)
        return None
    return start, end, name


def _put(
    spans: Sequence[tuple[int, int, str]],
    row: Words,
    tags: list[str],
    tell: Callable[[str, Any], None],
) -> None:
    """Write the tags of sorted spans."""
    last = 0
    for start, end, name in spans:
        shown = {"start": start, "end": end, "label": name}
        if start < last:
            tell("overlap", shown)
        last = max(last, end)
        own = [i for i, at in enumerate(row.starts) if at < end and row.end(i) > start]
        if not own:
            tell("blank", shown)
        elif row.starts[own[0]] < start or row.end(own[-1]) > end:
            tell("cut", shown)
        for number, place in enumerate(own):
            tags[place] = f"{'I' if number else 'B'}-{name}"


def unknown_tags(
    rows: Sequence[Sequence[str]], known: Sequence[str], where: str
) -> list[HeadstartError]:
    """Return which tags are not known."""
    strange: defaultdict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        for tag in dict.fromkeys(row):
            if tag not in known:
                strange[tag].append(place)
    if not strange:
        return []
    told = (f"{tag!r} in {row_numbers(places)}" for tag, places in strange.items())
    fix = "Correct these tags; a model knows those of its training rows, or of a task file."
    return [DataError(f"the tags {some(map(repr, known))} in {where}", some(told), fix)]
