"""Runs on a Ray cluster: each a task; the process that drives the study keeps what comes back.

Nodes need headstart and the model and data under the same names, but no shared folder: results come
back through Ray. A run whose node is lost is handed out again by the driver.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future
from typing import Any

from headstart.errors import ConfigError, RunError
from headstart.study.running.executors import WorkerDied
from headstart.study.running.worker import Outcome, carry_out
from headstart.study.store import PlannedRun
from headstart.training.machine.threads import Threads, choose_threads

ANSWER_SECONDS = 20.0


class RayExecutor:
    """Tasks on a Ray cluster.

    Args:
        address: ``auto``, that of a cluster's head, or ``None`` to start Ray on this machine.
        cpus: CPUs of a run, which are also its threads unless those are given.
        gpus: GPUs of a run; a part of one is allowed.
        most: Runs at a time; ``None`` for as many as the cluster has room for.
        threads: CPU threads of a run.
    """

    def __init__(
        self,
        address: str | None = None,
        cpus: float = 1,
        gpus: float = 0,
        most: int | None = None,
        threads: int | None = None,
    ) -> None:
        asked = (
            ("cpus", cpus, 0),
            ("gpus", gpus, 0),
            ("workers", most, 1),
            ("threads", threads, 1),
        )
        for name, value, least in asked:
            if value is not None and value < least:
                raise ConfigError(f"--{name} of at least {least}", str(value), "Change it.")
        ray = _import_ray()
        self._ray, self._cpus, self._gpus, self._most = ray, cpus, gpus, most
        self.threads = _threads(threads, cpus)
        self._started = not ray.is_initialized()
        if self._started:
            _connect(ray, address)
        self._task = ray.remote(carry_out).options(
            num_cpus=cpus, num_gpus=gpus, max_retries=0, name="headstart run"
        )

    @property
    def slots(self) -> int:
        """Runs for which the cluster has room, whether idle or not."""
        room = self._ray.cluster_resources()
        fits = [int(room.get("CPU", 0) // self._cpus)] if self._cpus else []
        fits += [int(room.get("GPU", 0) // self._gpus)] if self._gpus else []
        # Never none: a cluster that grows on demand begins with nothing.
        return max(1, min([*fits, *([self._most] if self._most else [])], default=1))

    def submit(self, run: PlannedRun) -> Future[Outcome] | None:
        """Begin a run."""
        reference = self._task.remote(run.settings, self.threads, run.measure)
        promised: Future[Outcome] = Future()
        promised.set_running_or_notify_cancel()
        threading.Thread(target=self._wait, args=(reference, promised), daemon=True).start()
        return promised

    def _wait(self, reference: Any, promised: Future[Outcome]) -> None:
        ray = self._ray
        try:
            promised.set_result(ray.get(reference))
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError,
                ray.exceptions.OutOfMemoryError, ray.exceptions.ObjectLostError,
                ray.exceptions.RaySystemError) as error:  # fmt: skip
            reason = str(error).strip().splitlines() or [type(error).__name__]
            promised.set_exception(
                WorkerDied("a node that lives until its run is done", reason[0], "See Ray's logs.")
            )
        except Exception as error:  # noqa: BLE001  it goes to whoever waits
            promised.set_exception(error)

    def close(self) -> None:
        """Leave the cluster; what still runs on it is cancelled."""
        if self._started:
            with contextlib.suppress(Exception):
                self._ray.shutdown()


def _threads(asked: int | None, cpus: float) -> Threads | None:
    """Return the threads of a run: as many as Ray keeps CPUs free for it, unless they are given."""
    if asked is not None:
        return choose_threads(asked)
    return Threads(max(1, int(cpus)), "--cpus") if cpus else None


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ConfigError(
            "Ray for --executor ray", "no such package", "Install it: pip install 'headstart[ray]'."
        ) from None
    return ray


def _connect(ray: Any, address: str | None) -> None:
    """Join a cluster or start one, without waiting for minutes where nothing answers."""
    if address not in (None, "auto", "local"):
        _knock(str(address))
    # Without an address Ray would join whatever cluster was last started here.
    own = {} if address not in (None, "local") else {"include_dashboard": False}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="error", **own)
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RunError(
            f"a Ray cluster at {address or 'this machine'}", reason[0],
            "Start one by `ray start --head`, and give its address or auto.",
        ) from error  # fmt: skip


def _knock(address: str) -> None:
    """Check that something listens at an address; Ray itself would try for minutes."""
    import socket

    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, ValueError) as error:
        raise RunError(
            "a Ray cluster at the given address, HOST:PORT", f"{address}: {error}",
            "Check --ray-address; `ray start --head` prints it.",
        ) from None  # fmt: skip
