"""The run's own log file."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path

from headstart.files.writing import open_own
from headstart.untrusted import LONGEST_MESSAGE, printable, shortened

log = logging.getLogger("headstart")


class _LogFile(logging.StreamHandler[io.TextIOWrapper]):
    """A log whose disk may be full: what else is written tells of that, and a run goes on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Leave a line out that cannot be written."""


@contextlib.contextmanager
def logging_to(path: Path, *, active: bool = True) -> Iterator[None]:
    """Append everything that headstart logs to a file."""
    if not active:
        yield
        return
    file = io.TextIOWrapper(open_own(path), encoding="utf-8")
    handler = _LogFile(file)
    handler.setFormatter(_Printable("%(asctime)s %(levelname)s %(message)s"))
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        handler.close()
        with contextlib.suppress(OSError):
            file.close()


class _Printable(logging.Formatter):
    """Writes printable text, in which the lines of one message cannot pass for messages."""

    def format(self, record: logging.LogRecord) -> str:
        text = shortened(super().format(record), LONGEST_MESSAGE)
        return printable(text.replace("\r\n", "\n").replace("\n", "\n    "))
