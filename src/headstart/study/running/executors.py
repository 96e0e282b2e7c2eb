"""Executors of runs: worker processes here, or a Ray cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Protocol

from headstart.errors import ConfigError, RunError
from headstart.study.running.worker import Outcome, begin, carry_out
from headstart.study.store import PlannedRun
from headstart.training.machine.threads import choose_threads

START = "spawn"
"""How workers begin. Forked, one would share locks and threads of libraries with this process."""


class WorkerDied(RunError):  # noqa: N818  it says what has happened
    """The process that a run was in has ended without a word."""


class Executor(Protocol):
    """Carries out runs."""

    def submit(self, run: PlannedRun) -> Future[Outcome] | None:
        """Begin a run: what comes of it, or ``WorkerDied``; ``None`` if there is no room now."""

    @property
    def slots(self) -> int:
        """Runs at a time."""

    def close(self) -> None:
        """End all workers at once."""


class LocalExecutor:
    """Worker processes on this machine.

    Args:
        workers: How many; each has one run at a time.
        threads: CPU threads of each; by default the user's ``OMP_NUM_THREADS``, and the cores are
            shared out where there is none.
        log: Folder for what the runs print; ``None`` for nowhere.
    """

    def __init__(self, workers: int = 1, threads: int | None = None, log: Path | None = None):
        for name, value in (("workers", workers), ("threads", threads)):
            if value is not None and value < 1:
                raise ConfigError(f"--{name} of at least 1", str(value), "Change it.")
        self.threads = choose_threads(threads, workers=workers)
        self._log = log
        self._idle: list[ProcessPoolExecutor | None] = [None] * workers
        self._pools: set[ProcessPoolExecutor] = set()
        self.slots = workers

    def submit(self, run: PlannedRun) -> Future[Outcome] | None:
        """Begin a run."""
        if not self._idle:
            return None
        pool = self._idle.pop() or self._start()
        promised: Future[Outcome] = Future()
        promised.set_running_or_notify_cancel()
        pool.submit(carry_out, run.settings, self.threads, run.measure).add_done_callback(
            lambda done: self._done(pool, done, promised)
        )
        return promised

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context(START)
        log = None if self._log is None else str(self._log / f"{os.getpid()}-{len(self._idle)}.txt")
        pool = ProcessPoolExecutor(
            1, context, initializer=begin, initargs=(log, self.threads.count)
        )
        self._pools.add(pool)
        return pool

    def _done(
        self, pool: ProcessPoolExecutor, done: Future[Outcome], promised: Future[Outcome]
    ) -> None:
        error = done.exception()
        self._idle.append(None if isinstance(error, BrokenProcessPool) else pool)
        if isinstance(error, BrokenProcessPool):
            self._pools.discard(pool)
            pool.shutdown(wait=False)
            promised.set_exception(_died(pool))
        elif error is not None:
            promised.set_exception(error)
        else:
            promised.set_result(done.result())

    def close(self) -> None:
        """End all workers at once; other processes of this one go on."""
        for pool in tuple(self._pools):
            # Python has a public way from 3.14 on.
            for worker in tuple((pool._processes or {}).values()):
                worker.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
        self._pools.clear()


def _died(pool: ProcessPoolExecutor) -> WorkerDied:
    del pool
    return WorkerDied(
        "a worker that lives until its run is done",
        "one that has ended without a word: killed, or out of memory",
        "See whether memory suffices; use fewer --workers or a smaller batch.",
    )


@contextlib.contextmanager
def closing(executor: Executor) -> Iterator[Executor]:
    """End an executor's workers after a block."""
    try:
        yield executor
    finally:
        executor.close()
