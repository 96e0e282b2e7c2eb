"""The observer of calibration in whole runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_runs
from headstart.config import FitConfig
from headstart.errors import ConfigError
from headstart.observers import observer
from headstart.run import run_in_memory
from headstart.tasks.calibration import fit_temperature, measure


def trained(folder: Path, **more: Any) -> Any:
    """Carry out a tiny run with the observer."""
    settings = tiny_runs.inputs(folder) | {"strategy": "full(steps=3)", "guard": False} | more
    return run_in_memory(FitConfig.build(settings), observer=observer({"name": "calibration"}))


def test_what_is_judged_before_is_the_final_model(tmp_path: Path) -> None:
    done = trained(tmp_path)
    labels = done.result.task["labels"]
    gold = np.array([labels.index(v) for v in tiny_runs.frame(12, 1)["label"]])
    expected = measure(done.logits, gold)
    found = {name: done.measured["before"][name] for name in expected}
    assert found == pytest.approx(expected)
    assert done.measured["rows"] == sum(done.measured["before"]["count"]) == 12
    temperature = fit_temperature(done.logits, gold)
    assert done.measured["temperature"] == (
        None if temperature.bound else pytest.approx(temperature.value, rel=1e-4)
    )


def test_carved_rows_fit_and_untouched_rows_judge(tmp_path: Path) -> None:
    done = trained(tmp_path, selection="carve", select="best")
    assert not done.measured["same"]
    assert done.measured["rows"] == done.result.data["untouched_rows"]
    before, after = done.measured["before"], done.measured["after"]
    if done.measured["temperature"] is None:
        assert after == before
    else:
        assert after["log_loss"] != before["log_loss"]


def test_a_number_has_no_probabilities(tmp_path: Path) -> None:
    settings = tiny_runs.inputs(tmp_path)
    table = tiny_runs.frame(24).assign(label=np.linspace(0, 1, 24))
    table.to_csv(tmp_path / "numbers.csv", index=False)
    numbers = {name: str(tmp_path / "numbers.csv") for name in ("train", "validation")}
    with pytest.raises(ConfigError, match="whose target is number"):
        trained(tmp_path, **{**settings, **numbers, "target": "number"})
    config = FitConfig.build({**settings, **numbers, "target": "number"})
    with pytest.raises(ConfigError, match="whose target is number"):  # before any run starts
        observer({"name": "calibration"}).check(config)


def test_a_run_that_calibrates_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="calibrate=true"):
        trained(tmp_path, calibrate=True)
