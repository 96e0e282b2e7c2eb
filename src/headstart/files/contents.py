"""The bytes and the text of a file, up to a size.

What stands in a file that somebody else has made, or that a disk has damaged, is not to be
believed. The readers of this package fail in two ways alone: with the system's ``OSError`` where a
file cannot be read, and with ``UnreadableError`` where it does not hold what it should. Who calls
them says which of the user's files it was and what to do.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

MIB = 2**20
SMALL = MIB
"""Bytes of a file that people write: settings, a task, the description of a study."""
LARGE = 256 * MIB
"""Bytes of a record that a program writes."""


class UnreadableError(ValueError):
    """A file does not hold what its kind of file holds; the text says why, without its name."""


def read_bytes(path: Path, most: int = LARGE) -> bytes:
    """Read a file of at most ``most`` bytes.

    A named pipe, such as that of ``<(command)``, that nobody writes into is empty, where it would
    be waited for for ever. Raises ``OSError`` if it cannot be read, and ``UnreadableError`` if it
    is larger, or its name is none that a file can have.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    except ValueError as error:  # a NUL in the name
        raise UnreadableError(str(error)) from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) and os.name != "nt":
            os.set_blocking(descriptor, True)
        data = file.read(most + 1)
    if len(data) > most:
        raise UnreadableError(f"larger than {most // MIB} MiB")
    return data


_BINARY = getattr(os, "O_BINARY", 0)


def read_text(path: Path, most: int = SMALL) -> str:
    """Read a text file in UTF-8, a byte order mark left out and all ends of lines alike.

    Raises ``OSError`` if it cannot be read, and ``UnreadableError`` if it is larger or no such
    text.
    """
    try:
        text = read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"no text in UTF-8: {error}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def digest_of(path: Path) -> str:
    """Return a digest, 64 hexadecimal digits, that tells whether a file is as it was written."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
