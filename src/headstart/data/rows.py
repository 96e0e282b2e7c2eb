"""A table and a task to rows: texts, labels and targets, checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.data._faults import no_column, row_numbers, some
from headstart.data.classnames import with_names
from headstart.data.labels import LabelReader, Labels
from headstart.data.spans import Place, find_spans, mark
from headstart.data.usable import is_empty
from headstart.errors import (
    ConfigError,
    DataError,
    HeadstartError,
    did_you_mean,
    gathering,
    raise_all,
)
from headstart.tasks.spec import TaskSpec

TextPair = tuple[str, str | None]
Target = tuple[int, int, int]
"""Which text (0 or 1) of the pair, first character, one past the last."""


@dataclass(frozen=True)
class Rows:
    """What a model is asked, and the answers.

    Args:
        texts: For each row one (first, second) pair per choice; a single pair where the task has
            no choices, its second ``None`` where there is one text only.
        labels: In the form of their kind of target, (n,) or (n, labels); ``None`` if not asked for.
        spans: For each row its targets, in the task's order; only where the model is given
            their vectors.
        choices: Pairs per row.
    """

    texts: list[tuple[TextPair, ...]]
    labels: Labels | None = None
    spans: list[tuple[Target, ...]] | None = None
    choices: int = 1

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: npt.NDArray[np.int64]) -> Rows:
        """Return some of the rows.

        Args:
            indices: Which, in the order they shall have.

        Returns:
            Those rows.
        """
        return Rows(
            [self.texts[i] for i in indices],
            None if self.labels is None else self.labels[indices],
            None if self.spans is None else [self.spans[i] for i in indices],
            self.choices,
        )


def build_rows(
    frame: pd.DataFrame,
    task: TaskSpec,
    reader: LabelReader | None,
    *,
    where: str,
    keep_empty: bool = False,
) -> Rows:
    """Make rows of a table.

    Args:
        frame: The table.
        task: Which columns mean what.
        reader: Reads the labels; ``None`` where they are not asked for and need not be there.
        where: Which rows, as messages shall call them: ``the training rows``.
        keep_empty: Whether a missing text is an empty one. It is a fault all the same where a
            target is looked for in it.

    Returns:
        The rows, in the table's order.

    Raises:
        HeadstartError: For all faults together: missing columns; empty texts, targets that are
            not in their text, values without a replacement, faulty labels, with row numbers.
    """
    faults = column_faults(frame, task, where=where, need_labels=reader is not None)
    if task.span_use == "vectors" and task.shape == "choice":
        fix = "Use span_use: mark, which works with every head."
        faults.append(ConfigError("span vectors in one text or a pair", "shape choice", fix))
    raise_all(faults)
    frame = with_names(frame, task.columns)
    spans = {span.column for span in task.spans}
    texts = {
        name: _read_text(
            frame, name, task.values.get(name), where, faults, keep_empty and name not in spans
        )
        for name in dict.fromkeys((*task.text, *task.choices))
    }
    found = [_read_span(frame, task, i, texts, where, faults) for i in range(len(task.spans))]
    answers = None
    with gathering(faults):
        answers = reader.read(frame, task, where=where) if reader else None
    raise_all(faults)
    targets = None
    if found and task.span_use == "vectors":
        segments = [task.text.index(span.column) for span in task.spans]
        targets = [
            tuple((segment, *place) for segment, place in zip(segments, row, strict=True))
            for row in zip(*found, strict=True)
        ]
    elif found:
        texts.update(_marked(task, texts, found))
    return Rows(_combine(task, texts), answers, targets, len(task.choices) or 1)


def column_faults(
    frame: pd.DataFrame, task: TaskSpec, *, where: str, need_labels: bool = True
) -> list[HeadstartError]:
    """Return which columns of a task a table lacks.

    Args:
        frame: The table.
        task: Which columns mean what.
        where: Which rows, for messages.
        need_labels: Whether the label column has to be there.

    Returns:
        One error for each; it suggests near names.
    """
    roles = {
        **dict.fromkeys(task.columns, "span"),
        **dict.fromkeys(task.choices, "choice"),
        **dict.fromkeys(task.text, "text"),
        **dict.fromkeys(task.answers if need_labels else (), "label"),
    }
    return [
        no_column(role, name, frame.columns, where)
        for name, role in roles.items()
        if name not in frame.columns
    ]


def _read_text(
    frame: pd.DataFrame,
    name: str,
    replacements: Mapping[str, str] | None,
    where: str,
    faults: list[HeadstartError],
    keep_empty: bool,
) -> list[str]:
    """Return a column's texts; what is wrong with them goes to ``faults``, and is empty text."""
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


def _read_span(
    frame: pd.DataFrame,
    task: TaskSpec,
    number: int,
    texts: Mapping[str, list[str]],
    where: str,
    faults: list[HeadstartError],
) -> list[Place]:
    span = task.spans[number]
    places, lost = find_spans(frame, span, texts[span.column], where=where)
    faults += lost
    return places


def _marked(
    task: TaskSpec, texts: Mapping[str, list[str]], found: Sequence[list[Place]]
) -> Iterator[tuple[str, list[str]]]:
    for column in dict.fromkeys(span.column for span in task.spans):
        own = [f for span, f in zip(task.spans, found, strict=True) if span.column == column]
        places = zip(*own, strict=True)
        yield column, [mark(*row) for row in zip(texts[column], places, strict=True)]


def _combine(task: TaskSpec, texts: Mapping[str, list[str]]) -> list[tuple[TextPair, ...]]:
    columns = [texts[name] for name in task.text]
    if task.shape == "single":
        return [((text, None),) for text in columns[0]]
    if task.shape == "pair":
        return [(pair,) for pair in zip(*columns, strict=True)]
    firsts = map(" ".join, zip(*columns, strict=True))
    seconds = zip(*(texts[name] for name in task.choices), strict=True)
    return [tuple((a, b) for b in several) for a, several in zip(firsts, seconds, strict=True)]
