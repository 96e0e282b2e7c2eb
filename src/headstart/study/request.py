"""The plan and the executor of a study, from the arguments of the command line or of Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.configfile import TRUST, without_trust
from headstart.errors import ConfigError, did_you_mean
from headstart.files.home import path_of
from headstart.study.plan import StudyPlan, read_plan, read_plan_file
from headstart.study.running.executors import Executor, LocalExecutor

EXECUTORS = ("local", "ray")


def request(
    config: Path | None,
    axes: Mapping[str, Any],
    rows: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> StudyPlan:
    """Make the plan from a file and arguments; arguments win over the file.

    Arguments win over the file. Keys of ``axes`` are as in it; those without a value are left out.
    ``rows`` are ``train``, ``validation``, ``text`` and ``label``, which make a task if ``train``
    is among them, and are settings of all runs if not. Raises ``HeadstartError`` for all faults
    together.
    """
    said = any(name.replace("-", "_") == TRUST for name in settings)
    values = without_trust(read_plan_file(config), config, said=said) if config else {}
    values |= _given(axes)
    own, of_file = _given(rows), values.get("settings") or {}
    # What is no table is told by read_plan, with all else.
    shared = {**of_file, **settings} if isinstance(of_file, Mapping) else of_file
    if own.get("train"):
        if values.get("tasks"):
            raise ConfigError("--train or --task", "both", "Drop one, or write a study file.")
        values["tasks"] = [own]
    elif isinstance(shared, Mapping):
        shared = {**shared, **own}
    return read_plan({**values, "settings": shared})


def choose_executor(
    kind: str,
    workers: int | None,
    threads: int | None,
    address: str | None,
    cpus: float,
    gpus: float,
    out: str | None,
) -> Executor:
    """Return where the runs shall be carried out.

    ``workers`` by default are 1 here, all that a cluster has room for; ``threads`` those of
    ``OMP_NUM_THREADS``, or a share of the cores; ``out`` keeps what local workers print. Raises
    ``HeadstartError`` if what is asked for cannot be, or the cluster does not answer.
    """
    if kind not in EXECUTORS:
        raise ConfigError("local or ray as executor", repr(kind), did_you_mean(kind, EXECUTORS))
    if kind == "local":
        if address:
            raise ConfigError("--executor ray beside --ray-address", "local", "Add or drop it.")
        log = None if out is None or "://" in out else path_of(out) / "logs"
        return LocalExecutor(1 if workers is None else workers, threads, log)
    from headstart.study.running.ray_executor import RayExecutor

    return RayExecutor(address, cpus, gpus, workers, threads)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if v is not None and v not in ([], {}, ())}
