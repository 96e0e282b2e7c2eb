"""Adapters against the papers' equations by hand, and where each kind of them sits."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import tiny
from headstart.errors import NotationError
from headstart.models.backbone import SplitModel
from headstart.tuners._bind import read_strategy
from headstart.tuners.adapter import Adapter, Bottleneck
from tiny_tuners import EVERY


@pytest.mark.parametrize(
    ("activation", "x", "hidden"),
    [
        # D = 2, d = 1: x = 1 gives 3, x = -1 gives -1. GELU(z) = z · Φ(z), Φ from erf.
        ("relu", 1.0, 3.0),
        ("relu", -1.0, 0.0),
        ("gelu", 1.0, 3.0 * 0.5 * (1 + math.erf(3 / math.sqrt(2)))),
        ("gelu", -1.0, -1.0 * 0.5 * (1 + math.erf(-1 / math.sqrt(2)))),
    ],
)
def test_what_is_added_by_hand(activation: str, x: float, hidden: float) -> None:
    part = Bottleneck(1, 1, activation, 4.0)
    for parameter, value in (
        (part.down.weight, 2.0), (part.down.bias, 1.0), (part.up.weight, 0.5), (part.up.bias, 0.25),
    ):  # fmt: skip
        nn.init.constant_(parameter, value)
    expected = 4.0 * (0.5 * hidden + 0.25)
    torch.testing.assert_close(part(torch.tensor([[x]])), torch.tensor([[expected]]))


@pytest.mark.parametrize(
    ("kind", "activation", "scale"),
    [("houlsby", "gelu", 1.0), ("pfeiffer", "relu", 2.0), ("parallel", "relu", 4.0)],
)
def test_a_layer_of_bert_by_its_equations(kind: Any, activation: Any, scale: float) -> None:
    split = SplitModel(tiny.build("bert"))
    model: Any = split.model
    layer = model.bert.encoder.layer[0]
    chosen = Adapter(8, kind, activation, scale).attach(split)
    for parameter in chosen.values():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 5, 32)

    def added(host: nn.Module, read: torch.Tensor) -> torch.Tensor:
        part: Any = host.tuner
        hidden = nn.functional.linear(read, part.down.weight, part.down.bias)
        hidden = hidden.relu() if activation == "relu" else nn.functional.gelu(hidden)
        return scale * nn.functional.linear(hidden, part.up.weight, part.up.bias)

    def plain(linear: Any, read: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(read, linear.weight, linear.bias)

    with torch.no_grad():
        attended = layer.attention.self(x)[0]
        h = plain(layer.attention.output.dense, attended)
        if kind == "houlsby":
            h = h + added(layer.attention.output.dense, h)
        y = layer.attention.output.LayerNorm(x + h)
        z = plain(layer.output.dense, layer.intermediate(y))
        z = z + added(layer.output.dense, y if kind == "parallel" else z)
        expected = layer.output.LayerNorm(y + z)
        torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("family", EVERY)
@pytest.mark.parametrize(("kind", "each"), [("houlsby", 2), ("pfeiffer", 1), ("parallel", 1)])
def test_step_0_is_the_checkpoint(family: str, kind: Any, each: int) -> None:
    split, batch = SplitModel(tiny.build(family)), tiny.batch_for(family)
    with torch.no_grad():
        start = split.model(**batch).logits
        chosen = Adapter(width=8, kind=kind).attach(split)
        assert torch.equal(split.model(**batch).logits, start)
    assert sum(p.numel() for p in chosen.values()) == len(split.layers()) * each * (
        2 * 8 * 32 + 8 + 32
    )
    for name, parameter in chosen.items():
        assert bool(parameter.any()) == name.endswith("down.weight")


@pytest.mark.parametrize("line", ["adapter", "adapter >> full", "lora > adapter(8) >> full"])
def test_it_is_refused_where_it_would_have_to_be_merged(line: str) -> None:
    with pytest.raises(NotationError) as error:
        read_strategy(line)
    assert error.value.fix == Adapter.no_merge
    assert "activation" in Adapter.no_merge
