"""The histogram against the equations of arXiv 2504.15214, worked by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import tiny
from headstart.errors import ModelError, NotationError
from headstart.models.backbone import SplitModel
from headstart.tuners._bind import read_strategy
from headstart.tuners.histogram import Bins, Histogram, Padding, pooling_weights
from tiny_tuners import EVERY


def by_hand(size: int = 4, bins: int = 2, *, gain: bool = False) -> Bins:
    """Bin 0 looks at the first feature and bin 1 at the second, from centres 0 and 1."""
    part = Bins(size, bins, Padding(), gain=gain)
    with torch.no_grad():
        part.weight.zero_()
        part.weight[0, 0] = part.weight[1, 1] = 1.0
        part.centres.copy_(torch.tensor([0.0, 1.0]))
        part.widths.copy_(torch.tensor([1.0, 2.0]))
    return part


def test_shares_by_hand() -> None:
    # Z = (0.5, -0.5 + 1), U = (0.5, 2 · 0.5), R = (e^-0.25, e^-1) = (0.778801, 0.367879).
    # Sum + 1e-5 = 1.146690: shares 0.679173 and 0.320818.
    shares = by_hand().shares(torch.tensor([[[0.5, -0.5, 9.0, 9.0]]]))
    torch.testing.assert_close(shares, torch.tensor([[[0.679173, 0.320818]]]), atol=1e-6, rtol=0)


def test_the_bins_of_a_token_sum_to_one_up_to_the_1e_5() -> None:
    torch.manual_seed(0)
    part = Bins(32, 16, Padding(), gain=False)
    states = torch.randn(3, 7, 32)
    near = part.widths * (states @ part.weight.T + part.centres)
    raw = torch.exp(-(near**2)).sum(-1)
    torch.testing.assert_close(part.shares(states).sum(-1), raw / (raw + 1e-5))
    assert (1 - part.shares(states).sum(-1)).abs().max() < 1e-4
    with torch.no_grad():  # far from every centre the 1e-5 is all that is left
        part.centres.fill_(100.0)
        part.widths.fill_(1.0)
    assert not part.shares(states).any()


@pytest.mark.parametrize(("tokens", "positions"), [(5, 2), (7, 3), (8, 4), (2, 5), (1, 3)])
def test_the_average_is_that_of_adaptive_pooling(tokens: int, positions: int) -> None:
    values = torch.randn(2, tokens, 3)
    weights = pooling_weights(torch.ones(2, tokens, dtype=torch.long), positions)
    expected = nn.functional.adaptive_avg_pool1d(values.transpose(1, 2), positions).transpose(1, 2)
    torch.testing.assert_close(weights @ values, expected)


def test_padding_is_left_out_on_either_side_by_hand() -> None:
    # Three real tokens into two positions: the first takes tokens 0 and 1, the second 1 and 2.
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]])
    expected = torch.tensor(
        [
            [[0.5, 0.5, 0, 0, 0], [0, 0.5, 0.5, 0, 0]],
            [[0, 0, 0.5, 0.5, 0], [0, 0, 0, 0.5, 0.5]],
            [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
        ]
    )
    torch.testing.assert_close(pooling_weights(mask, 2), expected)


def test_the_order_is_by_position_and_then_by_bin() -> None:
    # Two tokens, two positions, two bins. Token 0 lies at both centres: shares 1/2 and 1/2.
    # Token 1: Z = (2, 1 + 1), U = (2, 4): R = (e^-4, e^-16), the first bin has nearly all.
    part = by_hand()
    first, second = math.exp(-4), math.exp(-16)
    total = first + second + 1e-5
    states = torch.tensor([[[0.0, -1.0, 0, 0], [2.0, 1.0, 0, 0]]])
    found = part(states)
    expected = torch.tensor([[[1 / 2.00001, 1 / 2.00001, first / total, second / total]]])
    assert found.shape == (1, 1, 4)
    torch.testing.assert_close(found, expected)


def attached(family: str = "bert", **knobs: Any) -> tuple[SplitModel, dict[str, nn.Parameter]]:
    split = SplitModel(tiny.build(family))
    torch.manual_seed(0)
    return split, Histogram(**knobs).attach(split)


def test_a_layer_of_bert_by_its_equations() -> None:
    split, _ = attached(start="paper")
    model: Any = split.model
    batch = tiny.batch(n=3, length=9)
    layer, seen = model.bert.encoder.layer[0], []
    handle = layer.register_forward_hook(lambda _, args, output: seen.append((args, output)))
    with torch.no_grad():
        model(**batch)
        handle.remove()
        args, output = seen[0]
        x, dense = args[0], layer.attention.output.dense
        part: Any = dense.tuner
        attended = layer.attention.self(*args[:2])[0]
        h = []
        for row, real in zip(x, batch["attention_mask"].bool(), strict=True):
            r = torch.exp(-((part.widths * (row[real] @ part.weight.T + part.centres)) ** 2))
            r = r / (r.sum(-1, keepdim=True) + 1e-5)
            h.append(nn.functional.adaptive_avg_pool1d(r.T, 2).T.flatten())
        mixed = nn.functional.linear(attended, dense.weight, dense.bias) + torch.stack(h)[:, None]
        y = layer.attention.output.LayerNorm(x + mixed)
        expected = layer.output(layer.intermediate(y), y)
        torch.testing.assert_close(output, expected)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_more_padding_changes_nothing(family: str) -> None:
    split, _ = attached(family, start="paper")
    batch = tiny.batch(n=3, length=9)
    wider = {
        "input_ids": nn.functional.pad(batch["input_ids"], (0, 4), value=tiny.PAD),
        "attention_mask": nn.functional.pad(batch["attention_mask"], (0, 4)),
    }
    with torch.no_grad():
        narrow, wide = split.model(**batch).logits, split.model(**wider).logits
    torch.testing.assert_close(wide, narrow, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", EVERY)
@pytest.mark.parametrize("start", ["zero", "paper"])
def test_the_gain_keeps_step_0_and_the_papers_form_does_not(family: str, start: str) -> None:
    split, batch = SplitModel(tiny.build(family)), tiny.batch_for(family)
    with torch.no_grad():
        before = split.model(**batch).logits
        chosen = Histogram(start=start).attach(split)  # type: ignore[arg-type]
        assert torch.equal(split.model(**batch).logits, before) == (start == "zero")
    numbers = len(split.layers()) * (16 * (32 + 2) + (1 if start == "zero" else 0))
    assert sum(p.numel() for p in chosen.values()) == numbers


def test_it_starts_as_the_paper_says() -> None:
    _, chosen = attached(bins=8)
    assert len(chosen) == 2 * 4
    for name, parameter in chosen.items():
        bound = {"weight": 32**-0.5, "centres": 32**-0.5, "widths": 1.0, "gain": 0.0}
        assert parameter.abs().max() <= bound[name.rsplit(".", 1)[1]]


def test_bins_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ModelError, match=r"divides the hidden size, 32.*bins = 12.*bins=8"):
        attached(bins=12)


@pytest.mark.parametrize("line", ["histogram", "histogram >> full"])
def test_it_is_refused_where_it_would_have_to_be_merged(line: str) -> None:
    with pytest.raises(NotationError) as error:
        read_strategy(line)
    assert error.value.fix == Histogram.no_merge
