"""What a stage costs is counted whole: the pass over a frozen backbone, too."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.table import Table

import headstart as hs
from headstart.cli.shared.tables import describe_stages
from headstart.config import FitConfig
from headstart.run import run_in_memory
from headstart.steps.callback import Observer
from headstart.steps.stages import runner
from headstart.steps.stages.runner import StrategyRunner
from headstart.study.estimate import Calibration
from headstart.study.outcome.summary import run_score
from headstart.training.frozen import features
from headstart.training.state import LoopState
from tiny_runs import Watch, inputs, watched

A_ROW = 0.02
"""Seconds that a row takes on its way through the frozen backbone."""
TRAIN, VALIDATION = 24 * A_ROW, 12 * A_ROW
LINES = ["head(steps=3)", "head(until=optimum)"]


@pytest.fixture
def slow_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each row take its time where frozen features are computed."""
    batches = features.budget_batches

    def slowly(lengths: Any, *more: Any) -> Any:
        time.sleep(len(lengths) * A_ROW)
        return batches(lengths, *more)

    monkeypatch.setattr(features, "budget_batches", slowly)


@pytest.mark.usefixtures("slow_backbone")
@pytest.mark.parametrize("line", LINES)
def test_seconds_of_a_head_hold_the_pass_over_the_frozen_backbone(
    tmp_path: Path, line: str
) -> None:
    result = hs.fit(**inputs(tmp_path), strategy=line, out=tmp_path / "run")
    (stage,) = result.stages
    assert stage.training_seconds >= TRAIN
    assert stage.seconds - stage.training_seconds >= VALIDATION
    assert stage.seconds <= result.seconds
    assert stage.tokens_per_second <= stage.tokens / TRAIN
    assert run_score("x", result).seconds >= TRAIN + VALIDATION


@pytest.mark.usefixtures("slow_backbone")
def test_each_stage_that_needs_features_pays_for_them(tmp_path: Path) -> None:
    line = "head(until=optimum) >> full(steps=2) >> head(until=optimum)"
    first, full, last = hs.fit(**inputs(tmp_path), strategy=line, out=tmp_path / "run").stages
    assert min(first.seconds, last.seconds) >= TRAIN + VALIDATION
    assert full.seconds > full.training_seconds > 0


def test_handing_on_is_part_of_the_stage_and_what_observers_do_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = [0.0]
    clock = SimpleNamespace(perf_counter=lambda: time.perf_counter() + late[0])
    monkeypatch.setattr(runner, "time", clock)

    class Slow(Observer):
        def stage_started(self, *_: Any) -> None:
            late[0] += 3600

    hand_on = StrategyRunner._hand_on

    def slowly(*arguments: Any) -> bool:
        late[0] += 60
        return hand_on(*arguments)

    monkeypatch.setattr(StrategyRunner, "_hand_on", slowly)
    settings = inputs(tmp_path, strategy="bitfit(steps=1) > bitfit(steps=1)", guard=False)
    stages = run_in_memory(FitConfig.build(settings), observer=Slow()).result.stages
    assert len(stages) == 2
    for stage in stages:
        assert 60 <= stage.seconds < 120
        assert stage.training_seconds < 60


def test_what_a_resumed_stage_sets_up_again_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = LoopState.count_setup

    def an_hour(state: LoopState, seconds: float, *, evaluation: float = 0.0) -> None:
        count(state, seconds + 3600, evaluation=evaluation)

    monkeypatch.setattr(LoopState, "count_setup", an_hour)

    def interrupt(attempt: int, step: int) -> None:
        if (attempt, step) == (1, 2):
            signal.raise_signal(signal.SIGINT)

    settings = inputs(tmp_path, strategy="head(steps=4)", out=tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        watched(Watch(interrupt), **settings)
    (stage,) = hs.fit(**settings, resume=True).stages
    assert 3600 < stage.training_seconds < stage.seconds < 2 * 3600


@pytest.mark.usefixtures("slow_backbone")
def test_a_study_expects_the_pass_over_the_frozen_backbone(tmp_path: Path) -> None:
    config = FitConfig.build(inputs(tmp_path, strategy="head"))
    cost = Calibration(1)._measure(config, "head(steps=6)")
    assert cost.setup >= TRAIN + VALIDATION
    assert cost.point < VALIDATION
    assert cost.step < A_ROW


@pytest.mark.parametrize(("line", "has_throughput"), [(LINES[0], True), (LINES[1], False)])
def test_a_throughput_is_told_only_where_steps_were_taken(
    tmp_path: Path, line: str, *, has_throughput: bool
) -> None:
    result = hs.fit(**inputs(tmp_path), strategy=line, out=tmp_path / "run")
    _, shown = describe_stages(result)
    assert isinstance(shown, Table)
    (throughput,) = next(c.cells for c in shown.columns if c.header == "tokens/s")
    assert (throughput != "-") is has_throughput
    log = (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")
    assert ("tokens a second" in log) is has_throughput
