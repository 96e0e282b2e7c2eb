"""Rows of a large file, a part at a time, read as strictly as whole ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from headstart.data.tables._files import (
    PACKINGS,
    UNPACKING_FAULTS,
    check_encoding,
    suffix,
    text_lines,
)
from headstart.data.tables._text import Row, column_names, parse_json, split_rows, told_separator
from headstart.data.tables.mediafolder import note_folder
from headstart.data.tables.sources import ARROW_FAULTS, check_table, from_arrow, read_table
from headstart.files.home import path_of

ROWS_AT_ONCE = 16384
"""Rows of a part."""


class TableParts:
    """The rows of a source in parts; each iteration reads it anew, so memory stays bounded.

    ``rows`` counts those that the last iteration gave.

    CSV, TSV, JSON lines and Parquet files are read piecewise; other sources are read once, whole.
    Whatever ``read_table`` would refuse is refused in its words.

    Args:
        source: As for ``read_table``.
        split: As for ``read_table``.
        encoding: As for ``read_table``.
        size: Rows of a part; the last may have less.

    Raises:
        DataError: If the source is missing; while iterating, if it cannot be read.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        split: str | None = None,
        encoding: str | None = None,
        size: int = ROWS_AT_ONCE,
    ) -> None:
        check_encoding(encoding)
        self._source, self._split, self._size, self._encoding = source, split, size, encoding
        path = path_of(source)
        self._read = STREAMS.get(suffix(path)) if path.is_file() and not split else None
        self._path = path
        self.rows = 0
        self._whole = None if self._read else self._read_whole()

    def __iter__(self) -> Iterator[tuple[int, pd.DataFrame]]:
        """Yield each part with the number of rows before it."""
        self.rows = 0
        for frame in self._parts():
            yield self.rows, frame
            self.rows += len(frame)

    def _parts(self) -> Iterator[pd.DataFrame]:
        seen = 0
        if self._read and self._whole is None:
            try:
                for frame in self._read(self._path, self._size, self._encoding):
                    yield note_folder(check_table(frame, str(self._source)), self._path)
                    seen += len(frame)
            except _UNREADABLE:
                seen += 0  # the whole reader says what is wrong, and where
            else:
                if seen:
                    return
            self._whole = self._read_whole()
        if self._whole is not None:
            for start in range(seen, len(self._whole), self._size):
                part = self._whole.iloc[start : start + self._size]
                yield part.reset_index(drop=True)

    def _read_whole(self) -> pd.DataFrame:
        return read_table(self._source, split=self._split, encoding=self._encoding)


class _UnfitError(Exception):
    """A file that cannot be read piecewise, or not at all."""


_UNREADABLE = (_UnfitError, *UNPACKING_FAULTS, ValueError, OverflowError)


def _lines(path: Path, newline: str, encoding: str | None) -> Iterator[str]:
    for line in text_lines(path, newline, encoding):
        if "\0" in line:
            raise _UnfitError
        yield line


def _tables(rows: Iterator[Row], size: int, path: Path, mark: str) -> Iterator[pd.DataFrame]:
    _, header = next(rows, (1, []))
    while part := [fields for _, fields in islice(rows, size)]:
        if any(len(fields) != len(header) for fields in part):
            raise _UnfitError
        frame = pd.DataFrame(part, columns=column_names(header), dtype=str)
        yield told_separator(frame, path, mark)


def _separated(path: Path, size: int, encoding: str | None) -> Iterator[pd.DataFrame]:
    mark, rows = split_rows(path, lambda newline: _lines(path, newline, encoding))
    return _tables(rows, size, path, mark)


def _json(path: Path, size: int, encoding: str | None) -> Iterator[pd.DataFrame]:
    kinds = _json_kinds(path, encoding)
    rows = _objects(path, encoding)
    while part := list(islice(rows, size)):
        yield pd.DataFrame(
            {key: pd.Series([row.get(key) for row in part], dtype=k) for key, k in kinds.items()}
        )


def _json_kinds(path: Path, encoding: str | None) -> dict[str, Any]:
    """Return each key with the type that its column has in the whole file; ``None`` is any."""
    counts: dict[str, int] = {}
    types: dict[str, set[type]] = {}
    total = 0
    for total, row in enumerate(_objects(path, encoding), 1):  # noqa: B007
        for key, value in row.items():
            counts[key] = counts.get(key, 0) + (value is not None)
            types.setdefault(key, set()).add(type(value))
    mixed = {int, float}
    return {
        key: object if counts[key] < total else "float64" if types[key] == mixed else None
        for key in types
    }


def _objects(path: Path, encoding: str | None) -> Iterator[dict[str, Any]]:
    for line in _lines(path, "\n", encoding):
        if line.strip():
            row = parse_json(line)
            if not isinstance(row, dict):
                raise _UnfitError  # an array of rows, or a fault
            yield row


def _parquet(path: Path, size: int) -> Iterator[pd.DataFrame]:
    import pyarrow as pa
    from pyarrow import parquet

    if path.suffix.lower() in PACKINGS:
        raise _UnfitError
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=size):
                yield from_arrow(pa.Table.from_batches([batch]))
    except ARROW_FAULTS:
        raise _UnfitError from None


STREAMS: dict[str, Callable[[Path, int, str | None], Iterable[pd.DataFrame]]] = {
    ".csv": _separated, ".tsv": _separated, ".jsonl": _json, ".ndjson": _json, ".json": _json,
    ".parquet": lambda path, size, _: _parquet(path, size),
}  # fmt: skip
