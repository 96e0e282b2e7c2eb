"""The study file, command, versions and machines that a study can be repeated with."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from headstart.report.read import Evidence
from headstart.study.outcome.summary import AXES
from headstart.study.store import PlannedRun

FILE = "study.yaml"
LEFT_OUT = {"out", "resume", "overwrite", "checkpoint_minutes", "checkpoint_steps", "seed",
            "strategy", "model", "train_rows", "task"}  # fmt: skip
"""Settings that differ by run, or that a study decides."""


def study_file(evidence: Evidence) -> str:
    """Return a study file that asks for the same runs.

    YAML; nothing if it is not known what was asked for.
    """
    planned = evidence.planned
    if not planned:
        return ""
    grid = _grid(planned)
    own = [_without(run.settings, {*AXES, *grid} - {"task"}) for run in planned]
    shared = common(own)
    tasks: dict[str, dict[str, Any]] = {}
    for run, settings in zip(planned, own, strict=True):
        name = run.axes["task"]
        rest = {k: v for k, v in settings.items() if k not in shared or k == "task"}
        tasks.setdefault(name, {"name": name, **rest})
    values: dict[str, Any] = {
        "tasks": list(tasks.values()),
        "models": _values(planned, "model"),
        "strategies": _values(planned, "strategy"),
        "seeds": sorted(_values(planned, "seed")),
    }
    sizes = _values(planned, "train_rows")
    if sizes != [None]:
        values["train_rows"] = sizes
    if grid:
        values["grid"] = grid
    values["settings"] = {k: v for k, v in shared.items() if k != "task"}
    values["baseline"] = evidence.summary.baseline
    return str(
        yaml.safe_dump(
            values, sort_keys=False, allow_unicode=True, width=90, default_flow_style=None
        )
    )


def command(evidence: Evidence) -> str:
    """Return the command that carries the study out."""
    return f"headstart study run --config {FILE} --out {shlex.quote(evidence.address)}"


def whole(evidence: Evidence) -> bool:
    """Return whether the study file asks for exactly the runs of the study.

    It does not where requests were added that are not one grid.
    """
    planned = evidence.planned
    count = 1
    for name in ("task", "model", "strategy", "seed", "train_rows"):
        count *= len(_values(planned, name))
    for values in _grid(planned).values():
        count *= len(values)
    return count == len(planned)


def facts(evidence: Evidence) -> list[tuple[str, str]]:
    """Return settings, versions, machines and data of the finished runs.

    Where runs differ, all values are given.
    """
    results = [run.result for run in evidence.runs]
    told = [(f"setting: {k}", v) for k, v in
            _joined_values(_without(r.settings, LEFT_OUT) for r in results)]  # fmt: skip
    told += [(f"version: {k}", v) for k, v in _joined_values(r.versions for r in results)]
    told += [(f"machine: {k}", v) for k, v in _joined_values(r.machine for r in results)]
    told += [(f"backbone: {k}", v) for k, v in _joined_values(r.backbone for r in results)]
    names = ("train_fingerprint", "validation_fingerprint", "validation_rows", "untouched_rows")
    for task in dict.fromkeys(run.axes["task"] for run in evidence.runs):
        own = [r.result for r in evidence.runs if r.axes["task"] == task]
        data = ({n: r.data[n] for n in names if n in r.data} for r in own)
        labels = ({"labels": r.task["labels"]} for r in own if r.task.get("labels"))
        told += [(f"data of {task}: {k}", v) for k, v in _joined_values(data)]
        told += [(f"labels of {task}", v) for _, v in _joined_values(labels)]
    return told


def common(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all tables share."""
    first = tables[0] if tables else {}
    return {k: v for k, v in first.items() if all(k in t and t[k] == v for t in tables)}


def _joined_values(tables: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    found: dict[str, dict[str, None]] = {}
    for table in tables:
        for name, value in table.items():
            found.setdefault(name, {})[_show(value)] = None
    return [(name, " | ".join(values)) for name, values in found.items() if values != {"": None}]


def _show(value: Any) -> str:
    if value is None or value in ([], {}, ""):
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _grid(planned: Sequence[PlannedRun]) -> dict[str, list[Any]]:
    names = {name: None for run in planned for name in run.axes if name not in AXES}
    return {name: _values(planned, name) for name in names}


def _values(planned: Sequence[PlannedRun], name: str) -> list[Any]:
    found: list[Any] = []
    for run in planned:
        if (value := run.axes.get(name)) not in found:
            found.append(value)
    return found


def _without(settings: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    left = set(names)
    return {k: v for k, v in settings.items() if k not in left}
