"""How long a study takes is added up from its stages, those of other runs that it needs too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tiny_runs
from headstart.config import FitConfig
from headstart.observers import observer
from headstart.observers.head import CONTROLS, DONATED
from headstart.run import run_in_memory
from headstart.study import estimate as module
from headstart.study.estimate import Cost, estimate
from headstart.study.store import PlannedRun
from tiny_runs import Watch

LINE = "bitfit(steps=4, lr=1e-2) > full(steps=3)"
LORA = "lora(steps=5) > full(steps=3)"
OTHER = {"other tuner": {"strategy": LORA}}


def settings(folder: Path) -> dict[str, Any]:
    return {**tiny_runs.inputs(folder), "strategy": LINE, "guard": False}


@pytest.fixture
def seconds_are_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a step take a second, and everything else no time."""
    cost = Cost(step=1, point=0, start=0, epoch=1)
    monkeypatch.setattr(module.Calibration, "_measure", lambda *_: cost)


def other_task(folder: Path) -> dict[str, Any]:
    """Write the rows of another task with two classes."""
    folder.mkdir(exist_ok=True)
    for name, seed in (("train", 5), ("validation", 6)):
        frame = tiny_runs.frame(16, seed)
        frame["label"] = (frame["label"] == "good").astype(int)
        frame.to_csv(folder / f"{name}.csv", index=False)
    return {"task": "cola", "data": str(folder)}


@pytest.mark.usefixtures("seconds_are_steps")
@pytest.mark.parametrize("control", [None, *CONTROLS, *DONATED])
def test_the_estimate_counts_every_step_that_a_run_takes(
    tmp_path: Path, control: str | None
) -> None:
    other = other_task(tmp_path / "cola") if control == "other task" else OTHER.get(control or "")
    measure = {"name": "head", "control": control, **({"other": other} if other else {})}
    planned = PlannedRun("x", {}, settings(tmp_path), measure if control else None)
    told = estimate([planned], slots=1, threads=1)
    watch = Watch()
    with tiny_runs.watching(watch):
        run_in_memory(
            FitConfig.build(planned.settings), observer=observer(measure) if control else None
        )
    assert told == sum(len(stage.rows) for stage in watch.stages)
    assert told == {"other seed": 11, "other tuner": 12, "other task": 11}.get(control or "", 7)


@pytest.mark.usefixtures("seconds_are_steps")
def test_runs_at_a_time_share_the_estimate(tmp_path: Path) -> None:
    runs = [PlannedRun(str(n), {}, {**settings(tmp_path), "seed": n}) for n in range(4)]
    assert estimate(runs, slots=2, threads=1) == 4 * 7 / 2


def test_each_stage_is_set_up_once_and_the_run_begins_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost = Cost(step=1, point=10, start=1000, epoch=3, setup=100)
    monkeypatch.setattr(module.Calibration, "_measure", lambda *_: cost)
    # Evaluations before the first step and after each epoch of three steps.
    told = estimate([PlannedRun("x", {}, settings(tmp_path))], slots=1, threads=1)
    assert told == 1000 + (100 + 4 + 3 * 10) + (100 + 3 + 2 * 10)
