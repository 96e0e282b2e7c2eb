"""A run that predicts numbers: losses in the labels' unit, and scores that come out again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import headstart as hs
import tiny_runs
from headstart.results import RunResult
from headstart.steps.stages import guard
from tiny_runs import Watch, watched

STEPS = "head(until=optimum) > full(steps=4)"


def table(rows: int, seed: int, scale: float = 1.0, mean: float = 0.0) -> pd.DataFrame:
    """Make sentences with a number of about the given scale: more for more letters of a kind."""
    frame = tiny_runs.frame(rows, seed)
    noise = np.random.default_rng(seed).normal(size=rows)
    numbers = (frame["label"] == "good") + 0.25 * noise
    return frame.assign(label=numbers * scale + mean)


def settings(folder: Path, name: str, **unit: float) -> dict[str, Any]:
    """Write the tables; settings of a run in a folder of this name are returned."""
    (folder / name).mkdir()
    for part, rows, seed in (("train", 24, 0), ("validation", 12, 1)):
        table(rows, seed, **unit).to_csv(folder / name / f"{part}.csv", index=False)
    files = {part: str(folder / name / f"{part}.csv") for part in ("train", "validation")}
    return {**tiny_runs.inputs(folder), **files, "target": "number", "out": folder / name / "run"}


def losses(watch: Watch) -> list[float]:
    """List every loss of a run: of its evaluations, its steps, its held-out rows, its scores."""
    assert watch.result is not None
    found = [watch.result.scores["loss"], *watch.losses]
    for stage in watch.result.stages:
        found += [*([stage.held_out_loss] if stage.held_out_loss is not None else [])]
        found += [point.scores["loss"] for point in stage.curve]
        found += [point.train_loss for point in stage.curve if point.train_loss is not None]
    return found


@pytest.mark.optimum
def test_every_loss_is_the_squared_error_in_the_labels_unit(tmp_path: Path) -> None:
    one = watched(Losses(), **settings(tmp_path, "one"), strategy=STEPS)
    ten = watched(Losses(), **settings(tmp_path, "ten", scale=10.0, mean=50.0), strategy=STEPS)
    assert len(losses(one)) == len(losses(ten)) >= 1 + 4 + 1 + 2 + 2 + 1
    assert losses(ten) == pytest.approx([100 * loss for loss in losses(one)], rel=1e-3)


class Losses(Watch):
    """A watch that also notes the loss of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def step(self, step: int, loss: float) -> None:
        super().step(step, loss)
        self.losses.append(loss)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_the_unit_of_the_labels_is_no_matter_to_the_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    monkeypatch.setattr(guard, "LEARNED", 2.0)  # the loss alone decides
    line = "head(steps=1, head_lr=1e-9) > full(steps=2)"
    result = hs.fit(**settings(tmp_path, "x", scale=scale), strategy=line)
    assert [stage.learned for stage in result.stages] == [False, False, None]
    first, second = result.stages[:2]
    assert second.head_lr == pytest.approx(3 * first.head_lr)  # no loss blew up


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_evaluating_the_saved_model_gives_the_scores_again(tmp_path: Path, precision: str) -> None:
    given = settings(tmp_path, "x", scale=10.0, mean=500.0) | {"precision": precision}
    metrics = ["pearson", "rmse", "mse"]
    result: RunResult = hs.fit(**given, metrics=metrics, strategy="full(steps=30, lr=1e-3)")
    again = hs.load(result).evaluate_frame(pd.read_csv(given["validation"]))
    assert again == pytest.approx(result.scores, rel=1e-3)
    assert result.scores["loss"] == pytest.approx(result.scores["mse"], rel=1e-4)
