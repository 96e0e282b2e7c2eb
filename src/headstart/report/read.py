"""What a report is made from: the records of a study's folder, read without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.results import RunResult
from headstart.study.read import read_records
from headstart.study.store import PlannedRun
from headstart.study.summary import AXES, Key, Logits, Summary, group_key, summarise


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
    found = read_records(address, baseline, strategies)
    return gather(
        str(address), found.results, found.failures, found.baseline, found.strategies,
        planned=found.planned, asked=found.asked, damaged=found.damaged, logits=found.logits,
    )  # fmt: skip


def gather(
    address: str,
    results: Sequence[Mapping[str, Any]],
    failures: Sequence[Mapping[str, Any]],
    baseline: str,
    strategies: Sequence[str],
    *,
    planned: Sequence[PlannedRun] = (),
    asked: Sequence[Mapping[str, Any]] = (),
    damaged: Sequence[str] = (),
    logits: Logits = lambda _: None,
) -> Evidence:
    """Put the records of a study together.

    Args:
        address: The study's folder.
        results: Records as in ``results/``.
        failures: Records as in ``failures/``.
        baseline: The strategy to compare with.
        strategies: Those to show, in this order.
        planned: The runs that were asked for.
        asked: The requests.
        damaged: Sentences about results that were set aside.
        logits: Gives the logits of a run, for the churn.

    Returns:
        The evidence.
    """
    shown = [r for r in results if r["axes"]["strategy"] in strategies]
    lost = [f for f in failures if f["axes"]["strategy"] in strategies]
    if shown or lost or baseline not in strategies:
        summary = summarise(shown, lost, baseline, strategies, logits)
    else:
        summary = Summary(baseline, [], None)
    summary.damaged = list(damaged)
    summary.planned = sum(run.axes["strategy"] in strategies for run in planned)
    runs = [
        Run(r["id"], r["axes"], RunResult.from_dict(r["result"]), r.get("measured") or {})
        for r in shown
    ]
    runs.sort(key=lambda run: strategies.index(run.axes["strategy"]))
    return Evidence(address, summary, runs, planned, asked)
