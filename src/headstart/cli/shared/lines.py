"""Texts without a table: one a line, from standard input or a file."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from headstart.files.home import path_of

if TYPE_CHECKING:
    import pandas as pd

    from headstart.inference.predict import Classifier


def is_text_file(data: str) -> bool:
    """Return whether ``--data`` names a file of bare lines: ``.txt``, packed or not, and there."""
    from headstart.data.tables._files import suffix

    path = path_of(data)
    return path.is_file() and suffix(path) == ".txt"


def read_lines(classifier: Classifier, data: str, encoding: str | None) -> pd.DataFrame:
    """Read a text a line; two texts with a tab between where pairs are wanted.

    ``data`` is a file, or ``-`` for standard input. A classifier that does not say how many texts a
    row has reads single ones. Raises ``DataError`` if the model reads other columns too, or a line
    has too many or too few texts.
    """
    import pandas as pd

    from headstart.errors import DataError

    task = classifier.task
    columns = task.columns if task else ("text",)
    if task and (task.shape == "choice" or task.spans or len(columns) > 2):
        raise DataError(
            f"rows with the columns {', '.join(columns)}", "lines of text", "Give a file as --data."
        )
    if task is None:
        classifier.use_columns(text=columns)
    lines = _read_input(encoding) if data == "-" else _read_file(data, encoding)
    if not lines:
        raise DataError("lines of text on standard input", "none", "Write one text a line.")
    rows = [line.split("\t") if len(columns) == 2 else [line] for line in lines]
    wrong = next((n for n, row in enumerate(rows, 1) if len(row) != len(columns)), None)
    if wrong is not None:
        raise DataError(
            f"{' and '.join(columns)} with a tab between in every line",
            f"{len(rows[wrong - 1])} fields in line {wrong}",
            "Write first text, tab, second text.",
        )
    return pd.DataFrame(rows, columns=list(columns), dtype=str)


def _read_file(data: str, encoding: str | None) -> list[str]:
    from headstart.data.tables._text import read_text

    lines = read_text(path_of(data), encoding).split("\n")
    return [line.rstrip("\r") for line in (lines if lines[-1] else lines[:-1])]


def _read_input(encoding: str | None) -> list[str]:
    from headstart.data.tables._files import UTF8, likely_encoding
    from headstart.errors import DataError

    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding=encoding or UTF8, errors="strict")
    try:
        return [line.rstrip("\r\n") for line in sys.stdin]
    except UnicodeDecodeError as error:
        likely = likely_encoding(error.object) or "cp1251"
        raise DataError(
            f"{encoding or 'UTF-8'} text on standard input",
            f"byte 0x{error.object[error.start]:02x}",
            f"Name its encoding, for example by --encoding {likely}.",
        ) from None
