"""The records in a study's folder, read without torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.errors import ConfigError, RunError, did_you_mean, raise_all
from headstart.strategies.notation import parse
from headstart.study.outcome.summary import Logits, Summary, summarise
from headstart.study.store import PlannedRun, Store
from headstart.techniques import TECHNIQUES
from headstart.tuners import TUNERS


@dataclass(frozen=True)
class Records:
    """The records of a study, of the strategies that are asked for.

    Results and failures are as in their folders, under their present names; ``planned`` is every
    run that was asked for, ``asked`` the requests; ``damaged`` are sentences about results that
    were set aside.
    """

    results: list[dict[str, Any]]
    failures: list[dict[str, Any]]
    baseline: str
    strategies: list[str]
    planned: list[PlannedRun]
    asked: list[dict[str, Any]]
    damaged: list[str]
    logits: Logits


def read_records(
    address: str | Path, baseline: str | None = None, strategies: Iterable[str] = ()
) -> Records:
    """Read a study's folder.

    By default the baseline is that of the first plan, and all strategies are read. Raises
    ``HeadstartError`` if there is no study, or a strategy is not in it.
    """
    store = Store(address).open()
    asked, planned = store.plans(), store.runs()
    results, damaged = store.results()
    failures = [f for f in store.failures() if f["id"] not in {r["id"] for r in results}]
    results, failures = ([r for r in rs if r["id"] in planned] for rs in (results, failures))
    for record in (*results, *failures):
        record["axes"] = planned[record["id"]].axes  # as it is called now
    if not asked:
        raise RunError(
            "a study with at least one plan", "; ".join([f"none in {address}/plans", *damaged]),
            "Repeat the command that began it: no finished run is repeated.",
        )  # fmt: skip
    names = {name: None for plan in asked for name in plan.get("strategies", [])}
    wanted = [canonical(line) for line in strategies] or list(names)
    raise_all(
        ConfigError("a strategy of the study", repr(name), did_you_mean(name, names))
        for name in wanted
        if name not in names
    )
    first = [plan["baseline"] for plan in asked if plan.get("baseline") in wanted]
    chosen = canonical(baseline) if baseline else [*first, *wanted, ""][0]
    shown = [r for r in results if r["axes"]["strategy"] in wanted]
    lost = [f for f in failures if f["axes"]["strategy"] in wanted]
    places = {identity: place for place, identity in enumerate(planned)}
    for records in (shown, lost):  # files are sorted by digest
        records.sort(key=lambda record: places.get(record["id"], len(places)))
    runs = list(planned.values())
    return Records(shown, lost, chosen, wanted, runs, asked, damaged, store.logits)


def read_summary(
    address: str | Path, baseline: str | None = None, strategies: Iterable[str] = ()
) -> Summary:
    """Compute the summary of what a study's folder holds at present.

    The arguments are those of ``read_records``. Raises ``HeadstartError`` if there is no study, or
    nothing that has ended.
    """
    summary = summary_of(read_records(address, baseline, strategies))
    if not summary.groups:
        raise RunError("at least one run that has ended", "none", "Wait for the first one.")
    return summary


def summary_of(found: Records) -> Summary:
    """Compute the summary of the records of a study.

    Raises ``ConfigError`` if the baseline is not among the strategies.
    """
    names = found.strategies
    summary = summarise(found.results, found.failures, found.baseline, names, found.logits)
    summary.damaged = found.damaged
    summary.planned = sum(run.axes["strategy"] in names for run in found.planned)
    return summary


def canonical(line: str) -> str:
    """Return the name of a strategy in every table: its line, with aliases written out.

    Raises ``NotationError`` if the line cannot be read.
    """
    return parse(line, TUNERS, TECHNIQUES).name


def split_lines(text: str) -> list[str]:
    """Split strategy lines at the commas outside brackets.

    For example ``ft, bitfit(epochs=2, lr=1e-3) > full``.
    """
    lines, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth <= 0:
            lines.append(text[start:place])
            start = place + 1
    return [line.strip() for line in (*lines, text[start:]) if line.strip()]
