"""Rows of words: from lists, from text with spaces between them, or found in a text."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from headstart.data._faults import row_numbers
from headstart.data.tables.usable import is_empty
from headstart.errors import DataError, HeadstartError
from headstart.tasks.spec import TaskSpec

_WORD = re.compile(r"\w+|[^\w\s]")
LISTS = (list, tuple, np.ndarray)


@dataclass(frozen=True)
class Words:
    """The words of a row.

    Args:
        words: The words in order.
        starts: Where each begins in the text.
        text: The text; of a list the words with spaces between.
    """

    words: tuple[str, ...]
    starts: tuple[int, ...]
    text: str

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def of_list(cls, words: list[str]) -> Words:
        """Make a row of a list."""
        lengths = np.array([0, *(len(word) + 1 for word in words[:-1])])
        starts = np.cumsum(lengths)[: len(words)].tolist()
        return cls(tuple(words), tuple(starts), " ".join(words))

    @classmethod
    def of_text(cls, text: str) -> Words:
        """Find the words of a text: runs of letters and digits, and each other sign by itself."""
        found = list(_WORD.finditer(text))
        return cls(tuple(m.group() for m in found), tuple(m.start() for m in found), text)

    def end(self, place: int) -> int:
        """Return where a word ends in the text: one past its last character."""
        return self.starts[place] + len(self.words[place])


def as_json(cell: Any) -> Any:
    """Return the list or table that a cell of text holds as JSON; any other cell as it is."""
    if not isinstance(cell, str) or not cell.lstrip().startswith(("[", "{")):
        return cell
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        return cell
    return found if isinstance(found, list | dict) else cell


def without_words(frame: pd.DataFrame, column: str) -> list[bool]:
    """Tell which cells of a column are empty, or lists without words."""
    cells = map(as_json, frame[column].tolist())
    return [len(cell) == 0 if isinstance(cell, LISTS) else is_empty(cell) for cell in cells]


def read_words(
    frame: pd.DataFrame, task: TaskSpec, *, where: str, keep_empty: bool
) -> tuple[list[Words], list[HeadstartError]]:
    """Read the words of each row, and what is wrong with them.

    With ``keep_empty``, rows without words are taken as they are.
    """
    column = task.text[0]
    cells = frame[column].tolist()
    rows = [_words(as_json(cell), task.words) for cell in cells]
    empty = without_words(frame, column)
    faults: list[HeadstartError] = []
    if any(empty) and not keep_empty:
        faults.append(
            DataError(
                f"words in column {column!r} of every row of {where}",
                f"none (an empty list or cell) in {row_numbers(np.array(empty))}",
                "Fill in these cells, or leave the rows out by --empty-text drop.",
            )
        )
    odd = np.array([row is None for row in rows], np.bool_) & ~np.array(empty, np.bool_)
    if odd.any():
        example = repr(cells[int(np.flatnonzero(odd)[0])])[:80]
        faults.append(
            DataError(
                f"a list of words, or a text, in column {column!r} of every row of {where}",
                f"{example} in {row_numbers(odd)}",
                'Write a list such as ["New", "York"], each word once as text.',
            )
        )
    blank = [any(not word.strip() for word in row.words) if row else False for row in rows]
    if any(blank):
        faults.append(
            DataError(
                f"words that are not empty in column {column!r} of {where}",
                f"an empty word in {row_numbers(np.array(blank))}",
                "Take these words and their tags out of the lists.",
            )
        )
    return [row or Words((), (), "") for row in rows], faults


def _words(cell: Any, how: str) -> Words | None:
    if isinstance(cell, LISTS):
        words = [_word(item) for item in cell]
        return None if None in words else Words.of_list([word or "" for word in words])
    if not isinstance(cell, str):
        return None
    return Words.of_list(cell.split()) if how == "spaces" else Words.of_text(cell)


def _word(item: Any) -> str | None:
    """Return a word; JSON may hold a number among them."""
    if isinstance(item, str):
        return item
    number = isinstance(item, int | float | np.number) and not isinstance(item, bool)
    return str(item) if number and not pd.isna(item) else None
