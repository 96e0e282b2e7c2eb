"""Rows to files, so that what was read comes back as it was."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from headstart.errors import DataError, did_you_mean


def check_target(path: Path, *, overwrite: bool, read: str) -> None:
    """Make sure that rows can be written, before anything is computed.

    Args:
        path: The file to write.
        overwrite: Whether an existing file may be replaced.
        read: What the rows are read from, which stays as it is.

    Raises:
        DataError: If the ending is unknown, the folder is missing, the file exists, or it is the
            one that is read.
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
    if path.exists() and not overwrite:
        raise DataError("a free name for --out", f"{path} exists", "Pass --overwrite.")


def write_rows(frame: pd.DataFrame, path: Path) -> None:
    """Write rows in the form that the file's ending names, all or nothing.

    Args:
        frame: The rows.
        path: The file; replaced if it exists.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        WRITERS[path.suffix.lower()](frame, new)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _csv(frame: pd.DataFrame, path: Path) -> None:
    # Text is quoted throughout: a lone carriage return in it would else end the row.
    frame.to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")


def _tsv(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False, sep="\t", lineterminator="\n")


def _jsonl(frame: pd.DataFrame, path: Path) -> None:
    frame.to_json(
        path,
        orient="records",
        lines=True,
        force_ascii=False,
        double_precision=15,
        date_format="iso",
    )


def _parquet(frame: pd.DataFrame, path: Path) -> None:
    frame.to_parquet(path, index=False)


WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
