"""The runs of an analysis in a study's folder: planned, begun, and read back as cases."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from headstart.analysis._base import Case, Side, Variant
from headstart.config import FitConfig
from headstart.errors import ConfigError, HeadstartError, gathering, raise_all
from headstart.observers import observer
from headstart.report.read import Run
from headstart.results import RunResult
from headstart.study.identity import Digests
from headstart.study.outcome.read import canonical
from headstart.study.outcome.summary import AXES
from headstart.study.plan import StudyPlan
from headstart.study.running.main import Study, begin_runs
from headstart.study.store import PlannedRun, Store

Runs = Mapping[int, Sequence[PlannedRun]]
"""The runs of each variant, by its place."""


def planned(plan: StudyPlan, variants: Sequence[Variant]) -> dict[int, list[PlannedRun]]:
    """List the runs of an analysis with their identities, by the place of their variant.

    Two variants may share runs. Raises ``HeadstartError`` if strategies, tasks, rows or models are
    at fault.
    """
    raise_all(_set_twice(plan, variants))
    digests, names = Digests(), [canonical(v.strategy) for v in variants]
    runs: dict[int, list[PlannedRun]] = {place: [] for place in range(len(variants))}
    for axes, settings in plan.runs():
        for place, variant in enumerate(variants):
            if names[place] != axes["strategy"]:
                continue
            own = {**settings, **variant.settings}
            measure = dict(variant.measure) if variant.measure else None
            identity = _with_measure(digests.of_run(FitConfig.build(own)), measure)
            runs[place].append(PlannedRun(identity, {**axes, **variant.axes}, own, measure))
    return runs


def _set_twice(plan: StudyPlan, variants: Sequence[Variant]) -> Iterator[ConfigError]:
    """Yield a fault for each setting of the user's that the analysis would overrule."""
    own = {name for variant in variants for name in variant.settings}
    for name in sorted(own & {*plan.settings, *plan.grid}):
        fix = "Drop it; the analysis has an option for what may be changed."
        yield ConfigError(f"{name} as the analysis sets it", f"{name} among the settings", fix)


def _with_measure(identity: str, measure: Mapping[str, Any] | None) -> str:
    if measure is None:
        return identity
    text = json.dumps([identity, measure], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def in_order(runs: Runs) -> list[PlannedRun]:
    """Return all runs once, seed by seed, so that an early end leaves whole comparisons."""
    every = {run.id: run for of_one in runs.values() for run in of_one}
    return sorted(every.values(), key=lambda run: int(run.axes["seed"]))


def begin(name: str, plan: StudyPlan, runs: Runs, out: str, *, retry_failed: bool = False) -> Study:
    """Add an analysis to its folder, a path or fsspec address, which is made if there is none.

    With ``retry_failed``, failed runs count as missing. Raises ``HeadstartError`` if rows or the
    folder are at fault, or it belongs to something else.
    """
    ordered = in_order(runs)
    check_measures(ordered)
    return begin_runs(ordered, plan, out, analysis=name, retry_failed=retry_failed)


def check_measures(runs: Iterable[PlannedRun]) -> None:
    """Check once for each observer that it can measure its runs.

    Raises ``HeadstartError`` for all faults together.
    """
    faults: list[HeadstartError] = []
    seen: set[str] = set()
    for run in runs:
        same = {k: v for k, v in run.settings.items() if k != "seed"}
        key = json.dumps([same, run.measure], sort_keys=True, default=str)
        if run.measure and key not in seen:
            seen.add(key)
            with gathering(faults):
                observer(run.measure).check(FitConfig.build(run.settings))
    raise_all({str(fault): fault for fault in faults}.values())


def cases(store: Store, variants: Sequence[Variant], runs: Runs) -> tuple[list[Case], list[str]]:
    """Read the cases of which anything has ended, and sentences about damaged results."""
    records, damaged = store.results()
    found = {r["id"]: r for r in records}
    grouped: dict[str, tuple[dict[str, Any], list[dict[int, Run]]]] = {}
    for place, variant in enumerate(variants):
        for run in runs[place]:
            own = {k: v for k, v in run.axes.items() if k not in {"strategy", "seed"}}
            own = {k: v for k, v in own.items() if k not in variant.axes}
            key = json.dumps(own, sort_keys=True, default=str)
            _, sides = grouped.setdefault(key, (own, [{} for _ in variants]))
            if run.id in found:
                record = found[run.id]
                result = RunResult.from_dict(record["result"])
                sides[place][int(run.axes["seed"])] = Run(
                    run.id, run.axes, result, record["measured"]
                )
    made = [
        Case(
            own["task"], own["model"], own["train_rows"],
            {k: v for k, v in own.items() if k not in AXES},
            [Side(v, s) for v, s in zip(variants, sides, strict=True)],
        )
        for own, sides in grouped.values()
        if any(sides)
    ]  # fmt: skip
    return made, damaged
