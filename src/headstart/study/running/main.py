"""A study from its description to its folder: plan, identities, what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from headstart.config import FitConfig
from headstart.errors import ConfigError, HeadstartError, RunError, gathering, raise_all
from headstart.steps.rows import read_rows
from headstart.steps.settings import find_task
from headstart.study.identity import Digests
from headstart.study.plan import StudyPlan
from headstart.study.running.executors import Executor, closing
from headstart.study.running.runner import State, StudyRunner, Watch
from headstart.study.store import PlannedRun, Store


@dataclass
class Study:
    """A study's folder and the runs that are asked for.

    Runs are in the order in which they shall be done.
    """

    store: Store
    runs: list[PlannedRun]
    baseline: str

    @property
    def missing(self) -> list[PlannedRun]:
        """Runs without result and without failure."""
        ended = self.store.finished() | self.store.failed()
        return [run for run in self.runs if run.id not in ended]


def planned_runs(plan: StudyPlan) -> list[PlannedRun]:
    """List the runs of a plan with their identities.

    Raises ``HeadstartError`` for all faults together: strategies, tasks, rows, models not found, or
    one run under two names.
    """
    digests, faults = Digests(), list[HeadstartError]()
    runs: dict[str, PlannedRun] = {}
    for axes, settings in plan.runs():
        with gathering(faults):
            identity = digests.of_run(FitConfig.build(settings))
            if identity in runs:
                same = " and ".join(_differ(runs[identity].axes, axes))
                fix = "Keep one of them: a run is not done twice."
                faults.append(ConfigError("runs that differ", f"one run as {same}", fix))
            runs[identity] = PlannedRun(identity, axes, settings)
    raise_all({str(fault): fault for fault in faults}.values())
    return list(runs.values())


def _differ(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    names = [name for name in one if one[name] != other[name]]
    return [", ".join(f"{name} {axes[name]}" for name in names) for axes in (one, other)]


def begin(plan: StudyPlan, out: str, *, retry_failed: bool = False) -> Study:
    """Add a plan to a study's folder, which is made if there is none.

    ``out`` is a folder or fsspec address. With ``retry_failed``, failed runs of the plan count as
    missing. Raises ``HeadstartError`` if anything about the plan or the folder is at fault; nothing
    has run yet.
    """
    return begin_runs(planned_runs(plan), plan, out, retry_failed=retry_failed)


def begin_runs(
    runs: list[PlannedRun], plan: StudyPlan, out: str, *, analysis: str = "", retry_failed: bool
) -> Study:
    """Add runs to a folder, which is made if there is none.

    ``out`` is a folder or fsspec address, ``analysis`` the name of the one that asks for them. With
    ``retry_failed``, failed runs among them count as missing. Raises ``HeadstartError`` if rows or
    the folder are at fault, or it belongs to something else.
    """
    _check_rows(runs)
    store = Store(out).open(create=True)
    _require_owner(store, analysis)
    about = {"baseline": plan.baseline, "strategies": list(plan.strategies)}
    store.add_plan(runs, about | ({"analysis": analysis} if analysis else {}))
    if retry_failed:
        for identity in store.failed() & {run.id for run in runs}:
            store.remove(f"failures/{identity}.json")
    return Study(store, runs, plan.baseline)


def _require_owner(store: Store, analysis: str) -> None:
    """Check that no other command has planned the runs in a folder."""
    owners = {str(plan.get("analysis") or "") for plan in store.plans()} - {analysis}
    if owners:
        names = {f"`headstart analyze {n}`" if n else "a study" for n in sorted(owners)}
        own = f"`headstart analyze {analysis}`" if analysis else "a study"
        raise RunError(
            f"an empty folder, or one of {own}, for --out",
            f"{store.address}, which holds the runs of {' and '.join(sorted(names))}",
            "Choose another --out.",
        )


def _check_rows(runs: Iterable[PlannedRun]) -> None:
    """Read every table once, so that a fault of the rows is told before hours of other runs."""
    faults: list[HeadstartError] = []
    seen: set[str] = set()
    runs = list(runs)
    several = len({run.axes["task"] for run in runs}) > 1
    for run in runs:
        of_rows = {k: v for k, v in run.settings.items() if k not in _NOT_OF_ROWS}
        key = json.dumps(of_rows, sort_keys=True, default=str)
        if key not in seen:
            seen.add(key)
            own: list[HeadstartError] = []
            with gathering(own):
                config = FitConfig.build(run.settings)
                read_rows(config, find_task(config))
            for fault in own if several else ():
                fault.found += f" (task {run.axes['task']})"
            faults += own
    raise_all({str(fault): fault for fault in faults}.values())


_NOT_OF_ROWS = {
    "model", "strategy", "seed", "epochs", "total_epochs", "lr", "head_lr", "batch_size", "preset",
    "weight_decay", "clip", "warmup", "dropout", "head_type", "head",
    "pooling", "head_init", "head_part", "guard", "eval_every",
}  # fmt: skip


def carry_out_study(study: Study, executor: Executor, watch: Watch | None = None) -> State:
    """Carry out what is missing."""
    watch = watch or Watch()
    for sentence in study.store.results()[1]:  # damaged ones are set aside and done again
        watch.warned(sentence)
    with closing(executor):
        return StudyRunner(study.store, study.runs, executor, watch).run()
