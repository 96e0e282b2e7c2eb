"""A worker: one run after the other in one process, so that libraries load once."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.training.machine.threads import VARIABLE, Threads


@dataclass
class Outcome:
    """The result or the failure of a run.

    ``failure`` has ``kind``, ``error`` and ``trace``; logits are (n, outputs); ``seconds`` are wall
    time in the worker, all included.
    """

    result: dict[str, Any] | None = None
    logits: npt.NDArray[np.float32] | None = None
    failure: dict[str, Any] | None = None
    seconds: float = 0.0
    measured: dict[str, Any] | None = None


def carry_out(
    settings: dict[str, Any], threads: Threads | None = None, measure: dict[str, Any] | None = None
) -> Outcome:
    """Train and evaluate one run; an error becomes part of the outcome.

    ``measure`` is the ``name`` of an observer and its options; threads are those of the process if
    ``None``.
    """
    from headstart.config import FitConfig
    from headstart.errors import HeadstartError
    from headstart.observers import observer
    from headstart.run import run_in_memory

    began = time.perf_counter()
    try:
        config = FitConfig.build({**settings, "threads": threads.count if threads else None})
        found = observer(measure) if measure else None
        trained = run_in_memory(config, observer=found, threads=threads)
    except HeadstartError as error:
        failure = {"kind": type(error).__name__, "error": str(error), "trace": ""}
        return Outcome(failure=failure, seconds=time.perf_counter() - began)
    except Exception as error:  # noqa: BLE001  whatever it is, the other runs go on
        reason = f"{type(error).__name__}: {error}"
        failure = {"kind": type(error).__name__, "error": reason, "trace": traceback.format_exc()}
        return Outcome(failure=failure, seconds=time.perf_counter() - began)
    seconds = time.perf_counter() - began
    return Outcome(trained.result.to_plain(), trained.logits, None, seconds, trained.measured)


def begin(log: str | None, threads: int) -> None:
    """Make a process ready to be a worker.

    What the runs print goes to the file ``log``, if there is one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started the workers ends them
    # A forked one has the command's handler, whose exception can leave the queue's lock taken.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ[VARIABLE] = os.environ["MKL_NUM_THREADS"] = str(threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(target, 1)
    os.dup2(target, 2)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, even by SIGKILL."""
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
