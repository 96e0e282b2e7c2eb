"""Cells of text columns: read, replaced, and marked where a target stands in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from headstart.data._faults import row_numbers, some
from headstart.data.tables.usable import is_empty
from headstart.data.tokens.spans import Place, find_spans, mark
from headstart.errors import DataError, HeadstartError, did_you_mean
from headstart.tasks.spec import TaskSpec


def read_column(
    frame: pd.DataFrame,
    name: str,
    replacements: Mapping[str, str] | None,
    where: str,
    faults: list[HeadstartError],
    keep_empty: bool,
) -> list[str]:
    """Return a column's texts; what is wrong with them goes to ``faults``, and is empty text.

    ``replacements`` are words for its raw values; with ``keep_empty`` a missing text is an empty
    one.
    """
    values = frame[name].tolist()
    cells = [_as_text(value) for value in values]
    wrong = [row for row, cell in enumerate(cells) if cell is None]
    if keep_empty:
        wrong = [row for row in wrong if not is_empty(values[row])]
    if wrong:
        odd = {type(v).__name__ for v in frame[name].iloc[wrong] if isinstance(v, Iterable)}
        found = f"a {' or '.join(sorted(odd))}" if odd - {"str"} else "empty or missing text"
        fix = "Fill in these cells with text, or leave the rows out by --empty-text drop (keep "
        fix += "reads them as empty)."
        if odd - {"str"}:
            fix = "Write one text into each of these cells."
        found = f"{found} in {row_numbers(wrong)}"
        faults.append(DataError(f"text in column {name!r} of every row of {where}", found, fix))
    texts = [cell or "" for cell in cells]
    return texts if replacements is None else _replace(texts, name, replacements, where, faults)


def _as_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value if value and not value.isspace() else None
    # JSON and Parquet may hold a column of answers such as 4 and 5 as numbers.
    number = isinstance(value, Real | np.number) and not isinstance(value, bool)
    return str(value) if number and not pd.isna(value) else None


def _replace(
    texts: Sequence[str],
    name: str,
    replacements: Mapping[str, str],
    where: str,
    faults: list[HeadstartError],
) -> list[str]:
    strange = [row for row, text in enumerate(texts) if text and text not in replacements]
    if strange:
        values = dict.fromkeys(texts[row] for row in strange)
        faults.append(
            DataError(
                f"one of {some(map(repr, replacements))} in column {name!r} of {where}",
                f"{some(map(repr, values))} in {row_numbers(strange)}",
                did_you_mean(next(iter(values)), replacements),
            )
        )
    return [replacements.get(text, "") for text in texts]


def read_span(
    frame: pd.DataFrame,
    task: TaskSpec,
    number: int,
    texts: Mapping[str, list[str]],
    where: str,
    faults: list[HeadstartError],
) -> list[Place]:
    """Find a task's target of a number in each row's text; what is wrong goes to ``faults``."""
    span = task.spans[number]
    places, lost = find_spans(frame, span, texts[span.column], where=where)
    faults += lost
    return places


def marked(
    task: TaskSpec, texts: Mapping[str, list[str]], found: Sequence[list[Place]]
) -> Iterator[tuple[str, list[str]]]:
    """Yield each column with targets, and its texts with marks around them."""
    for column in dict.fromkeys(span.column for span in task.spans):
        own = [f for span, f in zip(task.spans, found, strict=True) if span.column == column]
        places = zip(*own, strict=True)
        yield column, [mark(*row) for row in zip(texts[column], places, strict=True)]
