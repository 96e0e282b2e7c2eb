"""Studies in Python: in this process, resumed after an interrupt, refused before harm is done."""

from __future__ import annotations

import csv
import io
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import forked
import headstart as hs
import tiny_runs
import tiny_studies
from alike import ALL
from headstart.errors import HeadstartError
from headstart.study.running.runner import Watch
from headstart.study.store import Store

LINES = list(tiny_studies.STRATEGIES)


def words(folder: Path, **changes: Any) -> dict[str, Any]:
    """Describe the study of ``tiny_studies`` by the words of ``run_study``."""
    own = tiny_runs.inputs(folder)
    rows = {name: own.pop(name) for name in ("train", "validation", "text", "model")}
    settings = {**own, "guard": False}
    named = {"strategies": LINES, "seeds": 2, "settings": settings, "out": folder / "x"}
    return {**rows, **named, **changes}


def test_a_study_in_this_process_gives_what_the_command_line_reads(tmp_path: Path) -> None:
    result = hs.run_study(**words(tmp_path))
    assert [run.axes["seed"] for run in result.runs] == [0, 1, 0, 1]
    assert result.failures == []
    (difference,) = result.differences
    scores = [[r.result.scores["score"] for r in result.runs if r.axes["strategy"] == line]
              for line in LINES]  # fmt: skip
    gained = [ours - theirs for ours, theirs in zip(scores[1], scores[0], strict=True)]
    assert difference["difference"] == pytest.approx(sum(gained) / 2)
    assert (difference["strategy"], difference["baseline"]) == (LINES[1], LINES[0])
    again = hs.read_study(tmp_path / "x", baseline=LINES[1])
    assert again.differences[0]["strategy"] == LINES[0]
    alone = hs.read_study(tmp_path / "x", strategies=LINES[0])
    assert [row["strategy"] for row in alone.scores] == [LINES[0]]
    with pytest.raises(HeadstartError, match="a known form"):
        again.table("html")  # type: ignore[arg-type]


def test_its_forms_are_those_of_the_table_and_the_report(tmp_path: Path) -> None:
    result = hs.run_study(**words(tmp_path, seeds=1))
    read = list(csv.DictReader(io.StringIO(result.table("csv"))))
    assert [row["strategy"] for row in read] == [row["strategy"] for row in result.scores] == LINES
    for form in ("text", "md", "latex"):
        assert f"{100 * result.scores[0]['mean']:.1f}" in result.table(form)  # type: ignore[arg-type]
    assert str(result).startswith(result.answer)
    result.report(tmp_path / "new" / "page.html")
    assert "<h1>Study of train</h1>" in (tmp_path / "new" / "page.html").read_text()
    with pytest.raises(HeadstartError, match=r"exists.*overwrite=True"):
        result.report(tmp_path / "new" / "page.html")
    result.report(tmp_path / "new" / "page.html", overwrite=True)
    with pytest.raises(HeadstartError, match="a file to write"):
        result.report(tmp_path)


def test_an_interrupt_leaves_a_folder_that_the_same_call_goes_on_with(tmp_path: Path) -> None:
    class Stop(Watch):
        began = 0

        def started(self, run: object) -> None:
            self.began += 1
            if self.began == 3:
                raise KeyboardInterrupt

    class Count(Watch):
        def __init__(self) -> None:
            self.ended_runs: list[Any] = []

        def ended(self, run: object, outcome: object) -> None:
            self.ended_runs.append(run)

    with pytest.raises(KeyboardInterrupt):
        hs.run_study(**words(tmp_path), watch=Stop())
    store = Store(tmp_path / "x")
    assert (len(store.finished()), store.failed(), store.names("locks")) == (2, set(), [])
    rest = Count()
    assert len(hs.run_study(**words(tmp_path), watch=rest).runs) == 4
    assert len(rest.ended_runs) == 2


def test_a_failed_run_is_told_and_stops_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = ["full(steps=3, lr=1e30)", "full(steps=3)"]
    result = hs.run_study(**words(tmp_path, strategies=lines, seeds=1))
    assert len(result.runs) == 1
    assert "NaN" in result.failures[0]["error"]
    assert "NaN" in caplog.text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"train": tiny_runs.frame()}, "found a DataFrame. Write it, for example by table.to_csv"),
        ({"train": None, "task": {"name": "x", "train": tiny_runs.frame()}}, "the name of a file"),
        ({"epcohs": 2}, "a setting of fit; found 'epcohs'. Did you mean 'epochs'?"),
        ({"worker": 2}, "Did you mean 'workers'"),
        ({"lr": -1.0}, "lr to be greater than 0"),
        ({"batch_size": 4}, "batch_size in one place; found an argument and in settings"),
        ({"seed": 3}, "Write seeds, how many or a list"),
        ({"resume": True}, "a study always goes on where it was"),
        ({"overwrite": True}, "a finished run of a study is never repeated"),
        ({"checkpoint_steps": 5}, "the runs of a study write no checkpoints"),
        ({"task": "rte"}, "--train or --task"),
        ({"strategies": "ft, bitfi > full"}, "Did you mean 'bitfit'"),
        ({"train_rows": "many"}, "sizes such as 100,500,all"),
        ({"threads": 0}, "threads of at least 1"),
        ({"executor": "rya"}, "Did you mean 'ray'"),
        ({"selection": "crave"}, "selection"),
    ],
)
def test_what_cannot_be_is_told_before_anything_runs(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(HeadstartError) as caught:
        hs.run_study(**words(tmp_path, **changes))
    assert told in str(caught.value)
    assert not Store(tmp_path / "x").read("study.json")


def test_settings_of_all_runs_have_the_names_that_fit_gives_them(tmp_path: Path) -> None:
    named = words(tmp_path, seeds=1, strategies="full")
    settings = named.pop("settings")
    study = hs.run_study(**named, **settings, epochs=2, lr=1e-3, eval_every=None)
    (run,) = study.runs
    assert {run.result.settings[name] for name in ("epochs", "lr")} == {2, 1e-3}
    assert run.result.settings["guard"] is False
    single = hs.fit(
        **{k: named[k] for k in ("model", "train", "validation", "text")}, **settings,
        strategy="full", epochs=2, lr=1e-3, eval_every=None, out=tmp_path / "run",
    )  # fmt: skip
    assert run.result.scores == single.scores
    again = hs.run_study(**named, settings={**settings, "epochs": 2, "lr": 1e-3})
    assert [each.id for each in again.runs] == [run.id]


def test_a_key_of_a_study_file_may_stand_for_its_axis(tmp_path: Path) -> None:
    named = words(tmp_path, seeds=1)
    del named["strategies"]
    (run,) = hs.run_study(**named, strategy=LINES[0]).runs
    assert run.axes["strategy"] == LINES[0]


def test_sizes_are_words_or_numbers(tmp_path: Path) -> None:
    result = hs.run_study(**words(tmp_path, seeds=1, train_rows=[12, None]))
    assert [group.train_rows for group in result.evidence.summary.groups] == [12, None]
    again = hs.run_study(**words(tmp_path, seeds=1, train_rows="12,all"))
    assert len(again.runs) == 4


CALL = "hs.run_study(**{words!r})"


def script(folder: Path, call: str, **changes: Any) -> list[str]:
    """Write a script that carries out a study, and return the command that runs it."""
    described = {k: str(v) if isinstance(v, Path) else v for k, v in words(folder).items()}
    text = f"import headstart as hs\n{call.format(words={**described, **changes})}\n"
    (folder / "script.py").write_text(text)
    return [sys.executable, str(folder / "script.py")]


def answer(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, **options
    )


@ALL
def test_workers_from_a_script_without_a_guard_are_refused(tmp_path: Path) -> None:
    done = answer(script(tmp_path, CALL, workers=2))
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert 'script.py, line 2, outside of `if __name__ == "__main__":`' in told
    assert not (tmp_path / "x").exists()
    done = answer([sys.executable], input=(tmp_path / "script.py").read_text())
    assert "Write it to a file" in done.stderr.splitlines()[-1]


@ALL
def test_workers_from_a_script_with_a_guard_work(tmp_path: Path) -> None:
    guarded = f"if __name__ == '__main__':\n    {CALL}"
    done = answer(script(tmp_path, guarded, workers=2, threads=1))
    assert done.returncode == 0, done.stderr
    assert len(Store(tmp_path / "x").finished()) == 4


def test_ctrl_c_in_a_script_keeps_what_is_finished(tmp_path: Path) -> None:
    command = script(tmp_path, CALL, strategies=["full(steps=150)", "full(steps=30000)"])
    store = Store(tmp_path / "x")
    process = forked.Forked("import runpy, sys\nrunpy.run_path(sys.argv[1])", command[1])
    deadline = time.monotonic() + 120
    while not (tmp_path / "x" / "results").is_dir() or not store.finished():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert (len(store.finished()), store.failed(), store.names("locks")) == (1, set(), [])
