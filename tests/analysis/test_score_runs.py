"""The analyses of scores from the command line on a tiny model, and settings that they own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tiny_runs
import tiny_studies
from headstart.analysis import ANALYSES
from headstart.cli import main
from headstart.study.running.executors import LocalExecutor
from headstart.study.store import Store

WORDS = {
    "convergence": ("--lengths", "0.5,1", "--set", "eval_every=1"),
    "rank": ("--ranks", "1,2"),
    "reserve": ("--tuners", "bitfit(steps=2)"),
    "share": ("--shares", "0,0.25,0.5", "--epochs", "2"),
}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> tiny_studies.Here:
    """Carry out runs in this process."""
    executor = tiny_studies.Here()
    monkeypatch.setattr(LocalExecutor, "submit", lambda _self, run: executor.submit(run))
    return executor


def command(folder: Path, name: str, *words: str, seeds: int = 2) -> list[str]:
    """Return the command line of an analysis on tiny rows."""
    own = tiny_runs.inputs(folder)
    settings = [f"--set={k}={own[k]}" for k in ("batch_size", "device", "precision")]
    data = [f"--{k}={own[k]}" for k in ("train", "validation", "text", "model")]
    short = [] if name == "share" else ["--set", "epochs=1"]
    return ["analyze", name, *data, *settings, *short, "--seeds", str(seeds), "--quiet",
            "--out", str(folder / name), *words]  # fmt: skip


def carried_out(
    folder: Path, name: str, seeds: int = 2
) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
    """Carry an analysis out; return its page, its values and the records of its runs."""
    assert main(command(folder, name, *WORDS[name], seeds=seeds)) == 0
    page = (folder / name / f"{name}.html").read_text("utf-8")
    values = json.loads((folder / name / f"{name}.json").read_text("utf-8"))
    records, damaged = Store(folder / name).results()
    assert not damaged
    return page, values, [record["result"] for record in records]


def stages(records: list[dict[str, Any]], strategy: str) -> list[list[dict[str, Any]]]:
    """Return the stages of the runs of a strategy."""
    found = [record["stages"] for record in records if record["strategy"] == strategy]
    assert found
    return found


@pytest.mark.usefixtures("here")
def test_shares_take_the_steps_that_are_asked_for(tmp_path: Path) -> None:
    page, values, records = carried_out(tmp_path, "share")
    steps = {
        line: {tuple(s["steps"] for s in run) for run in stages(records, line)}
        for line in {record["strategy"] for record in records}
    }
    # Two epochs of 24 rows in batches of 8 are 6 steps.
    assert steps == {
        "full": {(6,)},
        "bitfit(share=0.25) > full": {(2, 4)}, "bitfit(epochs=0.5) > full": {(2, 6)},
        "bitfit(share=0.5) > full": {(3, 3)}, "bitfit(epochs=1) > full": {(3, 6)},
    }  # fmt: skip
    assert all(len(value["score"]) == 2 for value in values)
    assert "every run with the total fixed has taken 6 optimizer steps" in page


@pytest.mark.usefixtures("here")
def test_convergence_has_a_point_at_every_step(tmp_path: Path) -> None:
    page, values, records = carried_out(tmp_path, "convergence")
    assert [value["stage_1_steps"] for value in values] == [0, 2, 3]
    for run in stages(records, "bitfit(epochs=1) > full"):
        assert [point["step"] for point in run[-1]["curve"]] == [0, 1, 2, 3]
        assert (run[0]["until"], run[0]["handed_on"]) == ("end", "head")
    assert values[1]["curve"]["steps"] == [0, 1, 2, 3]
    assert "by the mean score along stage 2" in page


@pytest.mark.usefixtures("here")
def test_ranks_train_more_numbers_the_higher_they_are(tmp_path: Path) -> None:
    page, _values, records = carried_out(tmp_path, "rank", seeds=1)
    (one,), (two,) = (stages(records, f"lora(alpha={2 * r}, r={r}) > full") for r in (1, 2))
    assert 2 * one[0]["trainable"]["tuner"] == two[0]["trainable"]["tuner"] > 0
    assert all(not record["guard"] for record in records)
    assert "each doubling of the rank" in page


@pytest.mark.usefixtures("here")
def test_a_tuner_that_is_kept_or_dropped_has_the_same_stage_1(tmp_path: Path) -> None:
    page, _values, records = carried_out(tmp_path, "reserve")
    dropped = stages(records, "bitfit(steps=2) > full")
    kept = stages(records, "bitfit(steps=2) >> full")
    assert len(dropped) == len(kept) == 2
    ends = [sorted(run[0]["end"]["loss"] for run in side) for side in (dropped, kept)]
    assert ends[0] == ends[1]
    assert {run[0]["handed_on"] for run in dropped} == {"head"}
    assert {run[0]["handed_on"] for run in kept} == {"everything"}
    assert "kept minus dropped" in page


def test_settings_of_the_user_go_before_those_of_the_analysis(
    tmp_path: Path, here: tiny_studies.Here
) -> None:
    words = command(tmp_path, "convergence", "--lengths", "0.5,1", "--set", "eval-every=2", seeds=1)
    assert main([*words, "--set", "guard=true"]) == 0
    assert {run.settings["eval_every"] for run in here.done} == {"2"}
    assert {run.settings["guard"] for run in here.done} == {"true"}
    file = tmp_path / "study.yaml"
    file.write_text("settings: {eval_every: 3}\n", "utf-8")
    words = command(tmp_path, "convergence", "--lengths", "0.5,1", "--config", str(file), seeds=1)
    here.done.clear()
    assert main(words) == 0
    assert {run.settings["eval_every"] for run in here.done} == {3}
    assert {run.settings["guard"] for run in here.done} == {"False"}


def test_a_setting_that_an_option_decides_is_refused(
    tmp_path: Path, here: tiny_studies.Here, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command(tmp_path, "share", *WORDS["share"])
    assert main([*words, "--set", "epochs=3"]) == 2
    assert "epochs as the analysis sets it" in capsys.readouterr().err
    assert main([*words, "--grid", "epochs=3,4"]) == 2
    assert not here.done


def test_bad_options_are_told_on_the_command_line(
    tmp_path: Path, here: tiny_studies.Here, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, "rank", "--ranks", "0,two")) == 2
    told = capsys.readouterr().err
    assert "whole numbers from 1 up for --ranks; found '0'" in told
    assert "found 'two'" in told
    assert not here.done
    assert not (tmp_path / "rank").exists()


@pytest.mark.parametrize("name", WORDS)
def test_the_help_tells_how_many_seeds_there_are(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["analyze", name, "--help"]) == 0
    assert f"Default: {ANALYSES.get(name).seeds}." in capsys.readouterr().out
