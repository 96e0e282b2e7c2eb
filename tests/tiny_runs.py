"""Whole runs on tiny models and tables, and what to look at in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import headstart as hs
import tiny
from headstart.models.backbone import SplitModel
from headstart.results import Point, RunResult, StageResult
from headstart.steps import train
from headstart.steps.callback import Callback
from headstart.steps.stages import runner as stages
from headstart.steps.stages.runner import StrategyRunner
from headstart.training.loop import StageLoop
from headstart.training.state import LoopState

Tensors = dict[str, torch.Tensor]
BATCH_SIZE = 8


def frame(rows: int = 24, seed: int = 0, *, noise: bool = False) -> pd.DataFrame:
    """Make sentences of two classes, told apart by their letters; with ``noise`` by nothing."""
    rng = np.random.default_rng(seed)
    good = rng.permutation(np.arange(rows) % 2 == 0)
    told = rng.permutation(good) if noise else good
    lengths = rng.integers(2, 9, rows)
    texts = [
        " ".join(rng.choice(list("abcdef" if g else "uvwxyz"), n))
        for g, n in zip(told, lengths, strict=True)
    ]
    return pd.DataFrame({"sentence": texts, "label": np.where(good, "good", "bad")})


def inputs(folder: Path, family: str = "bert", **more: Any) -> dict[str, Any]:
    """Write a checkpoint and two tables, where they are not there yet.

    Settings for ``headstart.fit`` are returned; only the strategy and the output are missing.
    """
    if not (folder / family).exists():
        tiny.save_pretrained(family, folder / family)
    for name, rows, seed in (("train", 24, 0), ("validation", 12, 1)):
        if not (folder / f"{name}.csv").exists():
            frame(rows, seed).to_csv(folder / f"{name}.csv", index=False)
    return {
        "model": str(folder / family),
        "train": str(folder / "train.csv"),
        "validation": str(folder / "validation.csv"),
        "text": "sentence",
        "batch_size": BATCH_SIZE,
        "device": "cpu",
        "precision": "fp32",
        **more,
    }


@dataclass
class SeenStage:
    """One stage as it was seen from outside; all tensors are copies.

    Args:
        trainable: Names of the parameters that may change.
        before: Every parameter before the first step, the tuner attached.
        moments: Parameters of which the optimizer already knows something then.
        head: The head at that time.
        fingerprint: The backbone's at that time.
        after: Every parameter after the last step, the tuner still on.
        last_head: The head at that time.
        rows: The rows of each step.
        rates: The learning rate of every parameter group at each step.
        handed_head: The head when the stage has handed on.
        handed_fingerprint: The backbone's then.
    """

    trainable: set[str]
    before: Tensors
    moments: int
    head: Tensors
    fingerprint: str
    after: Tensors = field(default_factory=dict)
    last_head: Tensors = field(default_factory=dict)
    rows: list[list[int]] = field(default_factory=list)
    rates: list[list[float]] = field(default_factory=list)
    handed_head: Tensors = field(default_factory=dict)
    handed_fingerprint: str = ""


class Watch(Callback):
    """Looks into a run; into its model only inside ``watching``.

    ``at_step`` is told after each step the number of attempts begun so far, and the step.
    """

    def __init__(self, at_step: Callable[[int, int], None] = lambda _stage, _step: None) -> None:
        self.at_step = at_step
        self.stages: list[SeenStage] = []
        self.results: list[StageResult] = []
        self.warnings: list[str] = []
        self.points: list[Point] = []
        self.split: SplitModel
        self.result: RunResult

    def warning(self, text: str) -> None:
        self.warnings.append(text)
        super().warning(text)

    def step(self, step: int, loss: float) -> None:
        self.at_step(len(self.results) + 1, step)

    def point(self, point: Point) -> None:
        self.points.append(point)

    def stage_ended(self, stage: StageResult) -> None:
        self.results.append(stage)
        if self.stages:
            self.stages[-1].handed_head = self.split.head_state()
            self.stages[-1].handed_fingerprint = self.split.fingerprint()


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Let a callback see the model and every stage's loop."""

    class Runner(StrategyRunner):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            watch.split = self.split

    class Loop(StageLoop):
        def run(self) -> LoopState:
            split = watch.split
            # Not the model's own list: frozen features take the place of the base model.
            named = {**split.backbone, **split.head, **self.trained}
            seen = SeenStage(
                {n for n, p in named.items() if p.requires_grad},
                copies(named),
                len(self.optimizer.state),
                split.head_state(),
                split.fingerprint(),
            )
            watch.stages.append(seen)
            self.loader = _Heard(self.loader, seen.rows)
            told = self.on_step

            def on_step(step: int, loss: float) -> None:
                seen.rates.append([group["lr"] for group in self.optimizer.param_groups])
                told(step, loss)

            self.on_step = on_step
            state = super().run()
            seen.after, seen.last_head = copies(named), split.head_state()
            return state

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "StrategyRunner", Runner)
        patch.setattr(stages, "StageLoop", Loop)
        yield


class _Heard:
    """A loader that writes down which rows it is asked for."""

    def __init__(self, loader: Any, rows: list[list[int]]) -> None:
        self._feed, self._rows, self.lengths = loader, rows, loader.lengths
        self.row_of, self.units = loader.row_of, loader.units

    def batch(self, rows: Any, draw: int | None = None) -> Any:
        self._rows.append(rows.tolist())
        return self._feed.batch(rows, draw)

    def replayed(self, rows: Any) -> Any:
        self._rows.append(rows.tolist())
        return self._feed.replayed(rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._feed, name)


def watched(watch: Watch | None = None, **settings: Any) -> Watch:
    """Carry out a run and watch it."""
    watch = watch or Watch()
    with watching(watch):
        watch.result = hs.fit(callback=watch, **settings)
    return watch


def copies(tensors: Any) -> Tensors:
    """Copy tensors."""
    return {name: tensor.detach().clone() for name, tensor in dict(tensors).items()}


def same(left: Tensors, right: Tensors) -> bool:
    """Say whether two sets of tensors have the same names and the same bits."""
    return left.keys() == right.keys() and all(
        left[n].dtype == right[n].dtype and torch.equal(left[n], right[n]) for n in left
    )


def saved(run: Path | str) -> Tensors:
    """Return everything that a run saved, head folder included, by file and name."""
    files = sorted(Path(run).rglob("*.safetensors"))
    assert files
    return {
        f"{file.parent.name}/{file.name}/{name}": tensor
        for file in files
        for name, tensor in load_file(file).items()
    }


def scores(result: RunResult) -> list[Any]:
    """Return all that a result says about quality, without times."""
    stages = [
        (
            s.stage,
            s.attempt,
            s.steps,
            s.ended,
            s.train_adjusted_score,
            s.handed_on,
            s.best_step,
            s.curve,
        )
        for s in result.stages
    ]
    return [stages, result.last, result.best, result.untouched, result.guard, result.warnings]
