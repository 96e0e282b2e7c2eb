"""A budget of time: what of a strategy fits into it, and that a run is otherwise what it was."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

import headstart as hs
from headstart.config import FitConfig
from headstart.errors import ConfigError, HeadstartError
from headstart.run import prepare_run
from headstart.steps import budget, callback
from headstart.steps.budget import Speed, epochs_within, fit_to_budget, glance, measure
from headstart.steps.types import TrainingPlan
from headstart.training.machine.runtime import Runtime
from tiny_runs import inputs, same, saved

DEFAULT = "head(until=optimum) > full(epochs=8)"


def planned(folder: Path, line: str = DEFAULT, **more: Any) -> TrainingPlan:
    """Plan a run of 24 rows, three steps an epoch, with 12 validation rows."""
    config = FitConfig.build(inputs(folder) | {"strategy": line, "out": folder / "x"} | more)
    return prepare_run(config, Runtime("cpu", "fp32", None))


def fitted(
    monkeypatch: pytest.MonkeyPatch, plan: TrainingPlan, speed: Speed, elapsed: float = 0.0
) -> TrainingPlan:
    """Fit a plan to its budget on a machine of a given speed."""
    for look in ("glance", "measure"):
        monkeypatch.setattr(budget, look, lambda _plan: speed)
    monkeypatch.setattr(budget, "time", SimpleNamespace(perf_counter=lambda: elapsed))
    return fit_to_budget(plan, 0.0)


@pytest.mark.parametrize(
    ("seconds", "elapsed", "line"),
    [
        ("100s", 0, DEFAULT),
        ("40s", 0, DEFAULT),
        # 1.2 times 3 steps of a second an epoch
        ("18s", 0, "head(until=optimum) > full(epochs=5)"),
        ("20s", 2, "head(until=optimum) > full(epochs=5)"),
        ("2s", 0, "head(until=optimum) > full(epochs=0.56)"),
        ("1s", 0, "head(until=optimum)"),
        ("18s", 30, "head(until=optimum)"),
    ],
)
def test_the_last_stage_is_as_long_as_the_time_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: str, elapsed: float, line: str
) -> None:
    plan = planned(tmp_path, budget=seconds)
    found = fitted(monkeypatch, plan, Speed(1.0, 0.0), elapsed)
    assert found.strategy.name == line
    assert [str(stage.stage) for stage in found.stages] == line.split(" > ")
    assert found.config.strategy == (DEFAULT if line == DEFAULT else line)
    assert found.config.budget is None
    assert found.notes[:-1] == plan.notes


def test_steps_before_a_head_that_is_fitted_are_shortened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "full(steps=24)+contrast >> head(until=optimum)"
    for seconds, expected in (
        ("18s", "full(epochs=5)+contrast >> head(until=optimum)"),
        ("1s", "head(until=optimum)"),
    ):
        found = fitted(monkeypatch, planned(tmp_path, line, budget=seconds), Speed(1.0, 0.0))
        assert found.strategy.name == expected


def test_earlier_stages_and_evaluations_take_their_share(tmp_path: Path) -> None:
    plan = planned(tmp_path, "bitfit(steps=10) > full(epochs=8)")
    # 10 steps before, 36 rows read along them, 24 judged in the end; 3 steps and 12 rows an epoch
    left = 1.2 * (10 * 2.0 + 36 * 0.5 + 24 * 0.5 + 4 * (3 * 2.0 + 12 * 0.5))
    assert epochs_within(plan, Speed(2.0, 0.5), left) == pytest.approx(4)


def test_a_fit_and_its_pass_over_the_frozen_model_take_their_share(tmp_path: Path) -> None:
    plan = planned(tmp_path, "head(until=optimum) >> full(epochs=8) >> head(until=optimum)")
    # 24 rows judged in the end; for each fit 36 rows read; 3 steps and 12 rows an epoch
    left = 1.2 * (24 * 0.5 + 2 * (36 * 0.5 + 7.0) + 4 * (3 * 2.0 + 12 * 0.5))
    assert epochs_within(plan, Speed(2.0, 0.5, 7.0), left) == pytest.approx(4)


@pytest.mark.parametrize(
    ("seconds", "elapsed", "warned"),
    [
        ("66s", 0, ""),  # 1.2 times 24 rows judged, 36 read, at half a second, and 25 of the fit
        ("65s", 0, "not expected to end within 65s, but after about 66s."),
        ("68s", 3, "not expected to end within 68s, but after about 69s."),
    ],
)
@pytest.mark.parametrize("line", [DEFAULT, "head(until=optimum)"])
def test_a_head_alone_that_takes_longer_says_how_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, seconds: str, elapsed: int,
    warned: str,
) -> None:  # fmt: skip
    plan = planned(tmp_path, line, budget=seconds)
    found = fitted(monkeypatch, plan, Speed(100.0, 0.5, 25.0), elapsed)
    assert found.strategy.name == "head(until=optimum)"
    told = found.warnings[len(plan.warnings) :]
    assert len(told) == bool(warned)
    assert all(warned in warning for warning in told)


def test_steps_are_not_timed_where_their_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "glance", lambda _plan: Speed(1.0, 0.1))
    monkeypatch.setattr(budget, "measure", None)
    assert fit_to_budget(planned(tmp_path, budget="1s"), 0.0).strategy.name == "head(until=optimum)"


def test_a_glance_evaluates_rows_and_trains_nothing(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    before = {name: t.clone() for name, t in plan.model.model.state_dict().items()}
    speed = glance(plan)
    assert speed.step == pytest.approx(3 * 8 * speed.row)
    assert 0 < speed.row < 1
    assert budget.EVALUATIONS * budget.OVERHEAD < speed.fit < 60
    assert same(before, plan.model.model.state_dict())


def test_the_plan_alone_decides_what_fits_into_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for look in ("glance", "measure"):
        monkeypatch.setattr(budget, look, lambda _plan: Speed(1.0, 0.0))
    settings = inputs(tmp_path) | {"strategy": DEFAULT}
    plan = hs.plan(**settings, budget="18s")
    first, again = plan.notes
    assert plan.strategy.startswith("head(until=optimum) > full(epochs=")
    assert plan.strategy != DEFAULT
    assert first.startswith("To end within 18s, fine-tuning has ")
    assert "looks at the clock again" in again
    assert hs.plan(**settings).notes == ()


def test_epochs_of_the_command_line_are_shortened_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path, "full", epochs=8, budget="18s")
    found = fitted(monkeypatch, plan, Speed(1.0, 0.0))
    assert (found.strategy.name, found.config.epochs) == ("full(epochs=5)", None)
    assert found.stages[-1].length.steps == 15


def test_too_little_time_says_how_much_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path, "bitfit(steps=10) > full(epochs=8)", budget="5s")
    # half an epoch is 1.5 steps: 1.2 times 11.5 seconds
    with pytest.raises(ConfigError, match=r"about 14s; found 5s"):
        fitted(monkeypatch, plan, Speed(1.0, 0.0))


def test_timing_leaves_the_model_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path)
    before = {name: t.clone() for name, t in plan.model.model.state_dict().items()}
    ticks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    for module in (budget, callback):
        monkeypatch.setattr(module, "time", clock)
    speed = measure(plan)
    assert speed.step == 1.0
    assert same(before, plan.model.model.state_dict())
    assert all(not p.grad_fn for p in plan.model.model.parameters())


def test_a_run_that_fits_is_bit_for_bit_the_run_without_a_budget(tmp_path: Path) -> None:
    settings = inputs(tmp_path) | {"strategy": "head(until=optimum) > full(epochs=2)"}
    hs.fit(**settings, out=tmp_path / "plain")
    result = hs.fit(**settings, budget="5h", out=tmp_path / "timed")
    assert same(saved(tmp_path / "plain"), saved(tmp_path / "timed"))
    assert result.notes[-1].endswith("is expected to end within 5h.")


def test_what_was_decided_is_kept_for_whoever_repeats_or_resumes_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "measure", lambda _plan: Speed(1.0, 0.0))
    result = hs.fit(**inputs(tmp_path), strategy=DEFAULT, budget="2h", out=tmp_path / "whole")
    assert result.strategy == DEFAULT
    hs.fit(**inputs(tmp_path), strategy=DEFAULT, budget="1s", out=tmp_path / "short")
    kept = yaml.safe_load((tmp_path / "short" / "settings.yaml").read_text())
    assert kept["strategy"] == "head(until=optimum)"
    assert kept.get("budget") is None


def refused(folder: Path, **settings: Any) -> str:
    with pytest.raises(HeadstartError) as error:
        hs.fit(**inputs(folder), out=folder / "x", **settings)
    return str(error.value)


@pytest.mark.parametrize("given", ["20", "0s", "-5m", "soon", "1.5h", "5m 1h", ""])
def test_a_budget_needs_whole_numbers_and_units(tmp_path: Path, given: str) -> None:
    assert repr(given) in refused(tmp_path, budget=given)


@pytest.mark.parametrize(
    ("given", "seconds"), [("90s", 90), ("20m", 1200), ("1h30m", 5400), ("1h 5s", 3605)]
)
def test_a_budget_is_read(given: str, seconds: int) -> None:
    assert FitConfig(budget=given).budget_seconds == seconds


def test_a_budget_of_time_and_one_of_epochs_are_not_both_meant(tmp_path: Path) -> None:
    told = refused(tmp_path, budget="20m", total_epochs=4)
    assert "--budget or --total-epochs; found both" in told


def test_several_processes_have_no_common_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path, budget="20m")
    monkeypatch.setattr(Runtime, "world", 2)
    with pytest.raises(ConfigError, match="2 processes, whose clocks differ"):
        fit_to_budget(plan, 0.0)


def test_without_a_budget_nothing_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "measure", None)
    plan = planned(tmp_path)
    assert fit_to_budget(plan, 0.0) is plan
    assert torch.is_tensor(next(iter(plan.model.head.values())))
