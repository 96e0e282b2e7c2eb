"""Heads trained at once are the heads trained alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from alike import spread
from headstart.models.backbone import SplitModel
from headstart.models.heads import EncoderClassifier, HeadSpec
from headstart.strategies.plan import Length
from headstart.targets._base import TargetKind
from headstart.targets.classes import Classes
from headstart.targets.number import Number
from headstart.training.evaluate import predict_logits
from headstart.training.frozen.features import frozen_features
from headstart.training.frozen.probe import probe_logits, train_heads
from headstart.training.loop import StageLoop
from headstart.training.machine.runtime import Runtime
from headstart.training.optim import OptimizerSettings
from headstart.training.state import StageSetup

SEEDS, RATES, STEPS, BATCH = (3, 4), (1e-3, 1e-2), 9, 5
EPS = 1e-4
"""Large: where a gradient is but rounding, Adam would else make whole steps of it."""
CASES = [(family, kind) for family in tiny.FAMILIES for kind in ("sequence", "choice", "mlp")]
CASES += [("modernbert", "mean"), ("bert", "number")]


def build(family: str, kind: str) -> SplitModel:
    settings = {"classifier_pooling": "mean"} if kind == "mean" else {}
    if kind == "number":
        settings["num_labels"] = 1
    native: Any = tiny.build(family, kind="choice" if kind == "choice" else "sequence", **settings)
    if kind == "mlp":
        backbone = getattr(native, native.base_model_prefix)
        native = EncoderClassifier(backbone, HeadSpec.mlp(2)).eval()
    split = SplitModel(native)
    split.train_only({})
    return split


def start(split: SplitModel, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.1 * torch.randn(p.shape, generator=generator) for name, p in split.head.items()}


def alone(
    split: SplitModel, loader: Any, seed: int, rate: float, target: TargetKind, runtime: Runtime
) -> tuple[dict[str, torch.Tensor], Any]:
    split.load_head(start(split, seed))
    settings = OptimizerSettings(rate, rate, eps=EPS)
    setup = StageSetup(Length(STEPS, 1, "end"), settings, BATCH, seed, eval_every=10**6)
    score: Callable[[], dict[str, float]] = lambda: {"score": 0.0}  # noqa: E731
    StageLoop(split.model, split.head, {}, loader, target, score, setup, runtime).run()
    return split.head_state(), predict_logits(split.model, loader, runtime, 2)


@pytest.mark.parametrize(("family", "kind"), spread(CASES, times=1))
def test_every_head_is_the_one_trained_alone(
    family: str, kind: str, make_loader: Callable[..., Any], runtime: Runtime
) -> None:
    split = build(family, kind)
    loader = make_loader(
        12, classes=0 if kind == "number" else 2, choices=2 if kind == "choice" else 1
    )
    target = Number() if kind == "number" else Classes(("a", "b"))
    before = split.head_state()
    with frozen_features(split, [loader], runtime) as loaders:
        assert loaders is not None
        heads = train_heads(
            split, loaders[0], [start(split, seed) for seed in SEEDS], SEEDS, RATES,
            target, steps=STEPS, batch_size=BATCH, settings=OptimizerSettings(0.0, 0.0, eps=EPS),
        )  # fmt: skip
        assert all(torch.equal(before[n], t) for n, t in split.head_state().items())
        outputs = 1 if kind == "number" else 2
        logits = probe_logits(split, loaders[0], heads, outputs)
        for i, seed in enumerate(SEEDS):
            for j, rate in enumerate(RATES):
                expected, told = alone(split, loaders[0], seed, rate, target, runtime)
                for name, tensor in expected.items():
                    torch.testing.assert_close(heads[name][i, j], tensor, atol=2e-5, rtol=1e-4)
                np.testing.assert_allclose(logits[i, j], told[:, :outputs], atol=5e-3, rtol=1e-3)
    different = next(iter(heads.values()))
    assert not torch.allclose(different[0], different[1])
    assert not torch.allclose(different[:, 0], different[:, 1])
