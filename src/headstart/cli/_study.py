"""What the commands about studies show."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from headstart.cli._console import facts, show, table
from headstart.study import tables
from headstart.study.executors import Executor
from headstart.study.main import Study
from headstart.study.plan import StudyPlan
from headstart.study.runner import State, Watch
from headstart.study.store import PlannedRun, Store
from headstart.study.summary import Summary
from headstart.study.worker import Outcome

LEFT_OUT = {">median", ">gain/min"}
"""Columns for which a terminal has no room beside whole names; files and the page have them."""
MOST_FAILURES = 10
"""Failed runs that are shown with their reason."""


def describe_plan(
    plan: StudyPlan, runs: Sequence[PlannedRun], executor: Executor, out: str
) -> Iterator[Table | str]:
    """Show what a study would do, and how long it would take.

    Args:
        plan: The plan.
        runs: Its runs.
        executor: Where they would be carried out.
        out: The study's folder.

    Yields:
        Tables and sentences.
    """
    from headstart.study.estimate import estimate

    missing = _missing(runs, out)
    sizes = ", ".join("all" if size is None else f"{size:,}" for size in plan.train_rows)
    told = [
        ("tasks", ", ".join(task["name"] for task in plan.tasks)),
        ("models", ", ".join(plan.models)),
        ("strategies", ", ".join(map(tables.short_name, plan.strategies))),
        ("baseline", tables.short_name(plan.baseline)),
        ("seeds", ", ".join(map(str, plan.seeds))),
        ("training rows", sizes),
        *((name, ", ".join(map(str, values))) for name, values in plan.grid.items()),
        *((name, value) for name, value in plan.settings.items()),
        ("runs", f"{len(runs):,}, of which {len(runs) - len(missing):,} have ended"),
        ("at a time", f"{executor.slots}"),
    ]
    yield "Plan of the study"
    yield facts(told)
    if missing:
        threads = getattr(executor, "threads", None)
        seconds = estimate(missing, executor.slots, threads)
        yield (
            f"about {show_time(seconds)}, by a few steps of each stage on this machine; stages "
            "that end when their head has learned take less"
        )
    else:
        yield "nothing is missing"


def _missing(runs: Sequence[PlannedRun], out: str) -> list[PlannedRun]:
    store = Store(out)
    if store.read("study.json") is None:
        return list(runs)
    ended = store.finished() | store.failed()
    return [run for run in runs if run.id not in ended]


def describe_summary(summary: Summary) -> Iterator[Table | str]:
    """Show what a study says.

    Args:
        summary: The summary.

    Yields:
        Tables and sentences.
    """
    shown = [i for i, name in enumerate(tables.HEAD) if name not in LEFT_OUT]
    for group in summary.groups:
        yield tables.title(group, summary)
        rows = ([row[i] for i in shown] for row in tables.rows(group))
        yield table((tables.HEAD[i] for i in shown), rows)
    if summary.overall and summary.overall.ranks:
        yield "All tasks together, in points"
        yield table(tables.OVERALL_HEAD, tables.overall_rows(summary.overall))
    yield from tables.notes(summary)


def describe_status(folder: str) -> Iterator[Table | str]:
    """Show what is done, in progress, failed and missing.

    Args:
        folder: The study's folder.

    Yields:
        A table and sentences.
    """
    from headstart.study.claims import Claims

    store = Store(folder).open()
    _, damaged = store.results()
    runs, done, failed = store.runs(), store.finished(), store.failed()
    working = Claims(store).held_by_others()
    counts: dict[tuple[Any, ...], Counter[str]] = {}
    for run in runs.values():
        key = (run.axes["task"], tables.short_name(run.axes["strategy"]))
        kind = "done" if run.id in done else "failed" if run.id in failed else "missing"
        kind = "running" if kind == "missing" and run.id in working else kind
        counts.setdefault(key, Counter())[kind] += 1
    kinds = ("done", "running", "failed", "missing")
    head = ("task", "strategy", *(f">{kind}" for kind in kinds))
    yield table(head, ([*key, *(str(n[kind]) for kind in kinds)] for key, n in counts.items()))
    total = sum((Counter(n) for n in counts.values()), Counter[str]())
    yield ", ".join(f"{total[kind]:,} {kind}" for kind in kinds) + f" of {len(runs):,} runs"
    yield from (f"damaged: {sentence}" for sentence in damaged)


def describe_failures(folder: str, among: Container[str] | None = None) -> Iterator[str]:
    """Say which runs have failed and why.

    Args:
        folder: The study's folder.
        among: Identities of the runs that are of interest; all if ``None``.

    Yields:
        Sentences.
    """
    store = Store(folder).open()
    done = store.finished()
    failures = [f for f in store.failures() if f.get("id") not in done]
    failures = [f for f in failures if among is None or f.get("id") in among]
    for failure in failures[:MOST_FAILURES]:
        axes = failure["axes"]
        name = f"{axes['task']}, {tables.short_name(axes['strategy'])}, seed {axes['seed']}"
        yield f"failed: {name}: {failure.get('error', 'no reason is known')}"
    if len(failures) > MOST_FAILURES:
        yield f"… and {len(failures) - MOST_FAILURES} more, in {folder}/failures"
    if failures:
        yield "Repeat them by the same command with --retry-failed."


def show_time(seconds: float) -> str:
    """Write a duration for people.

    Args:
        seconds: Seconds.

    Returns:
        For example ``12 s``, ``3 min`` or ``2.5 h``.
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def study_display(study: Study, console: Console, *, quiet: bool) -> Iterator[Watch]:
    """Open the display that suits a console.

    Args:
        study: The study.
        console: Where to.
        quiet: Whether to show nothing.

    Yields:
        What hears of the runs.
    """
    if quiet:
        yield Watch()
    elif not console.is_terminal:
        yield Lines(study, console)
    else:
        with Live(console=console, refresh_per_second=4) as live:
            yield Screen(study, live)


class Lines(Watch):
    """Shows one line for each run that ends.

    Args:
        study: The study.
        console: Where to.
    """

    def __init__(self, study: Study, console: Console) -> None:
        self.study, self.console, self.began = study, console, time.monotonic()
        self.ended_here = 0
        self.state = State(len(study.runs))

    def looked(self, state: State) -> None:
        """Remember where the study stands.

        Args:
            state: Counts of all runs.
        """
        self.state = state

    def ended(self, run: PlannedRun, outcome: Outcome) -> None:
        """Show a run that has ended here.

        Args:
            run: The run.
            outcome: What came of it.
        """
        show(self.sentence(run, outcome), to=self.console)

    def sentence(self, run: PlannedRun, outcome: Outcome) -> str:
        """Count a run that has ended here, and say what came of it.

        Args:
            run: The run.
            outcome: What came of it.

        Returns:
            One line.
        """
        self.ended_here += 1
        ended = len(self.state.done | self.state.failed | {run.id})
        text = f"{ended} of {self.state.total}: {_name(run)}: {_told(outcome)}"
        return f"{text}{self._left(ended)}"

    def _left(self, ended: int) -> str:
        left = self.state.total - ended
        seconds = (time.monotonic() - self.began) / self.ended_here * left
        return f"; about {show_time(seconds)} left" if left else ""


class Screen(Lines):
    """Shows a bar, what runs now, and the table so far.

    Args:
        study: The study.
        live: The display.
    """

    def __init__(self, study: Study, live: Live) -> None:
        super().__init__(study, live.console)
        self.live = live
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=live.console,
        )
        self.task = self.bar.add_task("runs", total=len(study.runs))
        self.table: list[Any] = []
        self.last = ""
        self.names = {run.id: _name(run) for run in study.runs}

    def looked(self, state: State) -> None:
        """Draw where the study stands.

        Args:
            state: Counts of all runs.
        """
        super().looked(state)
        ended = len(state.done | state.failed)
        self.bar.update(self.task, completed=ended)
        lines = [f"running here: {self.names[i]}" for i in sorted(state.here)]
        if state.elsewhere:
            lines.append(f"running elsewhere: {len(state.elsewhere)}")
        if state.failed:
            lines.append(f"failed: {len(state.failed)}")
        self.live.update(Group(*self.table, self.bar, self.last, *lines))

    def ended(self, run: PlannedRun, outcome: Outcome) -> None:
        """Renew the table.

        Args:
            run: The run.
            outcome: What came of it.
        """
        from headstart.errors import HeadstartError
        from headstart.study.read import read_summary

        self.last = self.sentence(run, outcome)
        with contextlib.suppress(HeadstartError):
            summary = read_summary(self.study.store.address, self.study.baseline)
            self.table = [part for part in describe_summary(summary) if isinstance(part, Table)]


def _name(run: PlannedRun) -> str:
    axes = run.axes
    size = f", {axes['train_rows']} rows" if axes["train_rows"] else ""
    return f"{axes['task']}{size}, {tables.short_name(axes['strategy'])}, seed {axes['seed']}"


def _told(outcome: Outcome) -> str:
    if outcome.result is None:
        return f"failed: {(outcome.failure or {}).get('error', 'no reason is known')}"
    result = outcome.result
    scores = result["untouched"] or result[result["selected"]]
    return f"{scores['score']:.4f} in {outcome.seconds:.1f} s"
