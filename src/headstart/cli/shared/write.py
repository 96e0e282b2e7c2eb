"""Rows to files, so that what was read comes back as it was."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, TextIO

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.errors import DataError, did_you_mean
from headstart.files.writing import require_free, taken, whole_file

Write = Callable[[pd.DataFrame], None]


def check_target(path: Path, *, overwrite: bool, read: str) -> None:
    """Check that rows can be written to a path, before anything is computed.

    Raises ``DataError`` if the ending is unknown, the folder is missing, the file exists, or it is
    the one that is read.
    """
    if path.suffix.lower() not in WRITERS:
        raise DataError(
            f"--out with one of the endings {', '.join(WRITERS)}",
            str(path),
            did_you_mean(path.suffix, WRITERS),
        )
    if not path.absolute().parent.is_dir():
        raise DataError("--out in an existing folder", str(path), "Make the folder first.")
    if path.exists() and Path(read).exists() and path.samefile(read):
        raise DataError("another file for --out than --data", str(path), "Choose another --out.")
    require_free(path, overwrite=overwrite)


@contextlib.contextmanager
def writing(path: Path, *, overwrite: bool = False) -> Iterator[Write]:
    """Write rows part by part, in the form that the file's ending names, all or nothing.

    Raises ``RunError`` if somebody else has written the file meanwhile.
    """
    try:
        with (
            whole_file(path, replace=overwrite) as file,
            WRITERS[path.suffix.lower()](file) as write,
        ):
            yield write
    except FileExistsError:
        raise taken(path) from None


@contextlib.contextmanager
def printing(write: Callable[[str], None]) -> Iterator[Write]:
    """Write rows part by part as CSV."""
    yield _with_header(lambda frame, header: write(frame.to_csv(index=False, header=header)))


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a text begins with that a spreadsheet takes for a formula; see OWASP, CSV injection."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


DIGITS = 6
"""Significant digits of a probability: as many as fp32 gives it."""


def answers(write: Write, *, escape_formulas: bool = False) -> Write:
    """Round the probabilities of predicted rows; let a spreadsheet compute no text if asked."""
    write = without_formulas(write) if escape_formulas else write

    def rounded(cell: Any) -> Any:
        if not isinstance(cell, list):
            return cell
        return [
            {**item, "score": float(_short(item["score"]))} if isinstance(item, dict) else item
            for item in cell
        ]

    def shorten(frame: pd.DataFrame) -> None:
        names = [str(name) for name in frame.columns]
        added = names[names.index("prediction") + 1 :]  # columns of the rows stand before it
        short = {name: _short(frame[name]) for name in added if name.startswith("p_")}
        found = frame["prediction"]
        found = found.map(rounded) if found.dtype == object else found
        write(frame.assign(prediction=found, **short))

    return shorten


def _short(values: Any) -> npt.NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    # Powers of ten up to the 22nd are exact, so what is divided by one is the nearest number.
    size = np.floor(np.log10(np.where(found > 1e-15, found, 1.0)))
    scale: npt.NDArray[np.float64] = 10.0 ** (DIGITS - 1 - size)
    return np.round(found * scale) / scale


def without_formulas(write: Write) -> Write:
    """Put an apostrophe before texts, and names of columns, that a spreadsheet would compute."""

    def guarded(value: Any) -> Any:
        harmless = not isinstance(value, str) or _NUMBER.fullmatch(value)
        return value if harmless or not value.startswith(FORMULA) else f"'{value}"

    def guard(frame: pd.DataFrame) -> None:
        texts = frame.select_dtypes(exclude=["number", "bool"]).columns
        safe = frame.copy()
        for name in texts:
            safe[name] = frame[name].map(guarded)
        write(safe.rename(columns=guarded))

    return guard


def _with_header(write: Callable[[pd.DataFrame, bool], None]) -> Write:
    parts = itertools.count()
    return lambda frame: write(_lists_as_json(frame), next(parts) == 0)


def _lists_as_json(frame: pd.DataFrame) -> pd.DataFrame:
    """Write lists as JSON, which is read back as a list; Python's own form is not."""

    def text(cell: Any) -> Any:
        return json.dumps(cell, ensure_ascii=False) if isinstance(cell, list) else cell

    objects = [str(name) for name in frame.columns if frame[name].dtype == object]
    return frame.assign(**{name: frame[name].map(text) for name in objects})


@contextlib.contextmanager
def _text(file: IO[bytes]) -> Iterator[TextIO]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    yield text
    text.detach()  # flushes it; the file stays open


@contextlib.contextmanager
def _separated(file: IO[bytes], **options: Any) -> Iterator[Write]:
    options["lineterminator"] = "\n"
    with _text(file) as text:
        yield _with_header(lambda f, header: f.to_csv(text, index=False, header=header, **options))


@contextlib.contextmanager
def _jsonl(file: IO[bytes]) -> Iterator[Write]:
    with _text(file) as text:

        def write(frame: pd.DataFrame) -> None:
            frame.to_json(
                text,
                orient="records",
                lines=True,
                force_ascii=False,
                double_precision=15,
                date_format="iso",
            )

        yield write


@contextlib.contextmanager
def _parquet(file: IO[bytes]) -> Iterator[Write]:
    """Keep parts aside until all are there: only then is each column's type known."""
    import pyarrow as pa
    from pyarrow import parquet

    schemas: list[pa.Schema] = []
    # The system's folder for temporary files is often in memory.
    with tempfile.TemporaryDirectory(dir=Path(file.name).parent, prefix=".parts-") as aside:

        def write(frame: pd.DataFrame) -> None:
            table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()
            parquet.write_table(table, Path(aside) / f"{len(schemas)}.parquet")
            schemas.append(table.schema)

        yield write
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        with parquet.ParquetWriter(file, schema) as whole:
            for number in range(len(schemas)):
                with parquet.ParquetFile(Path(aside) / f"{number}.parquet") as part:
                    whole.write_table(part.read().cast(schema))


WRITERS: dict[str, Callable[[IO[bytes]], contextlib.AbstractContextManager[Write]]] = {
    # Text is quoted throughout: a lone carriage return in it would else end the row.
    ".csv": partial(_separated, quoting=csv.QUOTE_NONNUMERIC),
    ".tsv": partial(_separated, sep="\t"),
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
