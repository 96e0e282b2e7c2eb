"""What a terminal shows of a study: whole words and numbers at any width, and cheap tables."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.live import Live

import tiny_records as made
from headstart.cli.shared import study as _study
from headstart.cli.shared.console import show
from headstart.cli.shared.study import Lines, Screen, Warnings, describe_summary, study_display
from headstart.study.outcome.tables import HEAD, rows
from headstart.study.running.main import Study
from headstart.study.running.runner import State
from headstart.study.running.worker import Outcome
from headstart.study.store import Store

LONG = "bitfit(epochs=2) > lora > full"


def shown(width: int, seeds: int = 8) -> str:
    """Return what a terminal of a width shows of a study."""
    found = made.evidence(made.noisy({LONG: 0.05}), (made.FULL, LONG), seeds)
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    show(*describe_summary(found.summary, width), to=console)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_names_and_numbers_stay_whole(width: int) -> None:
    found = made.evidence(made.noisy({LONG: 0.05}), (made.FULL, LONG), 8)
    text = shown(width)
    title = next(line for line in text.splitlines() if line.strip().startswith("strategy"))
    assert len(title) <= width
    for name in (name for name in HEAD if name.removeprefix(">") in title):
        for row in rows(found.summary.groups[0]):
            cell = row[HEAD.index(name)]
            assert all(word in text for word in (cell.split() if name == "strategy" else [cell]))
    for name in ("mean ± sd", "difference [95 %]"):
        assert name in title
    said = "no room for" in text
    assert said == any(name.removeprefix(">") not in title for name in HEAD if name != ">churn")


def test_only_what_is_shown_is_explained() -> None:
    assert "gain/min: " not in shown(100)
    assert "gain/min: " in shown(200)
    assert "churn: " not in shown(200)  # nothing is known of it here
    alone = shown(200, seeds=1)
    assert "p: " not in alone
    assert "with 1 pair of seeds" in alone


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study of which two seeds have ended."""
    found = made.evidence(made.noisy({}), seeds=2)
    made.write(found, [made.record(run.axes, 0.7) for run in found.planned], tmp_path / "x")
    return Study(Store(tmp_path / "x").open(), list(found.planned), made.FULL)


def test_the_screen_computes_beside_the_runs_and_once_at_a_time(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[threading.Thread] = []
    go_on = threading.Event()

    def read(*_: Any) -> Any:
        calls.append(threading.current_thread())
        go_on.wait()
        return made.evidence(made.noisy({}), seeds=2).summary

    monkeypatch.setattr("headstart.study.outcome.read.read_summary", read)
    monkeypatch.setattr(_study, "REST", 0)
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        screen = Screen(study, live)
        outcome = Outcome(made.result(study.runs[0].axes, 0.7).to_plain())
        for run in study.runs:
            screen.ended(run, outcome)
            screen.looked(State(4, done={run.id}))
        assert len(calls) == 1
        go_on.set()
        assert screen.renewing is not None
        screen.renewing.join()
        screen.looked(State(4, done={run.id for run in study.runs}))
        screen.renewing.join()
        live.refresh()
    assert len(calls) == 2
    assert threading.main_thread() not in calls
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.rindex("4/4") < text.rindex("  bitfit > full")  # the bar is never cut off


def test_a_run_is_named_by_all_that_tells_it_from_others(study: Study) -> None:
    for run in study.runs:
        run.axes.update(train_rows=1000, lr="1e-5")
    console = Console(file=io.StringIO(), width=200)
    lines = Lines(study, console)
    outcome = Outcome(made.result(study.runs[0].axes, 0.7).to_plain())
    lines.ended(study.runs[0], outcome)
    study.runs[1].axes["model"] = "another"
    Lines(study, console).ended(study.runs[0], outcome)
    first, second = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert "reviews, 1,000 rows, lr 1e-5, full (ft), seed 0: " in first
    assert "reviews, 1,000 rows, lr 1e-5, tiny-model, full (ft), seed 0: " in second


def test_each_kind_of_output_has_its_display(study: Study) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True)
    plain = Console(file=io.StringIO())
    for console, quiet, kind in (
        (terminal, False, Screen), (plain, False, Lines), (terminal, True, Warnings),
    ):  # fmt: skip
        with study_display(study, console, quiet=quiet) as watch:
            assert type(watch) is kind
