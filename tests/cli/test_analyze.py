"""``headstart analyze``: runs are kept and resumed, the page is written anew, faults are told."""

from __future__ import annotations

import io
import json
import re
import sys
from concurrent.futures import Future
from functools import partial
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

import tiny_runs
import tiny_studies
from cli.rows import Answer, Run
from headstart.analysis import ANALYSES
from headstart.cli.shared.app import find_command
from headstart.cli.shared.console import tables_that_fit
from headstart.observers import OBSERVERS
from headstart.study import request
from headstart.study.running.worker import Outcome
from headstart.study.store import PlannedRun

LINES = "full(steps=2), head(steps=2)"
NASTY = "<img src=x onerror=alert(1)>"


class Interrupted(tiny_studies.Here):
    """Is interrupted by the user when a run is to begin."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def submit(self, run: PlannedRun) -> Future[Outcome]:
        """Carry out a run, unless it is one too many."""
        if len(self.done) == self.after:
            raise KeyboardInterrupt
        return super().submit(run)


class Asked:
    """Carries out analyses on tiny rows in this process.

    ``patch`` puts an executor of this process in place of the workers.
    """

    def __init__(self, cli: Run, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.cli, self.patch, self.out = cli, patch, folder / "out"
        self.own = tiny_runs.inputs(folder)
        self.here = tiny_studies.Here()

    def __call__(
        self, name: str, *words: object, strategies: str = LINES, executor: Any = None, **own: Any
    ) -> Answer:
        self.here = executor or tiny_studies.Here()
        self.patch.setattr(request, "choose_executor", lambda *_: self.here)
        values = {**self.own, **own}
        line = ["analyze", name, "--out", self.out, "--strategies", strategies, "--quiet"]
        for option in ("model", "train", "validation", "text"):
            line += [f"--{option}", values[option]]
        line += ["--seeds", "2", "--set", "guard=false", "--set", "batch_size=8", *words]
        self.patch.setattr(sys, "argv", ["headstart", *map(str, line)])
        return self.cli(*line)

    def page(self, name: str) -> str:
        """Return the page of an analysis."""
        return (self.out / f"{name}.html").read_text(encoding="utf-8")


@pytest.fixture
def ask(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Ask for analyses of tiny runs."""
    return Asked(cli, tmp_path, monkeypatch)


def test_the_second_call_repeats_no_run_and_writes_the_page_anew(ask: Asked) -> None:
    first = ask("drift")
    assert first.code == 0, first.err
    assert len(ask.here.done) == 4
    assert ask.here.done[0].measure == {"name": "drift", "rows": 1000}
    found = json.loads((ask.out / "drift.json").read_text())
    assert [(f["strategy"], f["seeds"]) for f in found] == [
        ("full(steps=2)", [0, 1]), ("head(steps=2)", [0, 1]),
    ]  # fmt: skip
    assert min(found[0]["l2"]) > 0 == max(found[1]["l2"])
    page = ask.page("drift")
    (ask.out / "drift.html").write_text("old")
    again = ask("drift")
    assert (again.code, ask.here.done) == (0, [])
    assert ask.page("drift") == page
    assert again.out == first.out
    assert "features move least under head(steps=2)" in again.out
    assert "headstart analyze drift --out" in page


def test_settings_of_all_runs_are_options(ask: Asked) -> None:
    answer = ask("drift", "--batch-size", 4, "--lr", "1e-3", strategies="full(steps=2)")
    assert answer.code == 0, answer.err
    settings = [run.settings for run in ask.here.done]
    assert [(each["lr"], each["batch_size"]) for each in settings] == [("1e-3", "4")] * 2
    refused = ask("drift", "--resume", strategies="full(steps=2)")
    assert refused.code == 2
    assert "a study always goes on where it was" in refused.err


def test_an_option_of_an_analysis_comes_before_a_setting_of_that_name() -> None:
    analyses = find_command("analyze")
    own = {p.name: p for p in analyses.get_command(None, "share").params}
    assert own["epochs"].rich_help_panel == "Analysis"
    assert "strategy" not in own
    assert {"strategy", "epochs"} <= {p.name for p in analyses.get_command(None, "drift").params}


def test_more_seeds_and_strategies_are_added(ask: Asked) -> None:
    ask("change")
    more = ask("change", "--seeds", 3, strategies=f"{LINES}, bitfit(steps=2)")
    assert more.code == 2  # --seeds stands twice
    more = ask("change", strategies=f"{LINES}, bitfit(steps=2)")
    assert more.code == 0, more.err
    assert [run.axes["strategy"] for run in ask.here.done] == ["bitfit(steps=2)"] * 2
    assert "bitfit(steps=2) the layers' weights" in more.out
    assert "under head(steps=2) no parameter of the backbone changes" in more.out
    assert "weights stay as they are" in more.out


def test_an_interrupted_analysis_goes_on(ask: Asked) -> None:
    stopped = ask("drift", executor=Interrupted(after=2))
    assert stopped.code == 130
    assert "2 of 4 runs are kept" in stopped.err
    assert {run.axes["seed"] for run in ask.here.done} == {0}  # whole comparisons first
    assert "2 of 4 runs have not ended yet" in ask.page("drift")
    assert "features move least under head(steps=2)" in stopped.out
    assert [f["seeds"] for f in json.loads((ask.out / "drift.json").read_text())] == [[0], [0]]
    assert ask("drift").code == 0
    assert [run.axes["seed"] for run in ask.here.done] == [1, 1]
    assert "have not ended yet" not in ask.page("drift")
    found = json.loads((ask.out / "drift.json").read_text())
    assert [f["seeds"] for f in found] == [[0, 1], [0, 1]]


def test_an_analysis_that_is_interrupted_at_once_has_no_page(ask: Asked) -> None:
    stopped = ask("drift", executor=Interrupted(after=0))
    assert stopped.code == 130
    assert "no run has finished, so there is no page yet" in stopped.err
    assert not (ask.out / "drift.html").exists()


def test_a_folder_belongs_to_one_analysis_or_to_a_study(ask: Asked, tmp_path: Path) -> None:
    assert ask("drift").code == 0
    other = ask("change")
    assert (other.code, ask.here.done) == (2, [])
    assert "which holds the runs of `headstart analyze drift`" in other.err
    values = ["--model", ask.own["model"], "--train", ask.own["train"], "--text", "sentence"]
    studied = ask.cli("study", "run", *values, "--out", ask.out, "--strategies", "full(steps=1)")
    assert studied.code == 2
    assert "which holds the runs of `headstart analyze drift`" in studied.err
    tiny_studies.study(tmp_path)  # in tmp_path / "x"
    ask.out = tmp_path / "x"
    refused = ask("drift")
    assert refused.code == 2
    assert "which holds the runs of a study" in refused.err


def test_failed_runs_are_named_on_the_page(ask: Asked) -> None:
    lines = "full(steps=2), full(steps=2, lr=1e30)"
    answer = ask("drift", strategies=lines)
    assert answer.code == 3
    assert "seed 1: expected a training loss that is a number" in answer.err
    page = ask.page("drift")
    assert "2 of 4 runs have failed and are left out." in page
    named = "failed: train, full(steps=2, lr=1e+30), seed 0: expected a training loss"
    assert escape(named) in page
    assert [f["strategy"] for f in json.loads((ask.out / "drift.json").read_text())] == [
        "full(steps=2)"
    ]
    assert ask("drift", strategies=lines).code == 3
    assert ask.here.done == []
    ask("drift", "--retry-failed", strategies=lines)
    assert len(ask.here.done) == 2


def test_nothing_but_failures_leaves_no_page(ask: Asked) -> None:
    answer = ask("change", strategies="full(steps=2, lr=1e30)")
    assert answer.code == 3
    assert "no run has finished, so there is no page yet" in answer.err
    assert not (ask.out / "change.html").exists()


def test_what_a_user_typed_stays_text(ask: Asked, tmp_path: Path) -> None:
    odd = tmp_path / f"{NASTY}.csv"
    tiny_runs.frame(24, 0).to_csv(odd, index=False)
    for name in ("drift", "change"):
        ask.out = tmp_path / name
        assert ask(name, train=str(odd)).code == 0
        page = ask.page(name)
        assert "<img" not in page.split("<body>")[1]
        assert escape(NASTY) in page


def test_a_study_of_the_same_runs_can_be_read(ask: Asked) -> None:
    ask("drift", "--rows", 5)
    ask("drift", "--rows", 6)
    status = ask.cli("study", "status", ask.out)
    assert "8 done, 0 running, 0 failed, 0 missing of 8 runs" in status.out
    table = ask.cli("study", "table", ask.out)
    assert table.code == 0
    rows = [line.split() for line in table.out.splitlines() if "(steps=2)  " in line]
    assert [(row[0], row[1]) for row in rows] == [("full(steps=2)", "2"), ("head(steps=2)", "2")]


def test_a_dry_run_and_a_single_strategy(ask: Asked) -> None:
    planned = ask("drift", "--dry-run")
    assert planned.code == 0
    assert "Plan of the analysis" in planned.out
    assert "4, of which 0 have ended" in planned.out
    assert "compared" not in planned.out  # these are the strategies
    assert not ask.out.exists()
    words = [*sys.argv[1:3], *sys.argv[5:]]  # all but --out and its value
    without = ask.cli(*words)
    assert without.code == 0
    assert "4, of which 0 have ended" in without.out
    refused = ask.cli(*(word for word in words if word != "--dry-run"))
    assert (refused.code, refused.out) == (2, "")
    assert "--out for `headstart analyze drift`" in refused.err
    alone = ask("drift", strategies="full(steps=2), full(steps=2)")
    assert alone.code == 0
    assert "(mean L2 distance) under full(steps=2), 2 seeds" in alone.out


def test_the_example_of_the_documentation_is_an_analysis(
    ask: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "analyses.md").read_text(encoding="utf-8")
    part = page[page.index("## One of your own") :]
    for registry, code in zip(
        (OBSERVERS, ANALYSES), re.findall(r"```python\n(.*?)```", part, re.DOTALL), strict=True
    ):
        names: dict[str, Any] = {}
        exec(code, names)  # noqa: S102
        point = SimpleNamespace(load=partial(names.get, registry.attribute))
        monkeypatch.setitem(cast(Any, registry)._plugins, "headnorm", point)
    answer = ask("headnorm")
    assert answer.code == 0, answer.err
    found = json.loads((ask.out / "headnorm.json").read_text())
    assert [(row[1], row[2]) for row in found][::2] == [
        ("full(steps=2)", "0"),
        ("head(steps=2)", "0"),
    ]
    assert "Norm of the head" in ask.page("headnorm")


def test_a_table_that_is_too_wide_becomes_several_with_the_names_in_each() -> None:
    head = ("strategy", ">one", ">two", ">three")
    rows = [["full (ft)", "1" * 20, "2" * 20, "3" * 20], ["bitfit > full (eh-ft)", "4", "5", "6"]]
    made = [
        [column.header for column in table.columns] for table in tables_that_fit(head, rows, 80)
    ]
    assert made == [["strategy", "one", "two"], ["strategy", "three"]]
    printed = io.StringIO()
    console = Console(file=printed, width=80)
    for table in tables_that_fit(head, rows, 80):
        console.print(table)
    assert printed.getvalue().count("bitfit > full (eh-ft)") == 2
    assert all(cell in printed.getvalue() for row in rows for cell in row)
    (whole,) = tables_that_fit(head, rows, 140)
    assert len(whole.columns) == 4
    assert len([*tables_that_fit(head, rows, 10)]) == 3  # never a column without its names


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("analyze", "drfit"), "Did you mean 'drift'?"),
        (("analyze", "drift", "--rows", "1", "--out", "x"), "--rows of at least 2"),
        (("analyze", "drift", "--task", "rte", "--out", "x", "--row", "1"), "--rows"),
        (("analyze", "drift", "--task", "rte"), "--out"),
    ],
)
def test_faults_are_told(cli: Run, words: tuple[str, ...], told: str) -> None:
    answer = cli(*words)
    assert answer.code == 2
    assert told in answer.err


def test_the_list_of_analyses_and_their_help(cli: Run) -> None:
    listed = cli("analyze", "--help").out
    assert len(ANALYSES) >= 2
    for name in ANALYSES:
        assert name in listed
        told = " ".join(cli("analyze", name, "--help").out.split())
        assert "--out" in told
        assert f"headstart analyze {name} --" in told
