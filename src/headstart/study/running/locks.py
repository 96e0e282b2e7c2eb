"""Locks on runs, which any number of processes on any file system can share.

A lock is a file ``locks/<id>.<n>.json`` that only one process can create. Its owner renews it
every few seconds. Where the owner is dead (its process is gone, on this machine; nothing has been
renewed for a minute of the observer's own clock, on another), the next process creates the file
with ``n + 1`` and has the run. So no clock is compared with another machine's, nor with what it was
before somebody set it.

A run may take its process down with it; a user, a time limit or a power cut may too, and that is no
fault of the run. So it is given up after ``MOST_DEATHS`` that one process has looked on at, which
nobody has begun anew in between, and after ``MOST_IN_ALL`` in any case.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart.errors import RunError
from headstart.study.store import Store

BEAT = 5.0
"""Seconds between renewals."""
SILENCE = 60.0
"""Seconds without a renewal after which an owner on another machine counts as dead."""
MOST_DEATHS, MOST_IN_ALL = 3, 10
_OWNERS: set[str] = set()
"""Those of this process that have not ended."""


class RunLocks:
    """The locks of one process."""

    def __init__(self, store: Store, silence: float = SILENCE) -> None:
        self._store, self._silence = store, silence
        self._owner = {"owner": uuid.uuid4().hex, **_this_process()}
        _OWNERS.add(str(self._owner["owner"]))
        self._held: dict[str, str] = {}
        self._lock = threading.Lock()
        self._beat = 0
        self._seen: dict[str, tuple[Any, float]] = {}
        self._before: dict[str, int] | None = None

    def held_by_others(self) -> set[str]:
        """Return the identities of runs that living processes work on."""
        newest = self._newest()
        return {i for i, n in newest.items() if i not in self._held and not self._is_dead(i, n)}

    def deaths(self) -> dict[str, int]:
        """Return how many processes have died on each run that nobody living works on."""
        newest = self._newest()
        return {i: n + 1 for i, n in newest.items() if i not in self._held and self._is_dead(i, n)}

    def began(self) -> None:
        """Note what has happened before: a process that begins now gives every run a new try."""
        self._before = self._newest()

    def gives_up(self, identity: str, deaths: int) -> bool:
        """Return whether a run has taken enough processes down."""
        before = (self._before or {}).get(identity, -1) + 1
        return deaths - before >= MOST_DEATHS or deaths >= MOST_IN_ALL

    def take(self, identity: str) -> int | None:
        """Try to get a run.

        Gives how many processes have died on it before, or ``None`` if another one has it.
        """
        newest = self._newest().get(identity)
        if newest is not None and not self._is_dead(identity, newest):
            return None
        deaths = 0 if newest is None else newest + 1
        name = _name(identity, deaths)
        if not self._store.create(name, {**self._owner, "beat": 0}):
            return None
        with self._lock:
            self._held[identity] = name
        return deaths

    def give_back(self, identity: str) -> None:
        """Let go of a run: its result or failure has been written, or nobody works on it."""
        with self._lock:
            self._held.pop(identity, None)
        for name in self._store.names("locks"):
            if name.split(".")[0] == identity:
                self._store.remove(f"locks/{name}")

    @contextlib.contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew all locks every few seconds while a block runs; give back what is left then."""
        ended = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(ended,), daemon=True)
        renewing.start()
        try:
            yield
        finally:
            ended.set()
            renewing.join()
            with contextlib.suppress(RunError):
                for identity in list(self._held):
                    self.give_back(identity)
            # What could not be given back, this process may take again.
            _OWNERS.discard(str(self._owner["owner"]))

    def _renew(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT):
            self._beat += 1
            with self._lock, contextlib.suppress(RunError):
                for name in self._held.values():
                    self._store.write(name, {**self._owner, "beat": self._beat})

    def _newest(self) -> dict[str, int]:
        newest: dict[str, int] = {}
        for name in self._store.names("locks"):
            identity, _, number = name.removesuffix(".json").partition(".")
            if number:
                newest[identity] = max(newest.get(identity, 0), int(number))
        return newest

    def _is_dead(self, identity: str, number: int) -> bool:
        if identity in self._held:
            return False
        name = _name(identity, number)
        lock = self._store.read(name)
        if lock is None:
            return False  # given back in this moment
        own = _this_process()
        if all(lock.get(name) == value for name, value in own.items()):
            return lock.get("owner") not in _OWNERS
        if lock.get("host") == own["host"]:
            return not _lives(lock)
        told, now = lock.get("beat"), time.monotonic()
        before, since = self._seen.setdefault(name, (told, now))
        if before != told:
            self._seen[name] = (told, now)
        return before == told and now - since > self._silence


def _name(identity: str, number: int) -> str:
    return f"locks/{identity}.{number}.json"


@functools.cache
def _this_process() -> dict[str, Any]:
    # Containers on one machine have process numbers of their own.
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return {"host": "/".join(parts), "pid": os.getpid(), "born": _birth(os.getpid())}


def _birth(pid: int) -> float:
    """Return when a process was born, where possible in what nobody can set: ticks since boot."""
    import psutil

    with contextlib.suppress(OSError, ValueError, IndexError):
        about = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return float(about.rpartition(")")[2].split()[19])
    return float(psutil.Process(pid).create_time())


def _lives(lock: dict[str, Any]) -> bool:
    import psutil

    try:
        zombie = psutil.Process(lock["pid"]).status() == psutil.STATUS_ZOMBIE
        # A number may be given out again; two measurements of one birth differ a little.
        return not zombie and abs(_birth(lock["pid"]) - lock["born"]) < 1
    except (psutil.Error, KeyError, TypeError, ValueError, OverflowError):
        return False
