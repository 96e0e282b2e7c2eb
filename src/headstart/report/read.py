"""What a report is made from: the records of a study's folder, read without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.results import RunResult
from headstart.study.outcome.read import Records, read_records
from headstart.study.outcome.summary import AXES, Key, Summary, group_key, summarise
from headstart.study.store import PlannedRun


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        id: Its identity.
        axes: Task, model, strategy, training rows, seed, and settings of the grid.
        result: Its record.
        measured: What an observer has found in it.
    """

    id: str
    axes: Mapping[str, Any]
    result: RunResult
    measured: Mapping[str, Any] = field(default_factory=dict)

    @property
    def group(self) -> Key:
        """What it is compared within."""
        extra = {k: v for k, v in self.axes.items() if k not in AXES}
        return group_key(self.axes["task"], self.axes["model"], self.axes["train_rows"], extra)


@dataclass(frozen=True)
class Evidence:
    """All that a report tells.

    Args:
        address: The study's folder.
        summary: What the study says.
        runs: Its finished runs.
        planned: Its runs as they were asked for.
        asked: The strategies and the baseline of each request, in order.
    """

    address: str
    summary: Summary
    runs: Sequence[Run]
    planned: Sequence[PlannedRun] = ()
    asked: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


def read_study(
    address: str | Path, baseline: str | None = None, strategies: Iterable[str] = ()
) -> Evidence:
    """Read what a study's folder holds at present.

    Args:
        address: Folder or fsspec address.
        baseline: What to compare with; that of the first plan if ``None``.
        strategies: Those to show; all if empty.

    Returns:
        The evidence; a study of which nothing has ended has no groups.

    Raises:
        HeadstartError: If there is no study, or a strategy is not in it.
    """
    return evidence_of(str(address), read_records(address, baseline, strategies))


def evidence_of(address: str, found: Records) -> Evidence:
    """Say what records tell.

    Args:
        address: The study's folder.
        found: The records.

    Returns:
        The evidence.
    """
    names = found.strategies
    if found.results or found.failures or found.baseline not in names:
        summary = summarise(found.results, found.failures, found.baseline, names, found.logits)
    else:
        summary = Summary(found.baseline, [], None)
    summary.damaged = found.damaged
    summary.planned = sum(run.axes["strategy"] in names for run in found.planned)
    runs = [
        Run(r["id"], r["axes"], RunResult.from_dict(r["result"]), r["measured"])
        for r in found.results
    ]
    runs.sort(key=lambda run: names.index(run.axes["strategy"]))
    return Evidence(address, summary, runs, found.planned, found.asked)
