"""The labels of rows that may have several: from lists, joined names, or columns of 0 and 1."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.data._faults import no_column, row_numbers, some
from headstart.data.labels import missing_labels, spelling
from headstart.data.tables.classnames import item_names
from headstart.data.tokens.words import as_json
from headstart.errors import DataError, HeadstartError, did_you_mean, raise_all
from headstart.tasks.spec import TaskSpec
from headstart.untrusted import quoted

Mask = npt.NDArray[np.bool_]
_LISTS = (list, tuple, set, np.ndarray)
_TRUTH = {"0": False, "1": True, "False": False, "True": True}


def holds_lists(frame: pd.DataFrame, column: str) -> bool:
    """Tell whether the first cell of a column that is not empty is a list.

    Text that is a JSON list counts as one.
    """
    if column not in frame.columns:
        return False
    first = next((cell for cell in frame[column].tolist() if not _empty(cell)), None)
    return isinstance(first, _LISTS) or (isinstance(first, str) and _as_list(first) is not None)


def missing_lists(frame: pd.DataFrame, task: TaskSpec) -> Mask:
    """Tell which rows lack the list of their labels; an empty list is one.

    Between separators an empty cell is one too. The mask is (n,).
    """
    if task.label_separator:
        return np.zeros(len(frame), np.bool_)
    columns = [[_empty(cell) for cell in frame[name].tolist()] for name in task.answers]
    found: Mask = np.logical_or.reduce(np.array(columns, np.bool_))
    return found


def read_lists(frame: pd.DataFrame, task: TaskSpec, *, where: str) -> list[list[str]]:
    """Read the labels of each row by their names.

    A list may be empty. Raises ``HeadstartError`` for all faults together: no such column, cells
    that are no list, empty names in a list, a label twice in a row, cells of a column of 0 and 1
    that are neither.
    """
    absent = [name for name in task.answers if name not in frame.columns]
    raise_all(no_column("label", name, frame.columns, where) for name in absent)
    if task.label_columns:
        return _from_columns(frame, task.label_columns, where)
    faults: list[HeadstartError] = []
    missing = missing_lists(frame, task)
    if missing.any():
        faults.append(missing_labels(missing, where))
    names = dict(enumerate(item_names(frame, task.label) or ()))
    cells = [_items(cell, task.label_separator) for cell in frame[task.label].tolist()]
    odd = np.array([cell is None for cell in cells], np.bool_) & ~missing
    if odd.any():
        example = frame[task.label].iloc[int(np.flatnonzero(odd)[0])]
        faults.append(
            DataError(
                f"a list of labels in every cell of column {task.label!r} of {where}",
                f"{some([repr(example)])} in {row_numbers(odd)}",
                'Write a list such as ["joy", "love"], or names with --label-separator between.',
            )
        )
    spelled = [[spelling(names.get(item, item)) for item in cell or ()] for cell in cells]
    faults += _faults_in(spelled, where)
    raise_all(faults)
    return [[name for name in row if name is not None] for row in spelled]


def to_matrix(
    rows: Sequence[Sequence[str]],
    names: Sequence[str],
    aliases: Mapping[str, int],
    *,
    where: str,
) -> Mask:
    """Turn lists of labels into a table of which row has which.

    ``rows`` are from ``read_lists``, ``aliases`` further spellings and the column of each; the
    table is (n, labels). Raises ``DataError`` if a label is unknown; all are told.
    """
    known = {**aliases, **{spelling(name) or name: index for index, name in enumerate(names)}}
    matrix = np.zeros((len(rows), len(names)), np.bool_)
    unknown: defaultdict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        for name in row:
            if name in known:
                matrix[place, known[name]] = True
            else:
                unknown[name].append(place)
    if unknown:
        told = (f"{quoted(name)} in {row_numbers(places)}" for name, places in unknown.items())
        hint = did_you_mean(next(iter(unknown)), names)
        fix = "Correct these labels or remove them; a model knows the labels of its training rows."
        raise DataError(
            f"the labels {some(map(quoted, names))} in {where}",
            some(told),
            f"{hint} {fix}" if hint.startswith("Did") else fix,
        )
    return matrix


def require_joined(frame: pd.DataFrame, task: TaskSpec, where: str) -> None:
    """Refuse a separator for a column of lists, which need none.

    Raises ``DataError`` if a cell is a list.
    """
    if not task.label_separator or task.label not in frame.columns:
        return
    cells = frame[task.label].tolist()
    lists = [
        isinstance(c, _LISTS) or (isinstance(c, str) and _as_list(c) is not None) for c in cells
    ]
    if any(lists):
        raise DataError(
            f"names with {task.label_separator!r} between in column {task.label!r} of {where}",
            f"a list in {row_numbers(np.array(lists))}",
            "Drop --label-separator: lists need none.",
        )


def _items(cell: Any, separator: str | None) -> list[Any] | None:
    """Return what a cell lists; ``None`` if it is no list."""
    if isinstance(cell, _LISTS):
        return list(cell)
    if separator:
        parts = [] if _empty(cell) else str(cell).split(separator)
        return [part for part in parts if part.strip()]
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        return _as_list(cell)
    return None if _empty(cell) or isinstance(cell, dict) else [cell]


def _as_list(cell: str) -> list[Any] | None:
    found = as_json(cell)
    return found if isinstance(found, list) else None


def _empty(cell: Any) -> bool:
    return not isinstance(cell, (*_LISTS, dict)) and spelling(cell) is None


def _faults_in(rows: Iterable[Sequence[str | None]], where: str) -> list[HeadstartError]:
    """Return what is wrong inside the lists."""
    blank: list[int] = []
    twice: defaultdict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        for name, count in Counter(row).items():
            if name is None:
                blank.append(place)
            elif count > 1:
                twice[name].append(place)
    faults: list[HeadstartError] = []
    if blank:
        found = f"an empty one in {row_numbers(blank)}"
        faults.append(DataError(f"a name for every label in {where}", found, "Take it out."))
    if twice:
        told = (f"{quoted(name)} twice in {row_numbers(rows)}" for name, rows in twice.items())
        fix = "Take out one of the two."
        faults.append(DataError(f"each label once a row in {where}", some(told), fix))
    return faults


def _from_columns(frame: pd.DataFrame, columns: Sequence[str], where: str) -> list[list[str]]:
    """Read one column of 0 and 1 for each label."""
    faults: list[HeadstartError] = []
    found = []
    for name in columns:
        cells = [spelling(cell) for cell in frame[name].tolist()]
        missing = np.array([cell is None for cell in cells], np.bool_)
        odd = np.array([cell not in _TRUTH for cell in cells], np.bool_) & ~missing
        if missing.any():
            faults.append(missing_labels(missing, where))
        if odd.any():
            values = dict.fromkeys(repr(cells[place]) for place in np.flatnonzero(odd))
            told = f"{some(values)} in {row_numbers(odd)}"
            expected = f"0 or 1 in column {name!r} of {where}"
            faults.append(DataError(expected, told, "Write 1 where the label is there, else 0."))
        found.append([_TRUTH.get(cell or "", False) for cell in cells])
    raise_all(faults)
    rows = zip(*found, strict=True)
    return [[name for name, there in zip(columns, row, strict=True) if there] for row in rows]
