"""Writing so that neither a crash nor a power cut leaves half of something that looks whole."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

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
