"""The loop of a study: lock what is missing, hand it out, keep what comes back.

::

    until nothing is missing:
        take runs that nobody works on, as many as there are workers
        wait for one to end
        keep its result or its failure, then give the lock back
        what other processes on the same folder have finished is not missing any more
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from headstart.errors import RunError
from headstart.study.running.executors import Executor, WorkerDied
from headstart.study.running.locks import MOST_DEATHS, RunLocks
from headstart.study.running.worker import Outcome
from headstart.study.store import PlannedRun, Store

log = logging.getLogger("headstart")
Answer = TypeVar("Answer")

LOOK = 1.0
"""Seconds between looks at what other processes do."""
AWAY = 60.0
"""Seconds for which the study's folder may be away, or full, before the study ends: the result of
hours may be at hand."""


class Watch:
    """Callbacks of a study: this class logs warnings, displays override it."""

    def started(self, run: PlannedRun) -> None:
        """Handle the start of a run here."""

    def ended(self, run: PlannedRun, outcome: Outcome) -> None:
        """Handle the end of a run here, and what came of it."""

    def warned(self, text: str) -> None:
        """Handle a problem with the folder, told in a sentence."""
        log.warning(text)

    def looked(self, state: State) -> None:
        """Handle the present state of the study, runs of other processes included."""


@dataclass
class State:
    """Numbers and identities of runs that are done, failed or in progress.

    ``here`` are those that this process has handed out, ``elsewhere`` those that others work on.
    """

    total: int
    done: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    here: set[str] = field(default_factory=set)
    elsewhere: set[str] = field(default_factory=set)


class StudyRunner:
    """Carries out the runs of a study that are missing."""

    def __init__(
        self,
        store: Store,
        runs: Iterable[PlannedRun],
        executor: Executor,
        watch: Watch | None = None,
    ) -> None:
        self.store, self.executor, self.watch = store, executor, watch or Watch()
        self.runs = {run.id: run for run in runs}
        self.locks = RunLocks(store)
        self._out: dict[Future[Outcome], PlannedRun] = {}
        self._deaths: dict[str, int] = {}
        self.state = State(len(self.runs))

    def run(self) -> State:
        """Carry out what is missing, and wait for what others work on, until all has ended."""
        with self.locks.renewed():
            self.locks.began()
            while True:
                self._with_folder(self._look)
                missing = self.runs.keys() - self.state.done - self.state.failed
                if not missing:
                    return self.state
                # What processes have died on comes last: the others shall not wait for it.
                died = self.locks.deaths()
                free = [i for i in self.runs if i in missing - self.state.here]
                free.sort(key=lambda identity: died.get(identity, 0))
                self._hand_out(i for i in free if i not in self.state.elsewhere)
                self.watch.looked(self.state)
                self._collect()

    def _with_folder(self, act: Callable[[], Answer]) -> Answer:
        """Call a function that needs the folder; retry for a while where that is not reachable."""
        began: float | None = None
        while True:
            try:
                return act()
            except RunError as error:
                if began is None:
                    began = time.monotonic()
                    self.watch.warned(f"{error} Waiting for it for {AWAY:.0f} s.")
                if time.monotonic() - began > AWAY:
                    raise
            time.sleep(LOOK)

    def _look(self) -> None:
        state = self.state
        state.done = self.store.finished() & self.runs.keys()
        state.failed = self.store.failed() & self.runs.keys() - state.done
        state.here = {run.id for run in self._out.values()}
        state.elsewhere = self.locks.held_by_others() & self.runs.keys()
        self.watch.looked(state)

    def _hand_out(self, identities: Iterable[str]) -> None:
        for identity in identities:
            if len(self._out) >= self.executor.slots:
                return
            deaths = self._with_folder(functools.partial(self.locks.take, identity))
            if deaths is None:
                continue
            run = self.runs[identity]
            # Whoever had it may have finished between the look and the lock.
            if identity in self.store.finished() | self.store.failed():
                self.locks.give_back(identity)
            elif self.locks.gives_up(identity, deaths):
                self._failed(run, _given_up(deaths))
            else:
                self._begin(run)

    def _begin(self, run: PlannedRun) -> None:
        self.state.here.add(run.id)
        self.watch.started(run)
        promised = self.executor.submit(run)
        if promised is None:
            self.state.here.discard(run.id)
            self.locks.give_back(run.id)
            return
        self._out[promised] = run

    def _collect(self) -> None:
        if not self._out:
            time.sleep(LOOK)  # all that is missing is in the hands of others
            return
        for promised in wait(self._out, LOOK, FIRST_COMPLETED).done:
            run = self._out.pop(promised)
            error = promised.exception()
            if isinstance(error, WorkerDied):
                self._worker_died(run, error)
            elif error is not None:
                raise error
            else:
                self._keep(run, promised.result())

    def _keep(self, run: PlannedRun, outcome: Outcome) -> None:
        if outcome.result is None or outcome.logits is None:
            self._failed(run, outcome.failure or {}, outcome)
            return
        result, logits, measured = outcome.result, outcome.logits, outcome.measured
        self._with_folder(lambda: self.store.put(run, result, logits, measured))
        self._with_folder(lambda: self.locks.give_back(run.id))
        self.watch.ended(run, outcome)

    def _worker_died(self, run: PlannedRun, error: WorkerDied) -> None:
        self._deaths[run.id] = self._deaths.get(run.id, 0) + 1
        if self._deaths[run.id] < MOST_DEATHS:
            self._begin(run)  # the lock is still ours
            return
        self._failed(run, {"kind": "WorkerDied", "error": str(error), "trace": ""})

    def _failed(
        self, run: PlannedRun, failure: Mapping[str, Any], outcome: Outcome | None = None
    ) -> None:
        self._with_folder(lambda: self.store.put_failure(run, failure))
        self._with_folder(lambda: self.locks.give_back(run.id))
        self.watch.ended(run, outcome or Outcome(failure=dict(failure)))


def _given_up(deaths: int) -> dict[str, Any]:
    error = f"{deaths} processes have died while they worked on this run"
    return {"kind": "WorkerDied", "error": error, "trace": ""}
