"""Files and objects in the cells of a table: where they are, their bytes, and a digest of them."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.data._faults import row_numbers, some
from headstart.data.tables.classnames import with_names
from headstart.data.tables.mediafolder import folder_of
from headstart.data.tables.objects import is_table
from headstart.data.tables.usable import is_empty
from headstart.errors import DataError, raise_all
from headstart.files.contents import MIB, UnreadableError, read_bytes
from headstart.files.home import path_of
from headstart.untrusted import shown

T = TypeVar("T")
LARGEST_FILE = 256 * MIB
"""Bytes of a picture or a sound above which it is refused, unpacked from its archive."""
_ARCHIVE = ".zip"
_DIGEST = 32  # hexadecimal digits


@dataclass(frozen=True)
class Medium:
    """A picture or a sound. Two are equal if they hold the same, wherever they are.

    Args:
        digest: Of what it holds.
        name: What messages call it; empty for an object in memory.
        held: Its bytes, or an object in memory; ``None`` where it is read from ``path``.
        path: Its file, or the archive that it is in.
        member: Its name in the archive.
    """

    digest: str
    name: str = field(default="", compare=False, repr=False)
    held: Any = field(default=None, compare=False, repr=False)
    path: Path | None = field(default=None, compare=False, repr=False)
    member: str | None = field(default=None, compare=False, repr=False)

    def content(self) -> Any:
        """Return its bytes, or the object in memory.

        Raises ``UnreadableError`` if the file cannot be read any more.
        """
        return self.held if self.path is None else _read(self.path, self.member)

    def again(self, decode: Callable[[Any], T]) -> T:
        """Decode, from bytes or an object in memory, what it held when its row was read.

        Raises ``DataError`` if its file is gone or has been changed since.
        """
        try:
            content = self.content()
            if self.path is not None and _digest_of(content) != self.digest:
                raise UnreadableError("another content")
            return decode(content)
        except UnreadableError as error:
            raise DataError(
                f"{self.name or 'what a row holds'} as it was at the start",
                str(error),
                "Leave the files where and as they are while they are read, and start again.",
            ) from None


Digest = Callable[[Any], str | None]
"""Gives a digest of an object in memory; ``None`` if it is none of the kind."""
Check = Callable[[Any], object]
"""Raises ``UnreadableError`` for bytes or an object that cannot be used."""


def missing_cells(frame: pd.DataFrame, column: str) -> npt.NDArray[np.bool_]:
    """Tell which cells of a column hold nothing."""
    cells = with_names(frame, (column,))[column].tolist()
    return np.array([_is_missing(cell) for cell in cells], np.bool_)


def _is_missing(cell: Any) -> bool:
    if isinstance(cell, Mapping) and cell.keys() <= {"bytes", "path"}:
        return all(value is None for value in cell.values())
    return is_empty(cell)


def read_media(
    frame: pd.DataFrame, column: str, *, where: str, noun: str, digest: Digest, check: Check
) -> list[Medium]:
    """Find, read and check what the cells of a column hold.

    A cell is a path, ``bytes``, ``{"bytes": …, "path": …}`` as ``datasets`` has it, or an object in
    memory. A relative path begins in the folder of the table's file, or in one of the zip archives
    there; ``archive.zip/member`` names the archive too. ``noun`` is what a cell shall hold, for
    messages: ``sound``. ``digest`` tells objects in memory apart, ``check`` decodes a row's
    content, to find out whether it can be used. Raises ``DataError`` for all faults together, by
    reason, with row numbers and names.
    """
    finder = _Finder(folder_of(frame), digest)
    found: list[Medium] = []
    faults: dict[str, list[tuple[int, str]]] = {}
    for row, cell in enumerate(frame[column].tolist()):
        name = str(cell) if isinstance(cell, str | Path) else ""
        try:
            if _is_missing(cell):
                raise UnreadableError(f"no {noun}")
            medium = finder.find(cell)
            name = medium.name or name
            check(medium.content() if medium.path else medium.held)
            found.append(medium)
        except _MissingFileError as error:
            faults.setdefault("no such file", []).append((row, str(error)))
        except UnreadableError as error:
            faults.setdefault(str(error), []).append((row, name))
    if faults:
        expected = f"{noun} in column {column!r} of every row of {where}"
        raise_all(_explained(faults, expected, finder, f"no {noun}"))
    return found


def _explained(
    faults: Mapping[str, Sequence[tuple[int, str]]], expected: str, finder: _Finder, empty: str
) -> Iterable[DataError]:
    for reason, places in faults.items():
        names = some(dict.fromkeys(shown(name) for _, name in places if name))
        found = f"{reason} in {row_numbers([row for row, _ in places])}"
        fix = "Mend or write these anew, or remove the rows."
        if reason.startswith("no such file"):
            fix = f"Paths begin in {finder.folder.resolve()}, or in a zip archive there."
        elif reason == empty:
            fix = "Fill in these cells, or leave the rows out by --empty-text drop."
        yield DataError(expected, f"{found}: {names}" if names else found, fix)


class _MissingFileError(UnreadableError):
    """There is no such file; the text is its name."""


class _Finder:
    """Finds what cells name."""

    def __init__(self, folder: Path, digest: Digest) -> None:
        self.folder, self._digest = folder, digest
        self._members: dict[Path, frozenset[str]] = {}
        self._beside: list[Path] | None = None

    def find(self, cell: Any) -> Medium:
        if isinstance(cell, Mapping) and cell.get("bytes") is not None:
            return _held(cell["bytes"], str(cell.get("path") or ""))
        if isinstance(cell, Mapping) and cell.get("path") and cell.keys() <= {"bytes", "path"}:
            cell = cell["path"]
        if isinstance(cell, bytes | bytearray | memoryview):
            return _held(bytes(cell), "")
        if isinstance(cell, str | Path):
            return self._file(str(cell))
        digest = self._digest(cell)
        if digest is None:
            raise UnreadableError(f"a {type(cell).__name__}")
        return Medium(digest, held=cell)

    def _file(self, name: str) -> Medium:
        if "://" in name:
            raise UnreadableError("an address, which is not fetched")
        try:
            path, member = self._place(name)
        except (OSError, ValueError):  # a name that no file can have
            raise _MissingFileError(name) from None
        data = _read(path, member)
        return Medium(_digest_of(data), name, None, path, member)

    def _place(self, name: str) -> tuple[Path, str | None]:
        path = self.folder / path_of(name)
        if path.is_file():
            return path, None
        lead, ending, rest = name.partition(f"{_ARCHIVE}/")
        if ending and (archive := self.folder / f"{lead}{_ARCHIVE}").is_file():
            if rest in self._names(archive):
                return archive, rest
        elif not path.exists():
            if self._beside is None:
                self._beside = sorted(self.folder.glob(f"*{_ARCHIVE}"))
            for archive in self._beside:
                if name in self._names(archive):
                    return archive, name
        raise _MissingFileError(name)

    def _names(self, archive: Path) -> frozenset[str]:
        if archive not in self._members:
            try:
                with zipfile.ZipFile(archive) as opened:
                    self._members[archive] = frozenset(opened.namelist())
            except _DAMAGED:
                self._members[archive] = frozenset()
        return self._members[archive]


_DAMAGED = (
    OSError, ValueError, EOFError, KeyError, RuntimeError, NotImplementedError, zlib.error,
    zipfile.BadZipFile,
)  # fmt: skip
"""What reading a damaged archive may end in; an encrypted one is a ``RuntimeError``."""


def _held(data: Any, name: str) -> Medium:
    if not isinstance(data, bytes | bytearray):
        raise UnreadableError(f"a {type(data).__name__} for its bytes")
    if len(data) > LARGEST_FILE:
        raise UnreadableError(f"more than {LARGEST_FILE // MIB} MiB")
    return Medium(_digest_of(bytes(data)), name, bytes(data))


def _digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGEST]


@lru_cache(maxsize=8)
def _archive(path: Path, changed: int, size: int) -> zipfile.ZipFile:  # noqa: ARG001
    """Open an archive, whose list of members is read once as long as its file stays the same."""
    return zipfile.ZipFile(path)


def _read(path: Path, member: str | None) -> bytes:
    """Read a file or a member of an archive, up to the largest size."""
    try:
        if member is None:
            return read_bytes(path, LARGEST_FILE)
        found = path.stat()
        with _archive(path, found.st_mtime_ns, found.st_size).open(member) as file:
            data = file.read(LARGEST_FILE + 1)
    except UnreadableError:
        raise
    except OSError as error:
        raise UnreadableError(error.strerror or type(error).__name__) from None
    except _DAMAGED as error:
        raise UnreadableError(f"a damaged member of an archive ({error})") from None
    if len(data) > LARGEST_FILE:
        raise UnreadableError(f"more than {LARGEST_FILE // MIB} MiB")
    return data


def array_digest(values: npt.NDArray[Any], *more: object) -> str:
    """Return a digest of an array, and of what else tells an object from others.

    Such as the sampling rate.
    """
    told = hashlib.sha256(repr((values.dtype.str, values.shape, more)).encode())
    told.update(np.ascontiguousarray(values).tobytes())
    return told.hexdigest()[:_DIGEST]


def as_cells(values: Any, noun: str, single: Callable[[Any], bool]) -> list[Any]:
    """Return each of what was given to ``predict``: one picture or sound, or several.

    ``single`` tells whether a value that can be gone through is one of them; ``noun`` is what
    messages call them. Raises ``DataError`` if it is a table, or nothing that can be gone through.
    """
    if is_table(values):
        raise DataError(noun, f"a {type(values).__name__}", "Use predict_frame for tables.")
    if isinstance(values, str | Path | bytes | Mapping) or single(values):
        return [values]
    if not hasattr(values, "__iter__"):
        found = type(values).__name__
        raise DataError(f"a list of {noun}", found, "Give, for example, paths of files.")
    return list(values)
