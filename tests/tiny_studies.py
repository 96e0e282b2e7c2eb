"""Small studies on tiny models."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import tiny_runs
from headstart.study.plan import read_plan
from headstart.study.running.main import Study, begin
from headstart.study.running.worker import Outcome, carry_out
from headstart.study.store import PlannedRun
from headstart.training.machine.threads import Threads

STRATEGIES = ("full(steps=3)", "bitfit(steps=3) > full(steps=3)")
ONE = Threads(1, "one for a test")


def values(folder: Path, **changes: Any) -> dict[str, Any]:
    """Describe a study of four runs."""
    own = tiny_runs.inputs(folder)
    model = own.pop("model")
    return {
        "tasks": [{k: own.pop(k) for k in ("train", "validation", "text")} | {"name": "letters"}],
        "models": [model],
        "strategies": list(STRATEGIES),
        "seeds": 2,
        "settings": {**own, "guard": False},
        **changes,
    }


def study(folder: Path, retry_failed: bool = False, **changes: Any) -> Study:
    """Begin a study in ``folder/x``."""
    plan = read_plan(values(folder, **changes))
    return begin(plan, str(folder / "x"), retry_failed=retry_failed)


class Here:
    """Carries out runs in this process, and notes which.

    ``dies`` are runs during which a worker dies; ``outcome`` is what comes of every run instead of
    training.
    """

    slots = 1

    def __init__(self, dies: Iterable[BaseException] = (), outcome: Outcome | None = None) -> None:
        self.dies, self.outcome = list(dies), outcome
        self.done: list[PlannedRun] = []
        self.closed = False

    def submit(self, run: PlannedRun) -> Future[Outcome]:
        """Carry out a run at once."""
        self.done.append(run)
        promised: Future[Outcome] = Future()
        if self.dies:
            promised.set_exception(self.dies.pop())
        else:
            promised.set_result(self.outcome or carry_out(run.settings, ONE, run.measure))
        return promised

    def close(self) -> None:
        """Note that it is over."""
        self.closed = True


def command(*words: str, **options: Any) -> subprocess.Popen[str]:
    """Start ``headstart`` in a process of its own, as a user does."""
    line = [sys.executable, "-m", "headstart", *words]
    return subprocess.Popen(
        line, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | options
    )
