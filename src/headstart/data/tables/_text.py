"""CSV, TSV and JSON files to tables, strictly: what cannot be read is named by its line."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from headstart.data._faults import note
from headstart.data.tables._files import decode, read_bytes, suffix
from headstart.errors import DataError

Row = tuple[int, list[str]]  # the line on which a row begins (1-based), and its fields

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
_SPREADSHEET = re.compile(r'"?sep=.?"?\s*', re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_LINES_LOOKED_AT = 100
_BRACKETS = 200  # no text with fewer is nested deeply
_LONGEST_FIELD = 2**31 - 1  # csv's own limit of 128 KiB is less than a long document


def read_text(path: Path, encoding: str | None = None) -> str:
    """Read a file of text, plain or compressed, by default in UTF-8; line ends as they are.

    Raises ``DataError`` if it is empty, damaged, or in another encoding.
    """
    return decode(read_bytes(path), path, encoding)


def read_separated(path: Path, encoding: str | None = None) -> pd.DataFrame:
    """Read comma- or tab-separated values; every cell is text, and an empty cell is empty text.

    Raises ``DataError`` if a quote is not closed or a row has too many or too few fields.
    """
    text = read_text(path, encoding)
    # Not splitlines: it also ends lines at characters that are part of a text, such as U+2028.
    mark, rows = split_rows(path, lambda newline: io.StringIO(text, newline=newline))
    return told_separator(_table(path, rows), path, mark)


def split_rows(path: Path, lines: Callable[[str], Iterable[str]]) -> tuple[str, Iterator[Row]]:
    r"""Split lines into fields, which may be in double quotes; a quote inside them is doubled.

    Many tab-separated files quote nothing and hold stray quotes in their texts, others are quoted
    like CSV. If every line has as many tabs as the first, a line is a row, and only a field that is
    quoted properly as a whole loses its quotes. Else the file is read like CSV. A first line
    ``sep=;``, which spreadsheets write for one another, counts as empty. ``lines`` gives the lines
    from the first on; it is told where they end, as ``open`` is by ``newline``. Returned are what
    separates the columns, and the rows.
    """

    def filled(newline: str) -> Iterator[str]:
        for number, line in enumerate(lines(newline)):
            yield "\n" if not number and _SPREADSHEET.fullmatch(line) else line

    def plain() -> Iterator[tuple[int, str]]:
        stripped = (line.removesuffix("\n").removesuffix("\r") for line in filled("\n"))
        return ((number, line) for number, line in enumerate(stripped, 1) if line)

    mark = separator(filled(""), _usual(path))
    if mark != "\t" or len({line.count("\t") for _, line in plain()}) > 1:
        return mark, quoted_rows(path, filled(""), mark)
    return mark, ((n, [unquote(field) for field in line.split("\t")]) for n, line in plain())


def _usual(path: Path) -> str:
    return "\t" if suffix(path) == ".tsv" else ","


def separator(lines: Iterable[str], usual: str) -> str:
    """Return what separates the columns of a file.

    That is what its ending promises (``usual``) where the first line has no other separator; else,
    of those that it has, the one that parts the first few lines evenly, where the usual one does
    not.
    """
    few = list(islice((line for line in lines if line.strip("\r\n")), _LINES_LOOKED_AT))
    header = _QUOTED.sub("", few[0]).rstrip("\r\n") if few else ""
    there = sorted((mark for mark in _SEPARATORS if mark in header), key=header.count, reverse=True)
    if len(there) < 2:
        return there[0] if there else usual
    ranked = [usual, *there] if usual in there else there
    return next((mark for mark in ranked if _is_even(few, mark)), ranked[0])


def _is_even(lines: Sequence[str], mark: str) -> bool:
    fields = set()
    with contextlib.suppress(csv.Error):  # the last line may be the first of a long row
        for row in csv.reader(lines, delimiter=mark, strict=True):
            fields.add(len(row))
    return len(fields) == 1 or (mark == "\t" and len({line.count(mark) for line in lines}) == 1)


def told_separator(frame: pd.DataFrame, path: Path, mark: str) -> pd.DataFrame:
    """Note on a table that its file is separated otherwise than its ending promises."""
    if mark != _usual(path):
        note(frame, f"{path.name} is separated by {_SEPARATORS[mark]}, and was read so.")
    return frame


def read_json(path: Path, encoding: str | None = None) -> pd.DataFrame:
    """Read JSON objects: one a line, or all of them in an array.

    A row that lacks a key has ``None`` in its column. Raises ``DataError`` if the JSON is broken or
    a row is no object.
    """
    text = read_text(path, encoding)
    rows = _array(path, text) if text.lstrip().startswith("[") else _lines(path, text)
    for place, row in rows:
        if not isinstance(row, dict):
            found = f"{json.dumps(row)[:60]} in {path}, {place}"
            raise DataError("a JSON object for each row", found, 'Write {"column": value, ...}.')
    keys = dict.fromkeys(key for _, row in rows for key in row)
    try:
        return pd.DataFrame({key: column([row.get(key) for _, row in rows]) for key in keys})
    except UnicodeEncodeError as error:
        found = f"half of a surrogate pair ({error.object!a:.60}) in {path}"
        raise DataError("whole characters", found, "Remove or complete the escape.") from None


def quoted_rows(path: Path, lines: Iterable[str], delimiter: str) -> Iterator[Row]:
    """Split lines into fields that may be in double quotes, and may then hold line ends.

    Each row that is not empty comes with the line on which it begins. Raises ``DataError`` if a
    quote is not closed, or stands inside a field.
    """
    old_limit = csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    line = 1
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            "quotes that open and close around a whole field",
            f"{error} in the row that begins in line {line} of {path}",
            'Close the quote; a quote inside a quoted field is written twice: "".',
        ) from None
    finally:
        csv.field_size_limit(old_limit)


def unquote(field: str) -> str:
    """Take the quotes off a field that is quoted properly as a whole."""
    return field[1:-1].replace('""', '"') if _QUOTED.fullmatch(field) else field


def _table(path: Path, rows: Iterator[Row]) -> pd.DataFrame:
    _, header = next(rows, (1, []))
    body = list(rows)
    uneven = [(line, len(fields)) for line, fields in body if len(fields) != len(header)]
    if uneven:
        shown = ", ".join(f"{count} in line {line}" for line, count in uneven[:5])
        more = f" and {len(uneven) - 5} rows more" if len(uneven) > 5 else ""
        raise DataError(
            f"{len(header)} fields in every row, as in the first line of {path}",
            f"{shown}{more}",
            "Put a field that contains the separator in double quotes.",
        )
    columns = [fields for _, fields in body]
    return pd.DataFrame(columns, columns=column_names(header), dtype=str)


def column_names(header: Sequence[str]) -> pd.Index[str]:
    """Return the names of columns; of several without one the later ones are named by their place.

    Spreadsheets leave such columns where a cell beside the table once held something.
    """
    first = header.index("") if "" in header else -1
    return pd.Index([n or f"column {i + 1}" if i != first else n for i, n in enumerate(header)])


def parse_json(text: str) -> Any:
    """Parse JSON as strictly as the limits of Python allow.

    Raises ``ValueError`` if it is broken, nested too deeply, or has a number of too many digits.
    """
    try:
        value = json.loads(text)
        if text.count("[") + text.count("{") > _BRACKETS:
            json.dumps(value)  # what could just be read may still be too deep to be shown
    except RecursionError:
        raise ValueError("brackets nested too deeply") from None
    return value


def _array(path: Path, text: str) -> list[tuple[str, Any]]:
    try:
        return [(f"row {n}", row) for n, row in enumerate(parse_json(text), 1)]
    except ValueError as error:
        raise _broken(path, error) from None


def _lines(path: Path, text: str) -> list[tuple[str, Any]]:
    rows = []
    # Not splitlines: JSON strings may hold other line separators than the newline.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append((f"line {number}", parse_json(line)))
            except ValueError as error:
                raise _broken(path, error, number) from None
    return rows


def _broken(path: Path, error: ValueError, line: int | None = None) -> DataError:
    found, expected = f"{error} in {path}", "JSON objects, one a line or all in an array"
    if isinstance(error, json.JSONDecodeError):
        line = line or error.lineno
        found = f"{error.msg} in {path}, line {line}, column {error.colno}"
    elif "digits" in str(error):
        expected = f"numbers of at most {sys.get_int_max_str_digits()} digits"
        found = f"a longer one in {path}"
    if line and not isinstance(error, json.JSONDecodeError):
        found += f", line {line}"
    return DataError(expected, found, "Mend that line." if line else "Mend the file.")


def column(values: list[Any]) -> pd.Series[Any]:
    """Make a column of cells of any kind, ``None`` for none; whole numbers stay whole."""
    try:
        # With a gap, whole numbers would become floats, and the label 1 would read as 1.0.
        return pd.Series(values, dtype=object if None in values else None)
    except OverflowError:
        return pd.Series(values, dtype=object)
