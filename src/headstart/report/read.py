"""The data of a report: the records of a study's folder, read without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.results import RunResult
from headstart.study.outcome.read import Records, read_records, summary_of
from headstart.study.outcome.summary import Key, Summary, group_key
from headstart.study.store import PlannedRun


@dataclass(frozen=True)
class Run:
    """A finished run: its axes, as in a plan, its record, and what an observer has found."""

    id: str
    axes: Mapping[str, Any]
    result: RunResult
    measured: Mapping[str, Any] = field(default_factory=dict)

    @property
    def group(self) -> Key:
        """The key of the group that it is compared within."""
        return group_key(self.axes)


@dataclass(frozen=True)
class Evidence:
    """The data of a report: summary, finished runs, and runs and requests as asked for."""

    address: str
    summary: Summary
    runs: Sequence[Run]
    planned: Sequence[PlannedRun] = ()
    asked: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


def read_study(
    address: str | Path, baseline: str | None = None, strategies: Iterable[str] = ()
) -> Evidence:
    """Read what a study's folder holds at present.

    By default the baseline is that of the first plan, and all strategies are shown. A study of
    which nothing has ended has no groups. Raises ``HeadstartError`` if there is no study, or a
    strategy is not in it.
    """
    return evidence_of(str(address), read_records(address, baseline, strategies))


def evidence_of(address: str, found: Records) -> Evidence:
    """Compute what a report is made from."""
    runs = [
        Run(r["id"], r["axes"], RunResult.from_dict(r["result"]), r["measured"])
        for r in found.results
    ]
    runs.sort(key=lambda run: found.strategies.index(run.axes["strategy"]))
    return Evidence(address, summary_of(found), runs, found.planned, found.asked)
