"""A stage trains the embedding rows that its texts hold, as if it trained the whole table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import headstart.training.loop as module
import tiny
from headstart.models.backbone import SplitModel
from headstart.strategies.plan import Length
from headstart.targets.classes import Classes
from headstart.training.evaluate import Judge, predict_logits
from headstart.training.loop import StageLoop
from headstart.training.machine.runtime import Runtime
from headstart.training.optim import OptimizerSettings
from headstart.training.state import StageSetup
from headstart.training.used_embeddings import used_rows

ROWS = 2000
Make = Callable[..., Any]


def build(family: str = "bert") -> SplitModel:
    rates = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    split = SplitModel(tiny.build(family, vocab_size=ROWS, **rates))
    split.model.train()
    split.train_only(split.backbone)
    return split


def loop(split: SplitModel, make_loader: Make, runtime: Runtime, steps: int = 7) -> StageLoop:
    loader = make_loader(12)
    judge = Judge(Classes(("a", "b")), loader.labels, ("accuracy",))
    optimizer = OptimizerSettings(1e-2, 1e-2, weight_decay=0.5)
    setup = StageSetup(Length(steps, 1, "end"), optimizer, 5, 0, eval_every=3)
    return StageLoop(
        split.model, split.head, split.backbone, loader, judge.kind,
        lambda: judge(predict_logits(split.model, loader, runtime, 2)), setup, runtime,
    )  # fmt: skip


def table(split: SplitModel) -> Any:
    return split.model.get_input_embeddings().weight


@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "albert"])
def test_the_outcome_is_that_of_the_whole_table(
    family: str, make_loader: Make, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, whole = build(family), build(family)
    before = table(part).detach().clone()
    found = loop(part, make_loader, runtime)
    assert found._used is not None
    monkeypatch.setattr(module, "used_rows", lambda *_: None)
    expected = loop(whole, make_loader, runtime)
    curves = [[point.scores["loss"] for point in x.run().curve] for x in (found, expected)]
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)
    assert len(curves[0]) == 4  # evaluated on the way too
    for name, parameter in whole.model.named_parameters():
        other = part.model.get_parameter(name)
        torch.testing.assert_close(other, parameter, atol=2e-5, rtol=1e-4, msg=name)
    unmet = torch.ones(ROWS, dtype=torch.bool)
    unmet[torch.from_numpy(make_loader(12).vocabulary())] = False
    assert unmet.sum() > ROWS / 2
    assert not torch.equal(table(part)[unmet], before[unmet])  # decay reaches them


def test_a_checkpoint_holds_the_whole_table_and_goes_on_with_the_same_bits(
    make_loader: Make, runtime: Runtime
) -> None:
    through, first, second = build(), build(), build()
    loop(through, make_loader, runtime).run()
    kept: list[Any] = []

    def keep(running: StageLoop, stop: bool) -> None:
        if not kept and running.state.step == 4:
            tensors = {name: t.detach().clone() for name, t in running.tensors().items()}
            kept.append((running.snapshot(), tensors))

    stopped = loop(first, make_loader, runtime)
    stopped.pause, stopped.checkpoint = lambda: 1, keep
    stopped.run()
    (name,) = (n for n, p in second.backbone.items() if p is table(second))
    assert kept[0][1][f"now/{name}"].shape == (ROWS, 32)
    resumed = loop(second, make_loader, runtime)
    resumed.restore(*kept[0])
    resumed.run()
    for key, parameter in through.model.named_parameters():
        assert torch.equal(second.model.get_parameter(key), parameter), key


def test_where_the_whole_table_has_to_train_it_does(make_loader: Make, runtime: Runtime) -> None:
    split = build()
    base: Any = split.base
    assert used_rows(split.model, split.backbone, make_loader(12), runtime) is not None
    assert used_rows(split.model, {}, make_loader(12), runtime) is None
    biases = {n: p for n, p in split.backbone.items() if n.endswith("bias")}
    assert used_rows(split.model, biases, make_loader(12), runtime) is None
    small = SplitModel(tiny.build("bert"))
    assert used_rows(small.model, small.backbone, make_loader(12), runtime) is None
    base.again = torch.nn.Linear(32, ROWS)
    base.again.weight = table(split)
    assert used_rows(split.model, split.backbone, make_loader(12), runtime) is None
