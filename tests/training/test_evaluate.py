"""Logits in the rows' own order, and metrics in the user's units."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import headstart.training.evaluate as module
import tiny
from headstart.models.evaluating import evaluating
from headstart.targets.classes import Classes
from headstart.targets.number import Number
from headstart.training.evaluate import Judge, predict_logits
from headstart.training.machine import precision
from headstart.training.machine.runtime import Runtime


@pytest.mark.parametrize(("kind", "choices"), [("sequence", 1), ("choice", 3)])
def test_logits_come_in_the_rows_own_order(
    kind: str, choices: int, make_loader: Callable[..., Any], runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    model = tiny.build("bert", kind=kind)
    loader = make_loader(23, choices=choices)
    monkeypatch.setattr(module, "TOKENS_PER_BATCH", 50)
    outputs = choices if kind == "choice" else 2
    logits = predict_logits(model, loader, runtime, outputs)
    assert len(loader.asked) >= 4
    assert sorted(i for rows in loader.asked for i in rows) == list(range(23))
    assert loader.asked != [sorted(rows) for rows in loader.asked]
    for row in range(23):
        batch = loader.batch(np.array([row]))
        del batch["labels"]
        with torch.no_grad():
            alone = model(**batch).logits[0].numpy()
        np.testing.assert_allclose(logits[row], alone, atol=1e-5)


def in_bf16(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return torch.from_numpy(logits).bfloat16().float().numpy()


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert", "deberta-v2", "distilbert"])
def test_the_base_model_computes_in_bf16_and_what_lies_on_it_in_fp32(
    family: str, make_loader: Callable[..., Any]
) -> None:
    model: Any = tiny.build(family)
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    seen: list[torch.dtype] = []
    base = getattr(model, model.base_model_prefix)
    linear = next(m for m in base.modules() if isinstance(m, torch.nn.Linear))
    hook = linear.register_forward_hook(lambda _m, _i, output: seen.append(output.dtype))
    logits = predict_logits(model, make_loader(), Runtime("cpu", "bf16", 1), 2)
    hook.remove()
    assert set(seen) == {torch.bfloat16}
    assert (logits != in_bf16(logits)).mean() > 0.9
    assert all(vars(m).keys() == before[name].keys() for name, m in model.named_modules())


class _Listed(torch.nn.Module):
    """A model whose head is a list of maps, which is never called itself."""

    base_model_prefix = "base"

    def __init__(self) -> None:
        super().__init__()
        self.base = torch.nn.Linear(4, 4)
        self.heads = torch.nn.ModuleList([torch.nn.Linear(4, 2)])

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.heads[0](self.base(values))
        return found


def test_heads_in_lists_are_found_and_without_autocast_nothing_is_changed() -> None:
    model = _Listed()
    runtime = Runtime("cpu", "bf16", 1)
    with runtime.autocast(), precision.head_in_fp32(model, runtime):
        assert model.base(torch.ones(1, 4)).dtype == torch.bfloat16
        assert model(torch.ones(1, 4)).dtype == torch.float32
    plain = Runtime("cpu", "fp32", 1)
    with precision.head_in_fp32(model, plain):
        assert "forward" not in vars(model.heads[0])


TWO = Classes(("a", "b"))


def test_it_predicts_without_dropout_and_puts_every_mode_back(
    make_loader: Callable[..., Any], runtime: Runtime
) -> None:
    model: Any = tiny.build("bert", hidden_dropout_prob=0.5)
    plain = predict_logits(model, make_loader(), runtime, 2)
    model.train()
    model.bert.encoder.eval()
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    assert np.array_equal(predict_logits(model, make_loader(), runtime, 2), plain)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters())


def test_decisions() -> None:
    logits = np.array([[1, 3, 2], [5, 0, 0]], np.float32)
    assert Classes(("a", "b", "c")).predict(logits).tolist() == [1, 0]
    assert Number().predict(logits[:, :1]).tolist() == [1, 5]


def test_classes_are_judged() -> None:
    judge = Judge(TWO, np.array([0, 1, 1, 0]), ("accuracy", "f1"))
    logits = 4 * np.eye(2, dtype=np.float32)[[0, 1, 0, 0]]
    found = judge(logits)
    assert found["accuracy"] == 0.75
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["score"] == pytest.approx((0.75 + 2 / 3) / 2)
    low, high = np.log1p(np.exp(-4)), np.log1p(np.exp(4))
    assert found["loss"] == pytest.approx((3 * low + high) / 4, rel=1e-5)


def test_numbers_and_their_loss_are_judged_in_the_users_units() -> None:
    truth = np.array([100.0, 120.0, 140.0])
    mean, scale = float(truth.mean()), float(truth.std())
    labels = ((truth - mean) / scale).astype(np.float32)
    guesses = ((np.array([90.0, 120.0, 170.0]) - mean) / scale).astype(np.float32)
    logits = guesses[:, None].astype(np.float32)
    found = Judge(Number(mean=mean, scale=scale), labels, ("r2",))(logits)
    assert found["r2"] == pytest.approx(1 - 1000 / 800, rel=1e-5)
    assert found["loss"] == pytest.approx(1000 / 3, rel=1e-5)


def test_the_metrics_see_unstandardised_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def compute(names: Any, predictions: Any, references: Any, *_: Any) -> dict[str, float]:
        seen.extend((predictions, references))
        return dict.fromkeys(names, 0.5)

    monkeypatch.setattr(module, "compute", compute)
    judge = Judge(Number(mean=10.0, scale=4.0), np.array([0.0, 1.0], np.float32), ("pearson",))
    judge(np.array([[2.0], [-1.0]], np.float32))
    assert [array.tolist() for array in seen] == [[18.0, 6.0], [10.0, 14.0]]


@pytest.mark.parametrize("number", [False, True])
def test_broken_logits_score_nothing(number: bool) -> None:
    logits = np.full((2, 1 if number else 2), np.nan, np.float32)
    labels: Any = np.array([0.0, 1.0], np.float32) if number else np.array([0, 1])
    found = Judge(Number() if number else TWO, labels, ("pearson" if number else "accuracy",))(
        logits
    )
    assert found["score"] == 0
    assert np.isnan(found["loss"])


def test_broken_logits_are_worse_than_any_error() -> None:
    found = Judge(TWO, np.array([0, 1]), ("accuracy", "brier"))(np.full((2, 2), np.nan, np.float32))
    assert found["score"] == -math.inf


def test_probabilities_are_judged_and_an_error_lowers_the_score() -> None:
    logits = np.array([[1, 0], [0, 2], [0.5, 0]], np.float32)
    found = Judge(TWO, np.array([0, 1, 1]), ("log_loss", "roc_auc"))(logits)
    assert found["roc_auc"] == 1.0
    assert found["log_loss"] == pytest.approx(found["loss"])
    assert found["score"] == pytest.approx((1 - found["log_loss"]) / 2)


def test_each_module_gets_its_own_mode_back() -> None:
    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout().eval())
    with pytest.raises(ZeroDivisionError), evaluating(model):
        assert not any(module.training for module in model.modules())
        raise ZeroDivisionError
    assert [module.training for module in model.modules()] == [True, True, False]
