"""Ctrl-C without loss: finish the step, write a checkpoint, then stop."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from headstart.training.step_reports import Pause

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Pauser:
    """Asked after each step, tells whether it is time for a checkpoint.

    Inside its ``with`` block the first Ctrl-C (or SIGTERM) only asks for a checkpoint; a second one
    stops at once. Checkpoints are so many minutes apart, and so many steps if given.
    """

    def __init__(self, minutes: float, steps: int | None = None) -> None:
        self._interrupted = False
        self._seconds, self._steps = minutes * 60, steps
        self._last, self._count = time.monotonic(), 0
        self._before: dict[int, Any] = {}

    def __call__(self) -> Pause:
        """Return what is due after one more step."""
        self._count += 1
        due = bool(self._steps and self._count % self._steps == 0)
        late = time.monotonic() - self._last >= self._seconds
        if due or late:
            self._last = time.monotonic()
        if self._interrupted:
            return Pause.STOP
        return Pause.CHECKPOINT if due or late else Pause.NO

    def __enter__(self) -> Pauser:
        """Install the signal handlers, where this thread may."""
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._note) for s in STOPPING}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Restore the signal handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._interrupted = True
        signal.signal(number, self._before[number])
