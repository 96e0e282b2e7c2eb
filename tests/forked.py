"""Processes of their own that have their libraries at once: to import them takes seconds.

Of the tests that need a process (to kill it, to interrupt it, to have two at a time), some start
one as a user does, by ``python -m headstart``; the others start it here.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from headstart.study.running.worker import begin

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["headstart.cli.shared.display", "headstart.run", "transformers.models.bert.modeling_bert"]
)
COMMAND = """
from headstart.cli import main
from headstart.study.running import executors

executors.START = "fork"  # its workers are made from it, as it is from our server
raise SystemExit(main())
"""


class Forked:
    """A process that carries out Python code, and what it prints.

    ``words`` are what it finds in ``sys.argv[1:]``, ``options`` variables of its environment.
    """

    def __init__(self, code: str, *words: object, cwd: Path | None = None, **options: str) -> None:
        self._folder = Path(tempfile.mkdtemp())
        own = {**os.environ, **options}
        arguments = (code, [str(word) for word in words], self._folder, str(cwd or Path.cwd()), own)
        self._process: Any = CONTEXT.Process(target=_carry_out, args=arguments)
        self._process.start()
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code; ``None`` while it lives."""
        code: int | None = self._process.exitcode
        return code

    def printed(self) -> str:
        """Return what it has printed so far."""
        path = self._folder / "1"
        return path.read_text() if path.exists() else ""

    def wait_for(self, text: str, seconds: float = 120) -> None:
        """Wait until it has printed some text."""
        deadline = time.monotonic() + seconds
        while text not in self.printed():
            assert self.returncode is None, self.communicate()
            assert time.monotonic() < deadline, self.printed()
            time.sleep(0.01)

    def send_signal(self, number: int) -> None:
        """Send a signal to it."""
        os.kill(self.pid, number)

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Wait for its end and return what it has printed, and its errors."""
        self._process.join(timeout)
        if self.returncode is None:
            self._process.kill()
            raise TimeoutError(self.printed())
        return self.printed(), (self._folder / "2").read_text()


def command(*words: object, first: str = "", **options: str) -> Forked:
    """Start ``headstart``, after some code if need be."""
    return Forked(f"{first}\n{COMMAND}", *words, **options)


def _carry_out(code: str, words: list[str], folder: Path, cwd: str, own: dict[str, str]) -> None:
    for number in (1, 2):
        os.dup2(os.open(folder / str(number), os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(own)
    sys.argv[1:] = words
    exec(code, {"__name__": "__main__"})  # noqa: S102  code of our own tests


def terminable() -> bool:
    """Begin a study's worker in a process that heeds no SIGTERM; return whether it does then."""
    signal.signal(signal.SIGTERM, lambda *_: None)
    begin(None, 1)
    return signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
