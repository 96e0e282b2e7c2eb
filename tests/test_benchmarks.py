"""The scripts that measure speed work, and write down what they should; no time is judged."""

from __future__ import annotations

import importlib
import json
import math
import os
import re
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import forked
from alike import ALL, first

ROOT = Path(__file__).parents[1]
SPEED = ROOT / "benchmarks" / "speed"
SCRIPTS = sorted(SPEED.glob("[!_]*.py"))
SCRIPT = """
import runpy, sys, tempfile

tempfile.tempdir = None  # the one of TMPDIR
sys.path.insert(0, sys.argv.pop(1))
script = sys.argv.pop(1)
runpy.run_path(script, run_name="__main__")
"""
TURNS = """
import os, time
from _turns import parser, run

def side(seconds):
    return lambda _: {"seconds": seconds, "process": os.getpid(), "began": time.monotonic()}

def broken(_):
    raise RuntimeError("no such luck")

sides = {"ours": side(2.0), "theirs, tuned": side(3.0)}
options = parser("Two sides.")
options.add_argument("--broken", action="store_true")
arguments = options.parse_args()
run(arguments, {**sides, **({"broken": broken} if arguments.broken else {})}, "ours", "seconds")
"""


def test_every_deliberate_breakage_can_be_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    script = importlib.import_module("breakages")
    found = script.read_list()
    assert len({one.what for one in found}) == len(found) >= 60
    stale = [f"{one.what}: {fault}" for one in found for fault in one.faults()]
    assert not stale, "renew them in benchmarks/breakages.yaml"
    assert all(one.new != one.old for one in found)


def run(folder: Path, *command: object) -> subprocess.CompletedProcess[str]:
    """Run a script; what it leaves in the folder for temporary files goes away with ``folder``."""
    path = os.pathsep.join([str(SPEED), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(folder)},
    )


@pytest.fixture
def turns(tmp_path: Path) -> Path:
    script = tmp_path / "turns.py"
    script.write_text(TURNS)
    return script


@pytest.mark.slow
@pytest.mark.parametrize(
    "script", first(SCRIPTS, every=len(SCRIPTS)), ids=lambda script: script.stem
)
def test_a_script_runs_and_every_side_has_figures(script: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    words = (SPEED, script, "--tiny", "--rounds", 1, "--out", out)
    process = forked.Forked(SCRIPT, *words, TMPDIR=str(tmp_path))
    printed, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors[-3000:]
    found: dict[str, Any] = json.loads(out.read_text())
    assert found["command"] == script.name
    assert found["options"]["tiny"] is True
    assert found["machine"]["torch"] == version("torch")
    assert {"headstart", "transformers", "python", "cores"} <= set(found["machine"])
    assert len(found["measured"]) >= 2, "a comparison has two sides"
    assert list(found["medians"]) == list(found["measured"])
    for side, rounds in found["measured"].items():
        assert len(rounds) == 1
        assert rounds == [found["medians"][side]]
        assert len(rounds[0]) >= 2, f"{side} measured nothing of its own"
        assert all(math.isfinite(value) for value in rounds[0].values()), f"{side}: {rounds[0]}"
        assert f"\n| {side} |" in printed


def test_the_readme_has_one_row_for_each_script() -> None:
    assert len(SCRIPTS) >= 8
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `python benchmarks/speed/(\w+\.py)[^`]*` \|", text, re.MULTILINE)
    assert sorted(rows) == [script.name for script in SCRIPTS]


def test_sides_take_turns_each_in_a_process_of_its_own(turns: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "x.json"
    done = run(tmp_path, turns, "--rounds", 3, "--out", out)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    ours, theirs = found["measured"]["ours"], found["measured"]["theirs, tuned"]
    assert len({figures["process"] for figures in ours + theirs}) == 6
    in_turn = [figures["began"] for pair in zip(ours, theirs, strict=True) for figures in pair]
    assert in_turn == sorted(in_turn)
    for side, rounds in found["measured"].items():
        middle = statistics.median(figures["began"] for figures in rounds)
        assert found["medians"][side]["began"] == middle
        assert all(figures["peak_mb"] > 0 for figures in rounds)
    assert re.search(r"^\| ours \| 2 \|.*\| 1\.00 \|$", done.stdout, re.MULTILINE)
    assert re.search(r"^\| theirs, tuned \| 3 \|.*\| 1\.50 \|$", done.stdout, re.MULTILINE)


def test_tiny_runs_stay_in_one_process(turns: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    assert run(tmp_path, turns, "--tiny", "--rounds", 2, "--out", out).returncode == 0
    measured = json.loads(out.read_text())["measured"]
    assert len({figures["process"] for rounds in measured.values() for figures in rounds}) == 1
    assert [len(rounds) for rounds in measured.values()] == [2, 2]


def test_one_side_alone_is_measured_once(turns: Path, tmp_path: Path) -> None:
    done = run(tmp_path, turns, "--only", "theirs, tuned")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["seconds"] == 3.0


def test_a_side_that_fails_ends_the_run_with_its_message(turns: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    done = run(tmp_path, turns, "--broken", "--rounds", 1, "--out", out)
    assert done.returncode != 0
    assert "broken failed" in done.stderr
    assert "no such luck" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("option", ["--sides", "--only"])
def test_a_side_that_is_not_there_is_an_error_that_names_the_others(
    option: str, turns: Path, tmp_path: Path
) -> None:
    done = run(tmp_path, turns, option, "mine")
    assert done.returncode == 1
    assert done.stderr == "error: expected sides out of: ours, theirs, tuned; found mine\n"


@ALL
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kills as on POSIX")
def test_the_campaign_of_crashes_tries_what_it_says(tmp_path: Path) -> None:
    script, out = ROOT / "benchmarks" / "hardening.py", tmp_path / "x"
    parts = ["--parts", "fit,calls,together", "--kills", 1, "--stride", 1000, "--times", 1]
    done = run(tmp_path, script, "--out", out, *parts)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((out / "hardening.json").read_text())
    assert found["faults"] == []
    assert found["counts"]["fit"]["kills"] == 1
    assert found["counts"]["together"]["pairs"] == 1
    if "calls" in found["counts"]:  # Linux with a compiler
        assert found["counts"]["calls"]["calls in a run"] > 50
