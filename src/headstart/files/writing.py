"""Writing so that neither a crash nor another process leaves half of something that looks whole.

What is written stands beside its place first, under a name that nobody can foresee and that must
not exist: so nothing is written through a link that somebody has put there, and two commands with
one target do not write into one file. Then it is moved, in one step.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from headstart.errors import RunError

_ENDING = ".new"
_LEFT_OVER = re.compile(rf"\..*\.[0-9a-f]{{16}}{re.escape(_ENDING)}")


@contextlib.contextmanager
def whole_file(path: Path, *, replace: bool = True) -> Iterator[IO[bytes]]:
    """Write a file whole or not at all.

    A file that stands there keeps its mode, a link is replaced by a file. The new one is thrown
    away if the block fails. Raises ``FileExistsError`` if the place is taken and ``replace`` is
    false.
    """
    new = _beside(path)
    file = new.open("xb")
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.is_file() and not path.is_symlink():
            new.chmod(path.stat().st_mode & 0o777)
        _move(new, path, replace=replace)
    finally:
        new.unlink(missing_ok=True)


def _move(new: Path, path: Path, *, replace: bool) -> None:
    if replace:
        new.replace(path)
        return
    try:
        path.hardlink_to(new)  # fails where something stands, which replacing does not
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise FileExistsError(str(path)) from None
        new.replace(path)


def write_bytes(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Write a file whole or not at all."""
    with whole_file(path, replace=replace) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write a file so that it holds either what it held before or the whole new text, in UTF-8."""
    write_bytes(path, text.encode())


@contextlib.contextmanager
def whole_folder(folder: Path, *, replace: bool = True) -> Iterator[Path]:
    """Write a folder as a whole.

    The folder is a new one to write into; it is thrown away if the block fails. Raises ``RunError``
    if the place has been taken meanwhile and ``replace`` is false.
    """
    new, old = _beside(folder), _beside(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    new.mkdir()
    try:
        yield new
        even_modes(new)
        for path in [new, *new.rglob("*")]:
            sync(path)
        if os.path.lexists(folder):
            if not replace:
                raise RunError(
                    "a free folder", f"{folder}, which has been made meanwhile", "Name another one."
                )
            folder.replace(old)
        try:
            new.replace(folder)
        except OSError:
            if old.exists():
                old.replace(folder)
            raise
        sync(folder.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def even_modes(folder: Path) -> None:
    """Give every file in a folder the mode that new files have there: some libraries write 0600."""
    mode = folder.stat().st_mode & 0o666
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(mode)


def sync(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk now."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_free(path: Path, *, overwrite: bool, option: str = "--out") -> None:
    """Check that a file may be written, before anything is computed.

    Raises ``RunError`` if something else than a file stands there, or a file that may not be
    replaced.
    """
    if path.exists() and not path.is_file():
        raise RunError(
            f"a file to write for {option}", f"{path}, which is none", f"Choose another {option}."
        )
    if os.path.lexists(path) and not overwrite:
        raise taken(path, option)


def write_output(
    path: Path, data: bytes, *, overwrite: bool = False, option: str = "--out"
) -> None:
    """Write a file that the user has named, and its folder where there is none.

    Raises ``RunError`` if it cannot be written, or stands there.
    """
    require_free(path, overwrite=overwrite, option=option)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        found = f"{path.parent}: a file of that name"
        raise RunError("a folder", found, "Choose another name.") from None
    except OSError as error:
        raise _unwritable(path, error, option) from None
    try:
        write_bytes(path, data, replace=overwrite)
    except FileExistsError:
        raise taken(path, option) from None
    except OSError as error:
        raise _unwritable(path, error, option) from None


def _unwritable(path: Path, error: OSError, option: str) -> RunError:
    told = f"{path}: {error.strerror or error}"
    return RunError(f"a file to write for {option}", told, "Name another one.")


def taken(path: Path, option: str = "--out") -> RunError:
    """Return the error about a file that may not be replaced."""
    fix = "Pass --overwrite to replace it" if option.startswith("-") else "Pass overwrite=True"
    return RunError(f"a free name for {option}", f"{path} exists", f"{fix}, or name another file.")


def open_own(path: Path) -> IO[bytes]:
    """Open a file to append to, or to lock, but never the one that a link at its place points to.

    The file is made if need be.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, flags, 0o666), "ab")


def is_left_over(name: str) -> bool:
    """Return whether a file of that name was being written when a process was killed.

    It has the form of the names that ``whole_file`` and ``whole_folder`` write under.
    """
    return _LEFT_OVER.fullmatch(name) is not None


def remove_left_over(folder: Path) -> None:
    """Remove what killed processes have left in a folder that no living one works in."""
    for path in [path for path in folder.rglob(f".*{_ENDING}") if is_left_over(path.name)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    # A name may have 255 bytes.
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}{_ENDING}")
