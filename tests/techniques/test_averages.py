"""Means of weights by hand, of whole parameters and of a table's rows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import tiny
from headstart.models.backbone import SplitModel
from headstart.techniques._average import Averaging
from headstart.techniques._base import Updated
from headstart.techniques.ema import Ema
from headstart.techniques.swa import Swa
from headstart.techniques.wise_ft import WiseFt
from techniques.made import setting

BIAS, TABLE = "classifier.bias", "bert.embeddings.word_embeddings.weight"
ROWS = torch.tensor([1, 4])


def run(
    technique: Averaging, steps: int, cut: int | None = None
) -> tuple[SplitModel, nn.Parameter]:
    """Let a bias and a table of two rows go 1, 2, 3 …; go on from a checkpoint at ``cut``."""
    split = SplitModel(tiny.build("bert"))
    named = dict(split.model.named_parameters())
    table = nn.Parameter(torch.zeros(2, named[TABLE].shape[1]))
    with torch.no_grad():
        named[BIAS].zero_()
    updated = {n: Updated(p) for n, p in named.items()} | {TABLE: Updated(table, ROWS)}
    technique.begin(setting(split, steps=steps))
    optimizer = torch.optim.SGD([table], lr=1.0)
    technique.optimizer(optimizer, updated)
    for step in range(steps):
        if step == cut:
            held = {name: tensor.clone() for name, tensor in technique.tensors().items()}
            technique.begin(setting(split, steps=steps))
            technique.optimizer(optimizer, updated)
            technique.restore(held)
        with torch.no_grad():
            named[BIAS].fill_(step + 1.0)
            table.fill_(step + 1.0)
        technique.after_step(step)
    return split, table


def expected_ema(decay: float, every: int, steps: int) -> float:
    mean, keep = 0.0, 1.0
    for t in range(steps):
        keep *= min(decay, (1 + t) / (10 + t))
        if (t + 1) % every == 0 or t + 1 == steps:
            mean, keep = keep * mean + (1 - keep) * (t + 1), 1.0
    return mean


@pytest.mark.parametrize("cut", [None, 3])
@pytest.mark.parametrize(("decay", "every"), [(0.9, 1), (0.2, 1), (0.9, 2), (0.9, 4)])
def test_ema_by_hand(decay: float, every: int, cut: int | None) -> None:
    technique = Ema(decay=decay, every=every)
    split, _ = run(technique, 8, cut)
    before = split.backbone[TABLE].detach().clone()
    expected = expected_ema(decay, every, 8)
    with technique.evaluated():
        assert split.head[BIAS].tolist() == pytest.approx([expected] * 2)
    assert split.head[BIAS].tolist() == [8.0, 8.0]
    assert torch.equal(split.backbone[TABLE], before)
    technique.end()
    now = split.backbone[TABLE].detach()
    assert now[ROWS].unique().item() == pytest.approx(expected)
    others = torch.ones(len(now), dtype=torch.bool)
    others[ROWS] = False
    assert torch.equal(now[others], before[others]), "rows without a mean stay as they are"


@pytest.mark.parametrize("steps", [1, 3, 6])
def test_ema_ends_with_the_last_step_in_it(steps: int) -> None:
    technique = Ema(decay=0.9, every=4)
    split, _ = run(technique, steps)
    with technique.evaluated():
        evaluated = split.head[BIAS].tolist()
    technique.end()
    assert split.head[BIAS].tolist() == evaluated
    assert evaluated == pytest.approx([expected_ema(0.9, 4, steps)] * 2)
    assert evaluated[0] > 0, "a stage of fewer steps than one move is averaged too"


@pytest.mark.parametrize("cut", [None, 6])
@pytest.mark.parametrize(("every", "mean"), [(1, 6.5), (2, 6.0), (4, 5.0)])
def test_swa_by_hand(every: int, mean: float, cut: int | None) -> None:
    """Of the values 1 to 8 the second half: 5, 6, 7, 8, or every second or fourth of them."""
    technique = Swa(start=0.5, every=every)
    split, _ = run(technique, 8, cut)
    technique.end()
    assert split.head[BIAS].tolist() == pytest.approx([mean] * 2)
    assert split.backbone[TABLE][ROWS].unique().tolist() == pytest.approx([mean])


def test_swa_before_its_part_holds_the_weights_themselves() -> None:
    technique = Swa(start=0.9)
    split, _ = run(technique, 0)
    technique.after_step(0)
    before = split.head[BIAS].detach().clone()
    with technique.evaluated():
        assert torch.equal(split.head[BIAS], before)
    technique.end()
    assert torch.equal(split.head[BIAS], before)


def test_wise_ft_lies_between_where_the_stage_began_and_where_it_ended() -> None:
    split = SplitModel(tiny.build("bert"))
    named = dict(split.model.named_parameters())
    with torch.no_grad():
        named[BIAS].fill_(1.0)
    technique = WiseFt(alpha=0.25)
    technique.begin(setting(split))
    with torch.no_grad():
        named[BIAS].fill_(9.0)
    with technique.evaluated():
        assert named[BIAS].tolist() == [3.0, 3.0]  # 0.75 · 1 + 0.25 · 9
    assert named[BIAS].tolist() == [9.0, 9.0]
    held = {name: tensor.clone() for name, tensor in technique.tensors().items()}
    technique.begin(setting(split))
    technique.restore(held)
    technique.end()
    assert named[BIAS].tolist() == [3.0, 3.0]
