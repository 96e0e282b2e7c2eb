"""Runs in the process that drives the study, one after the other: in scripts and notebooks."""

from __future__ import annotations

import ast
import sys
from concurrent.futures import Future
from pathlib import Path
from types import FrameType

import __main__
from headstart.errors import ConfigError
from headstart.study.running.worker import Outcome, carry_out
from headstart.study.store import PlannedRun
from headstart.training.machine.threads import Threads, choose_threads


class InlineExecutor:
    """Carries out each run at once, here; an interrupt ends it and what it had done."""

    slots = 1

    def __init__(self, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise ConfigError("threads of at least 1", str(threads), "Change it.")
        self.threads: Threads | None = None if threads is None else choose_threads(threads)

    def submit(self, run: PlannedRun) -> Future[Outcome]:
        """Carry out a run."""
        ended: Future[Outcome] = Future()
        ended.set_result(carry_out(run.settings, self.threads, run.measure))
        return ended

    def close(self) -> None:
        """Do nothing: there are no workers."""


def check_that_workers_can_start(workers: int) -> None:
    """Refuse worker processes where each of them would begin the script anew and fail.

    A worker imports the script that started it, to know what that defines. So a call at the
    script's top level is met again in the worker, and a script from a pipe cannot be imported.
    Raises ``ConfigError`` if the call that is being made stands outside ``if __name__ ==
    "__main__":`` in the script, or the script is no file.
    """
    name = getattr(__main__, "__file__", None)
    module = str(getattr(getattr(__main__, "__spec__", None), "name", ""))
    if name is None or module.endswith("__main__"):
        return  # a notebook, `python -c`, `python -m package`: workers import nothing
    expected, fix = f"a script that {workers} worker processes can import", "or use workers=1."
    if not Path(name).is_file():
        raise ConfigError(expected, f"one read from {name}", f"Write it to a file, {fix}")
    line = _line_of(sys._getframe())
    if line is not None and not _is_guarded(Path(name), line):
        raise ConfigError(
            expected, f'{name}, line {line}, outside of `if __name__ == "__main__":`',
            f'Put the call below `if __name__ == "__main__":`, {fix}',
        )  # fmt: skip


def _line_of(frame: FrameType | None) -> int | None:
    """Return the line at the script's top level from which a call comes."""
    while frame is not None:
        if frame.f_globals is vars(__main__) and frame.f_code.co_name == "<module>":
            return frame.f_lineno
        frame = frame.f_back
    return None


def _is_guarded(script: Path, line: int) -> bool:
    try:
        tree = ast.parse(script.read_bytes())
    except (SyntaxError, ValueError):
        return True  # not Python's own source; nothing can be told
    around = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and node.lineno <= line <= (node.end_lineno or line)
    ]
    tested = [part for node in around for part in ast.walk(node.test)]
    return any(isinstance(part, ast.Name) and part.id == "__name__" for part in tested)
