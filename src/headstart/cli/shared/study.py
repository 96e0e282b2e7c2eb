"""Output of the commands about studies: plans, progress, tables, failures."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from headstart.cli.shared.console import NARROWEST_NAME, facts, show, table, warn
from headstart.study.outcome import tables
from headstart.study.outcome.summary import AXES, Summary
from headstart.study.running.runner import State, Watch
from headstart.study.running.worker import Outcome
from headstart.study.store import PlannedRun, Store

if TYPE_CHECKING:  # what is only looked at can be shown without torch
    from headstart.study.plan import StudyPlan
    from headstart.study.running.executors import Executor
    from headstart.study.running.main import Study

FIRST_TO_GO = (
    ">gain/min", ">median", ">seconds", ">churn", ">best", ">needs", ">P(better)", ">worst",
    ">seeds", ">failed", ">p (Holm)",
)  # fmt: skip
"""Columns that a narrow terminal leaves out, in this order: names and numbers stay whole."""
LIVE = ("strategy", ">seeds", ">mean ± sd", ">worst", ">failed", ">difference [95 %]")
"""Columns while the study goes on."""
REST = 20
"""How much longer than computing the live table the pause after it is."""
MOST_FAILURES = 10
"""Failed runs that are shown with their reason."""


def describe_plan(
    plan: StudyPlan,
    runs: Sequence[PlannedRun],
    executor: Executor,
    out: str | None,
    *,
    sides: Sequence[str] = (),
) -> Iterator[Table | str]:
    """Show what a study, or an analysis of some sides, would do, and how long it would take."""
    from headstart.study.estimate import estimate

    missing = _missing(runs, out) if out else list(runs)
    lines = [tables.short_name(line) for line in plan.strategies]
    threads = getattr(executor, "threads", None)
    told = [
        ("tasks", ", ".join(task["name"] for task in plan.tasks)),
        ("models", ", ".join(plan.models)),
        ("strategies", ", ".join(lines)),
        *([("compared", ", ".join(sides))] if sides and list(sides) != lines else ()),
        ("baseline", tables.short_name(plan.baseline)),
        ("seeds", ", ".join(map(str, plan.seeds))),
        ("training rows", ", ".join("all" if n is None else f"{n:,}" for n in plan.train_rows)),
        *((name, ", ".join(map(str, values))) for name, values in plan.grid.items()),
        *((name, value) for name, value in plan.settings.items()),
        ("runs", f"{len(runs):,}, of which {len(runs) - len(missing):,} have ended"),
        ("at a time", str(executor.slots)),
        *([("threads", f"{threads} of each run")] if threads else ()),
    ]
    yield f"Plan of the {'analysis' if sides else 'study'}"
    yield facts(told)
    if missing:
        took = show_time(estimate(missing, executor.slots, threads and threads.count))
        yield (
            f"about {took}, by a few steps of each stage on this machine; stages "
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


def describe_summary(summary: Summary, width: int) -> Iterator[Table | str]:
    """Show what a study says, in the columns for which there is room."""
    rows = [tables.rows(group) for group in summary.groups]
    shown, left_out = _fitting(tables.HEAD, [row for cells in rows for row in cells], width)
    places = [tables.HEAD.index(name) for name in shown]
    for group, cells in zip(summary.groups, rows, strict=True):
        yield tables.title(group, summary)
        yield table(shown, ([row[i] for i in places] for row in cells))
    if summary.overall and summary.overall.ranks:
        yield tables.overall_title(summary)
        cells = tables.overall_rows(summary.overall)
        own, _ = _fitting(tables.OVERALL_HEAD, cells, width)
        places = [tables.OVERALL_HEAD.index(name) for name in own]
        yield table(own, ([row[i] for i in places] for row in cells))
    yield from tables.legend(shown)
    yield from tables.notes(summary)
    if left_out:
        names = ", ".join(name.removeprefix(">") for name in left_out)
        yield f"no room for: {names}; a wider terminal or --format md shows them"


def _fitting(
    head: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> tuple[list[str], list[str]]:
    """Return the columns that say something and fit, and those for which there is no room."""
    columns = dict(zip(head, zip(*rows, strict=True), strict=True))
    shown = [name for name in head if set(columns[name]) != {tables.UNKNOWN}]
    spaces = 3
    widest = {name: spaces + max(map(len, (name.lstrip(">"), *columns[name]))) for name in shown}
    widest[head[0]] = min(widest[head[0]], spaces + NARROWEST_NAME)
    left_out = []
    for name in FIRST_TO_GO:
        if name in shown and sum(widest[each] for each in shown) + 1 > width:
            shown.remove(name)
            left_out.append(name)
    return shown, left_out


def live_tables(summary: Summary) -> Iterator[Table]:
    """Show scores and differences in few columns."""
    places = [tables.HEAD.index(name) for name in LIVE]
    for group in summary.groups:
        made = table(LIVE, ([row[i] for i in places] for row in tables.rows(group)))
        made.title, made.title_justify = tables.title(group, summary), "left"
        yield made


def describe_status(folder: str) -> Iterator[Table | str]:
    """Show what is done, in progress, failed and missing."""
    from headstart.study.running.locks import RunLocks

    store = Store(folder).open()
    _, damaged = store.results()
    runs, done, failed = store.runs(), store.finished(), store.failed()
    working = RunLocks(store).held_by_others()
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
    """List the failed runs with their reasons; only those ``among`` some identities, if given."""
    store = Store(folder).open()
    done = store.finished()
    failures = [f for f in store.failures() if f.get("id") not in done]
    failures = [f for f in failures if among is None or f.get("id") in among]
    models = _models(store.runs().values())
    for failure in failures[:MOST_FAILURES]:
        name = _name(failure["axes"], models)
        yield f"failed: {name}: {failure.get('error', 'no reason is known')}"
    if len(failures) > MOST_FAILURES:
        yield f"… and {len(failures) - MOST_FAILURES} more, in {folder}/failures"
    if failures:
        yield "Repeat them by the same command with --retry-failed."


def show_time(seconds: float) -> str:
    """Write a duration for people. For example ``12 s``, ``3 min`` or ``2.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def study_display(study: Study, console: Console, *, quiet: bool) -> Iterator[Watch]:
    """Open the display that suits a console."""
    if quiet:
        yield Warnings()
    elif not console.is_terminal:
        yield Lines(study, console)
    else:
        # The last picture goes: what the study says is printed in its place.
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            yield Screen(study, live)


class Warnings(Watch):
    """Shows what is wrong, and nothing else."""

    def warned(self, text: str) -> None:
        """Show a warning."""
        warn(text)


class Lines(Warnings):
    """Shows one line for each run that ends."""

    def __init__(self, study: Study, console: Console) -> None:
        self.study, self.console, self.began = study, console, time.monotonic()
        self.ended_here, self.models = 0, _models(study.runs)
        self.state = State(len(study.runs))

    def looked(self, state: State) -> None:
        """Remember where the study stands."""
        self.state = state

    def ended(self, run: PlannedRun, outcome: Outcome) -> None:
        """Show a run that has ended here."""
        show(self.sentence(run, outcome), to=self.console)

    def sentence(self, run: PlannedRun, outcome: Outcome) -> str:
        """Count a run that has ended here, and say what came of it."""
        self.ended_here += 1
        ended = len(self.state.done | self.state.failed | {run.id})
        text = f"{ended} of {self.state.total}: {_name(run.axes, self.models)}: {_outcome(outcome)}"
        return f"{text}{self._left(ended)}"

    def _left(self, ended: int) -> str:
        left = self.state.total - ended
        seconds = (time.monotonic() - self.began) / self.ended_here * left
        return f"; about {show_time(seconds)} left" if left else ""


class Screen(Lines):
    """Shows a bar, what runs now, and tables so far."""

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
        self.last, self.stale = "", True
        self.renewing: threading.Thread | None = None
        self.names = {run.id: _name(run.axes, self.models) for run in study.runs}

    def looked(self, state: State) -> None:
        """Draw where the study stands."""
        super().looked(state)
        ended = len(state.done | state.failed)
        self.bar.update(self.task, completed=ended)
        if self.stale and not (self.renewing and self.renewing.is_alive()):
            self.stale = False
            self.renewing = threading.Thread(target=self._renew, daemon=True)
            self.renewing.start()
        lines = [f"running here: {self.names[i]}" for i in sorted(state.here)]
        if state.elsewhere:
            lines.append(f"running elsewhere: {len(state.elsewhere)}")
        if state.failed:
            lines.append(f"failed: {len(state.failed)}")
        told = [self.last] if self.last else []
        # What does not fit on the screen is cut at its foot.
        self.live.update(Group(self.bar, *told, *lines, "", *self.table))

    def ended(self, run: PlannedRun, outcome: Outcome) -> None:
        """Have the table renewed."""
        self.last, self.stale = self.sentence(run, outcome), True

    def _renew(self) -> None:
        """Compute the table beside the runs, and then rest, so that it takes little of a core."""
        from headstart.errors import HeadstartError
        from headstart.study.outcome.read import read_summary

        began = time.monotonic()
        with contextlib.suppress(HeadstartError):
            self.table = list(
                live_tables(read_summary(self.study.store.address, self.study.baseline))
            )
        time.sleep(REST * (time.monotonic() - began))


def _name(axes: Mapping[str, Any], models: int) -> str:
    """Name a run as its group is called in the tables."""
    size = f", {axes['train_rows']:,} rows" if axes["train_rows"] else ""
    extra = "".join(f", {name} {value}" for name, value in axes.items() if name not in AXES)
    model = f", {axes['model']}" if models > 1 else ""
    which = f"{tables.short_name(axes['strategy'])}, seed {axes['seed']}"
    return f"{axes['task']}{size}{extra}{model}, {which}"


def _models(runs: Iterable[PlannedRun]) -> int:
    return len({run.axes["model"] for run in runs})


def _outcome(outcome: Outcome) -> str:
    if outcome.result is None:
        return f"failed: {(outcome.failure or {}).get('error', 'no reason is known')}"
    result = outcome.result
    scores = result["untouched"] or result[result["selected"]]
    return f"{scores['score']:.4f} in {outcome.seconds:.1f} s"
