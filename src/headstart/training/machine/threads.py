"""The number of CPU threads of a run, and the reason for it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

VARIABLE = "OMP_NUM_THREADS"
_FIRST = re.compile(r"\s*(\d+)\s*(?:,.*)?")  # 4,2 is 4 threads, and 2 inside each


@dataclass(frozen=True)
class Threads:
    """A number of CPU threads, and who or what has chosen it."""

    count: int
    reason: str

    def __str__(self) -> str:
        return f"{self.count} thread{'' if self.count == 1 else 's'} ({self.reason})"


def choose_threads(
    asked: int | None, *, workers: int | None = None, present: int = 1, untouched: bool = True
) -> Threads:
    """Choose the threads of a run: those asked for, else the user's ``OMP_NUM_THREADS``.

    Where neither is given, the workers of a study share out the processor's cores, and a run in
    this process keeps the threads that torch has. ``OMP_NUM_THREADS`` comes before the cores
    because these may be busy: two threads on shared cores can be several times slower than one.

    Args:
        asked: ``--threads``; ``None`` if it was not given.
        workers: Processes that are about to start; ``None`` for a run in this one.
        present: Threads that torch has in this process. It has read ``OMP_NUM_THREADS`` itself, so
            another number was set since, which is left alone.
        untouched: Whether torch has had that number from the start.

    Returns:
        The number and its reason.
    """
    if asked is not None:
        return Threads(asked, "--threads")
    told = _of_user()
    if workers is not None:
        if told:
            return Threads(told, VARIABLE)
        cores = usable_cores()
        shared = f"{cores} core{'' if cores == 1 else 's'} for {workers} at a time"
        return Threads(max(1, cores // workers), shared)
    if present == told:
        return Threads(present, VARIABLE)
    return Threads(present, "torch's choice" if untouched and not told else "set in this process")


def usable_cores() -> int:
    """Return the number of the processor's cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _of_user() -> int | None:
    """Return the number in the environment; ``None`` for one that OpenMP would not read either."""
    read = _FIRST.fullmatch(os.environ.get(VARIABLE, ""))
    return int(read[1]) or None if read else None
