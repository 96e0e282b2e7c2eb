"""A runtime on the CPU, and rows of random tokens whose class can be told from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from headstart.data.tokens.encode import Encoded, Padding
from headstart.models.backbone import SplitModel
from headstart.strategies.plan import Length
from headstart.targets.classes import Classes
from headstart.training.evaluate import Judge, predict_logits
from headstart.training.loader import ExamplesLoader
from headstart.training.loop import StageLoop
from headstart.training.machine.runtime import Runtime
from headstart.training.optim import OptimizerSettings
from headstart.training.state import StageSetup

SEVEN = Length(7, 1, "end")


class Rows(ExamplesLoader):
    """A loader that remembers which rows it was asked for."""

    def __init__(self, encoded: Encoded) -> None:
        super().__init__(encoded, torch.device("cpu"))
        self.labels: Any = encoded.labels
        self.asked: list[list[int]] = []

    def batch(self, rows: Any, draw: int | None = None) -> dict[str, torch.Tensor]:
        """Note the rows, and return their batch."""
        self.asked.append(np.asarray(rows).tolist())
        return super().batch(rows, draw)


def make(
    rows: int = 20, classes: int = 2, choices: int = 1, seed: int = 0, *, left: bool = False
) -> Rows:
    """Make a loader; ``classes`` 0 gives numbers as labels, ``left`` fills up in front."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 12, rows * choices)
    labels: Any = rng.integers(0, max(2, classes), rows)
    tokens = [rng.integers(5, tiny.VOCABULARY, n) for n in lengths]
    for place, sequence in enumerate(tokens):
        sequence[0], sequence[1] = 0, 5 + labels[place // choices]
    encoded = Encoded(
        {"input_ids": np.concatenate(tokens).astype(np.int32)},
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        lengths.reshape(rows, choices).max(axis=1).astype(np.int64),
        np.zeros(rows, bool),
        Padding({"input_ids": tiny.PAD}, left=left),
        labels=labels.astype(np.int64) if classes else rng.normal(size=rows),
        choices=choices,
    )
    return Rows(encoded)


@pytest.fixture
def make_loader() -> Callable[..., Rows]:
    return make


@pytest.fixture
def runtime() -> Runtime:
    return Runtime("cpu", "fp32", 1)


@pytest.fixture
def make_loop(make_loader: Callable[..., Any], runtime: Runtime) -> Callable[..., StageLoop]:
    """Return a maker of loops over a tiny BERT, the whole of which trains."""

    def make(
        length: Length = SEVEN,
        *,
        rows: int = 12,
        batch_size: int = 5,
        dropout: float = 0.0,
        seed: int = 0,
        evaluate: Callable[[], dict[str, float]] | None = None,
        optimizer: dict[str, Any] | None = None,
        head_only: bool = False,
        **more: Any,
    ) -> StageLoop:
        rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        split = SplitModel(tiny.build("bert", **rates))
        split.model.train()
        tuner = {} if head_only else split.backbone
        split.train_only(tuner)
        loader = make_loader(rows)
        judge = Judge(Classes(("a", "b")), loader.labels, ("accuracy",))

        def score() -> dict[str, float]:
            return judge(predict_logits(split.model, make_loader(rows), runtime, 2))

        settings = {"lr": 1e-3, "head_lr": 1e-2, **(optimizer or {})}
        calls = {
            k: more.pop(k) for k in ("on_step", "on_point", "pause", "checkpoint") if k in more
        }
        setup = StageSetup(length, OptimizerSettings(**settings), batch_size, seed, **more)
        return StageLoop(
            split.model, split.head, tuner, loader, judge.kind, evaluate or score, setup, runtime,
            **calls,
        )  # fmt: skip

    return make
