"""Writing so that neither a crash nor a power cut leaves half of something that looks whole."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from headstart.errors import RunError
from headstart.files.jsonfile import read_table

PARTIAL = ".partial"
"""What the name of a run's folder ends in until the run is finished."""


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Write a folder as a whole: beside its place first, then moved there.

    Args:
        folder: Its place; what stands there is replaced.

    Yields:
        A new folder to write into. It is thrown away if the block fails.
    """
    new, old = (folder.with_name(f".{folder.name}.{end}") for end in ("new", "old"))
    for left_over in (new, old):
        shutil.rmtree(left_over, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        for path in [new, *new.rglob("*")]:
            sync(path)
        if folder.exists():
            folder.replace(old)
        new.replace(folder)
        sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def sync(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk now.

    Args:
        path: A file that is closed, or a folder.
    """
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_finished(path: Path) -> None:
    """Refuse a run that has not finished, or that failed, and what is inside its folder.

    Args:
        path: A run, or what should be a model.

    Raises:
        RunError: If there is such a run.
    """
    whole = path.absolute()
    instead = () if path.exists() else (Path(f"{path}{PARTIAL}"),)
    for folder in (path, path.parent, whole, whole.parent, *instead):
        if folder.name.endswith(PARTIAL) and folder.is_dir():
            raise _unfinished(folder)


def _unfinished(working: Path) -> RunError:
    try:
        record = read_table(working / "result.json")
        failed, error = record["status"] == "failed", str(record["error"])
    except (OSError, ValueError, KeyError, TypeError):  # the record is written last
        failed, error = False, ""
    if failed:
        reason, _, advice = error.partition("; found ")[2].partition(". ")
        return RunError(
            "a finished run",
            f"{working}, a run that failed: {reason}",
            f"{advice} Start again with that change: "
            f"headstart fit --config {working / 'settings.yaml'} --overwrite …",
        )
    out = str(working).removesuffix(PARTIAL)
    return RunError(
        "a finished run",
        f"{working}, a run that did not finish",
        f"Go on with it: headstart fit --resume --out {out}",
    )
