"""A file's bytes: unpacked, and decoded to text."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import psutil

from headstart.errors import ConfigError, DataError

UTF8 = "utf-8-sig"
"""UTF-8 with or without a byte-order mark."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before that of UTF-16, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOKED_AT = 2**16
"""Bytes from which an encoding is guessed."""
_CHUNK = 2**22


def _open_zst(path: Path) -> IO[bytes]:
    import pyarrow as pa

    return io.BufferedReader(pa.input_stream(str(path), compression="zstd"))


def _open_zip(path: Path) -> IO[bytes]:
    with zipfile.ZipFile(path) as archive:
        return archive.open(member(path))


PACKINGS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.GzipFile,
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": _open_zst,
    ".zip": _open_zip,
}
UNPACKING_FAULTS = (
    OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
    # Of a zip file: its kind of packing, a password, names that are no text, cut records.
    NotImplementedError, RuntimeError, ValueError, struct.error,
)  # fmt: skip


def suffix(path: Path) -> str:
    """Return the ending that says what a file holds, in lower case and without its packing.

    For example ``.csv`` of ``rows.CSV.gz``, and of a zip file that holds ``rows.csv``.
    """
    packing = path.suffix.lower()
    if packing == ".zip" and path.is_file():
        with contextlib.suppress(DataError):
            return Path(member(path)).suffix.lower()
    return Path(path.stem).suffix.lower() if packing in PACKINGS else packing


def member(path: Path) -> str:
    """Return the name of the only file in a zip file.

    Folders, and what macOS adds, do not count. Raises ``DataError`` if it cannot be read, or holds
    none or several.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [item.filename for item in archive.infolist() if not item.is_dir()]
    except UNPACKING_FAULTS as error:
        raise unreadable(path, error) from None
    own = [n for n in names if not n.startswith("__MACOSX/") and not Path(n).name.startswith(".")]
    if len(own) != 1:
        found = f"{len(own)} ({', '.join(own[:5])})" if own else "none"
        fix = "Unpack it and name the file."
        raise DataError(f"one file in {path}", found, fix)
    return own[0]


@contextlib.contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, unpacked as its last ending says."""
    unpacked = PACKINGS.get(path.suffix.lower())
    with unpacked(path) if unpacked else path.open("rb") as opened:
        yield opened


def read_bytes(path: Path) -> bytes:
    """Read a whole file, unpacked.

    Raises ``DataError`` if it is damaged, or holds more than fits into half of the free memory:
    what is packed may be a thousand times its size.
    """
    most, chunks, size = psutil.virtual_memory().available // 2, [], 0
    try:
        with open_bytes(path) as file:
            while chunk := file.read(_CHUNK):
                chunks.append(chunk)
                size += len(chunk)
                if size > most:
                    found = f"more than {most / 2**30:.1f} GiB in {path}"
                    fix = "Take fewer rows, or a machine with more memory."
                    raise DataError("rows that fit into half of the free memory", found, fix)
    except UNPACKING_FAULTS as error:
        raise unreadable(path, error) from None
    return b"".join(chunks)


def decode(data: bytes, path: Path, encoding: str | None) -> str:
    """Turn a file's bytes into text, by default of UTF-8.

    It has no byte-order mark, and its line ends as they are; ``path`` is for messages. Raises
    ``DataError`` if there is nothing but space, something that is no such text, or NUL characters,
    which no text has.
    """
    if not data.strip():
        raise DataError("a file with rows", f"an empty file: {path}", "Check the path.")
    try:
        text = data.decode(encoding or "utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _wrong_encoding(path, data, error.start, encoding) from None
    except ValueError as error:  # of codecs that cannot say where
        raise DataError(f"text in {encoding}", f"{path}: {error}", "Try another one.") from None
    if "\0" in text:
        at = data.find(b"\0")
        raise _wrong_encoding(path, data, max(at, 0), encoding)
    if not text.strip():
        raise DataError("a file with rows", f"an empty file: {path}", "Check the path.")
    return text


def check_encoding(name: str | None) -> None:
    """Refuse what is no encoding of text.

    Raises ``ConfigError`` if Python knows none of that name.
    """
    try:
        "".encode(name or UTF8)
    except (LookupError, ValueError, UnicodeError):
        fix = "Use, for example, cp1252 (Windows), latin-1, utf-16, cp1251, shift_jis or gb18030."
        raise ConfigError("--encoding to be one that Python knows", repr(name), fix) from None


def likely_encoding(data: bytes) -> str | None:
    """Guess in which encoding bytes are that are no UTF-8: its name in Python.

    ``None`` where Latin letters are the exception, so that it is one of the many encodings of other
    scripts.
    """
    for mark, name in _MARKS:
        if data.startswith(mark) and name != "utf-8":
            return name
    part = data[:_LOOKED_AT]
    zeros = part[0::2].count(0), part[1::2].count(0)
    if max(zeros) > len(part) / 4:  # every other byte of Latin letters in UTF-16
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    high = sum(byte > 127 for byte in part)
    letters = sum(chr(byte).isalpha() for byte in part if byte < 128)
    if 2 * high > letters:
        return None
    with contextlib.suppress(UnicodeDecodeError):
        data.decode("cp1252")
        return "cp1252"
    return "latin-1"


def unreadable(path: Path, error: BaseException) -> DataError:
    """Make the error for a file whose bytes cannot be had."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    fix = "Unpack it first." if "password" in reason else "Check the file."
    return DataError("a readable file", f"{path}: {reason}", fix)


_BINARY = {
    b"PK\x03\x04": ("a zip archive or an Excel workbook", ".zip or .xlsx"),
    b"\x1f\x8b": ("packed by gzip", ".csv.gz"),
    b"BZh": ("packed by bzip2", ".csv.bz2"),
    b"\xfd7zXZ": ("packed by xz", ".csv.xz"),
    b"\x28\xb5\x2f\xfd": ("packed by zstd", ".csv.zst"),
    b"PAR1": ("a Parquet file", ".parquet"),
    b"ARROW1": ("an Arrow file", ".arrow"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", ".xlsx, once Excel has saved it anew"),
}
"""How files begin that are no text, what they are, and the ending that they should have."""


def _wrong_encoding(path: Path, data: bytes, offset: int, encoding: str | None) -> DataError:
    for begin, (what, ending) in _BINARY.items():
        if data.startswith(begin):
            fix = f"Give it the ending that says so, as in {ending}."
            return DataError(f"text in {path}", f"a file that is {what}", fix)
    line = data.count(b"\n", 0, offset) + 1
    byte = f"byte 0x{data[offset]:02x} at offset {offset}, line {line}"
    if encoding:
        fix = "Name the file's own encoding, or leave --encoding out for UTF-8."
        return DataError(f"text in {encoding} in {path}", f"{byte}, which is none", fix)
    likely = likely_encoding(data)
    if not data[offset] and not (likely or "").startswith("utf-"):
        fix = f"Remove these bytes: tr -d '\\000' < {path.name} > clean-{path.name}"
    elif likely:
        fix = f"Add --encoding {likely}, which it is most likely in{_sample(data, offset, likely)}."
    else:
        fix = "Name its encoding by --encoding: cp1251 or koi8-r, shift_jis, gb18030, big5 …"
    return DataError(f"UTF-8 text in {path}", f"{byte}, which is no UTF-8 text", fix)


def _sample(data: bytes, offset: int, encoding: str) -> str:
    """Show the word around a byte as it would be read."""
    if encoding.startswith("utf-"):
        return ""
    first, last = offset, offset
    while first > 0 and data[first - 1 : first].isalpha():
        first -= 1
    while last < len(data) and (data[last] > 127 or data[last : last + 1].isalpha()):
        last += 1
    return f": it then reads {data[first:last][:40].decode(encoding, 'replace')!r}"


def text_lines(path: Path, newline: str, encoding: str | None) -> Iterator[str]:
    """Read a file's text line by line, parted as by ``newline`` of ``open``, with their ends."""
    with open_bytes(path) as file:
        opened: Any = file
        with io.TextIOWrapper(opened, encoding or UTF8, newline=newline) as lines:
            for number, line in enumerate(lines):
                yield line.removeprefix("\ufeff") if not number else line
