"""Excel workbooks to tables."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from headstart.data._faults import note
from headstart.data.tables._files import read_bytes
from headstart.data.tables._text import column
from headstart.errors import DataError


def read_excel(path: Path) -> pd.DataFrame:
    """Read the first sheet of an ``.xlsx`` workbook that holds anything.

    There is a column for each name in the first line that is not empty; rows without any cell are
    left out. Cells keep their kind: text is text, a number a number; of a formula it is the value
    that the workbook was saved with, and of an error such as ``#N/A`` nothing. Raises ``DataError``
    if openpyxl is not installed, the workbook is damaged, or a column with cells has no name.
    """
    try:
        import openpyxl
    except ImportError:
        fix = "Run: pip install 'headstart[excel]' (or: pip install openpyxl); or save it as .csv."
        raise DataError(f"openpyxl, to read {path}", "no such package", fix) from None
    data = read_bytes(path)
    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheets = [(sheet.title, list(_rows(sheet))) for sheet in book.worksheets]
    except Exception as error:  # noqa: BLE001  damage shows as any of its parsers' own classes
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        fix = "Save it again, or as .csv."
        raise DataError("a readable workbook", f"{path}: {reason}", fix) from None
    filled = [(title, rows) for title, rows in sheets if rows]
    if not filled:
        raise DataError("a file with rows", f"empty sheets alone in {path}", "Check the path.")
    title, (head, *body) = filled[0]
    width = max(place + 1 for row in (head, *body) for place, c in enumerate(row) if c is not None)
    head = [*head, *[None] * width][:width]
    if unnamed := [place + 1 for place, name in enumerate(head) if name is None]:
        found = f"none for column {', '.join(map(str, unnamed))} of sheet {title!r} of {path}"
        raise DataError("the names of the columns in the first row", found, "Name or clear them.")
    cells = zip(*([*row, *[None] * width][:width] for row in body), strict=True)
    columns = [column(list(values)) for values in cells] or [column([]) for _ in head]
    frame = pd.concat(columns, axis="columns") if columns else pd.DataFrame()
    frame.columns = pd.Index([str(name) for name in head])
    if len(filled) > 1:
        note(frame, f"{path.name} has {len(filled)} sheets; {title!r}, the first, was read.")
    return frame


def _rows(sheet: Any) -> Iterator[list[Any]]:
    """Yield the rows of a sheet that have any cell."""
    for row in sheet.iter_rows():
        cells = [None if c.value == "" or c.data_type == "e" else c.value for c in row]
        if any(cell is not None for cell in cells):
            yield cells
