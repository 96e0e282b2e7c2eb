"""CSV, TSV and JSON files to tables, strictly: what cannot be read is named by its line."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from headstart.errors import DataError

Row = tuple[int, list[str]]  # the line on which a row begins (1-based), and its fields

_SEPARATORS = (";", "\t", "|", ",")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_LONGEST_FIELD = 2**31 - 1  # csv's own limit of 128 KiB is less than a long document


def read_text(path: Path) -> str:
    """Read a UTF-8 file, with or without byte-order mark, plain or gzip-compressed.

    Args:
        path: The file; compressed if its name ends in ``.gz``.

    Returns:
        Its text, line ends as they are.

    Raises:
        DataError: If it is empty, not UTF-8, damaged, or holds NUL bytes, which no text has.
    """
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError("a readable file", f"{path}: {reason}", "Check the file.") from None
    mark = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    if not data[mark:].strip():
        raise DataError("a file with rows", f"an empty file: {path}", "Check the path.")
    try:
        text = data[mark:].decode("utf-8")
    except UnicodeDecodeError as error:
        raise _wrong_encoding(path, data, error.start + mark) from None
    if "\0" in text:
        raise _wrong_encoding(path, data, data.index(b"\0"))
    return text


def read_csv(path: Path) -> pd.DataFrame:
    """Read comma-separated values; every cell is text, and an empty cell is empty text.

    Args:
        path: The file. Fields may be in double quotes; a quote inside them is doubled.

    Returns:
        One column of text for each name in the first line.

    Raises:
        DataError: If a quote is not closed or a row has too many or too few fields.
    """
    return _table(path, quoted_rows(path, _split(read_text(path)), ","))


def read_tsv(path: Path) -> pd.DataFrame:
    r"""Read tab-separated values; every cell is text, and an empty cell is empty text.

    Many such files quote nothing and hold stray quotes in their texts, others are quoted like
    CSV. If every line has as many tabs as the first, a line is a row, and only a field that is
    quoted properly as a whole loses its quotes. Else the file is read like CSV.

    Args:
        path: The file.

    Returns:
        One column of text for each name in the first line.

    Raises:
        DataError: If a quote is not closed or a row has too many or too few fields.
    """
    text = read_text(path)
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if len({line.count("\t") for line in lines if line}) > 1:
        return _table(path, quoted_rows(path, _split(text), "\t"))
    rows = ((n, line.split("\t")) for n, line in enumerate(lines, 1) if line)
    return _table(path, ((n, [unquote(field) for field in fields]) for n, fields in rows))


def read_json(path: Path) -> pd.DataFrame:
    """Read JSON objects: one a line, or all of them in an array.

    Args:
        path: The file.

    Returns:
        A column for each key; where a row lacks it, the value is ``None``.

    Raises:
        DataError: If the JSON is broken or a row is no object.
    """
    text = read_text(path)
    rows = _array(path, text) if text.lstrip().startswith("[") else _lines(path, text)
    for place, row in rows:
        if not isinstance(row, dict):
            found = f"{json.dumps(row)[:60]} in {path}, {place}"
            raise DataError("a JSON object for each row", found, 'Write {"column": value, ...}.')
    keys = dict.fromkeys(key for _, row in rows for key in row)
    try:
        return pd.DataFrame({key: _column([row.get(key) for _, row in rows]) for key in keys})
    except UnicodeEncodeError as error:
        found = f"half of a surrogate pair ({error.object!a:.60}) in {path}"
        raise DataError("whole characters", found, "Remove or complete the escape.") from None


def _wrong_encoding(path: Path, data: bytes, offset: int) -> DataError:
    line = data.count(b"\n", 0, offset) + 1
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or data[:4].count(0) == 2
    guess = "UTF-16" if utf16 else "WINDOWS-1252"
    fix = f"Convert the file, for example: iconv -f {guess} -t UTF-8 {path.name} > utf8-{path.name}"
    if not utf16 and not data[offset]:
        fix = f"Remove these bytes: tr -d '\\000' < {path.name} > clean-{path.name}"
    return DataError(
        f"UTF-8 text in {path}",
        f"byte 0x{data[offset]:02x} at offset {offset}, line {line}, which is no UTF-8 text",
        fix,
    )


def quoted_rows(path: Path, lines: Iterable[str], delimiter: str) -> Iterator[Row]:
    """Split lines into fields that may be in double quotes, and may then hold line ends.

    Args:
        path: The file, for messages.
        lines: Its lines with their ends.
        delimiter: What separates fields.

    Yields:
        Each row that is not empty, with the line on which it begins.

    Raises:
        DataError: If a quote is not closed, or stands inside a field.
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


def _split(text: str) -> Iterable[str]:
    # Not splitlines: it also ends lines at characters that are part of a text, such as U+2028.
    return io.StringIO(text, newline="")


def unquote(field: str) -> str:
    """Take the quotes off a field that is quoted properly as a whole.

    Args:
        field: As it stands in the file.

    Returns:
        The field's text.
    """
    return field[1:-1].replace('""', '"') if _QUOTED.fullmatch(field) else field


def separators(header: str) -> str | None:
    """Return the separator that a lone column's name holds, if any: then it is no lone column.

    Args:
        header: The name.

    Returns:
        The first that is found.
    """
    return next((mark for mark in _SEPARATORS if mark in header), None)


def _table(path: Path, rows: Iterator[Row]) -> pd.DataFrame:
    _, header = next(rows, (1, []))
    other = separators(header[0]) if header else None
    if len(header) == 1 and other:
        kind = "tabs" if path.name.lower().endswith((".tsv", ".tsv.gz")) else "commas"
        raise DataError(
            f"columns separated by {kind} in {path}",
            f"the one column {header[0]!r}, as if they were separated by {other!r}",
            f"Save it with {kind}. Tabs go with the ending .tsv, commas with .csv.",
        )
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
    return pd.DataFrame(columns, columns=pd.Index(header), dtype=str)


def _array(path: Path, text: str) -> list[tuple[str, Any]]:
    try:
        return [(f"row {n}", row) for n, row in enumerate(json.loads(text), 1)]
    except json.JSONDecodeError as error:
        raise _broken(path, error, error.lineno) from None


def _lines(path: Path, text: str) -> list[tuple[str, Any]]:
    rows = []
    # Not splitlines: JSON strings may hold other line separators than the newline.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append((f"line {number}", json.loads(line)))
            except json.JSONDecodeError as error:
                raise _broken(path, error, number) from None
    return rows


def _broken(path: Path, error: json.JSONDecodeError, line: int) -> DataError:
    return DataError(
        "JSON objects, one a line or all in an array",
        f"{error.msg} in {path}, line {line}, column {error.colno}",
        "Mend that line.",
    )


def _column(values: list[Any]) -> pd.Series[Any]:
    # With a gap, whole numbers would become floats, and the label 1 would read as 1.0.
    return pd.Series(values, dtype=object if None in values else None)
