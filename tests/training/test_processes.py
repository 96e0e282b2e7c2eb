"""Two processes look for gradients that never come only where there are any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

import tiny
from headstart.training.machine.runtime import Runtime
from launching import forked_twice

CHILD = """
import json, sys
import torch
sys.path.append(sys.argv[2])
from headstart.training.machine.runtime import Runtime
from test_processes import Toy

runtime, found = Runtime("cpu", "fp32", 1), {}
for unused in (False, True):
    for probed in (False, True):
        torch.manual_seed(0)
        model = Toy(unused)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        example = lambda: {"x": torch.ones(1, 3), "labels": torch.zeros(1)}
        with runtime.prepared(model, optimizer, example if probed else None) as (own, stepper):
            random = torch.rand(1).item()
            for step in range(3):
                own(x=torch.full((2, 3), 1.0 + runtime.rank + step)).logits.sum().backward()
                stepper.step()
                stepper.zero_grad()
            searched = own.find_unused_parameters
        found[f"{unused} {probed}"] = [searched, random, model.used.weight.tolist()]
if runtime.is_main:
    json.dump(found, open(sys.argv[1], "w"))
"""


class Toy(nn.Module):
    """A model, a second layer of which may train without being used."""

    def __init__(self, unused: bool) -> None:
        super().__init__()
        self.used = nn.Linear(3, 2)
        self.dropout = nn.Dropout(0.5)
        if unused:
            self.unused = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> Any:
        return SequenceClassifierOutput(logits=self.used(self.dropout(x)))


@pytest.mark.slow
def test_the_search_changes_nothing_and_is_left_out_where_it_can_be(tmp_path: Path) -> None:
    forked_twice(CHILD, tmp_path / "found.json", Path(__file__).parent)
    found = json.loads((tmp_path / "found.json").read_text())
    assert [f[0] for f in found.values()] == [True, False, True, True]
    for unused in ("False", "True"):
        assert found[f"{unused} False"][1:] == found[f"{unused} True"][1:]


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta-v2", "modernbert"])
def test_the_look_leaves_no_trace(runtime: Runtime, family: str) -> None:
    model = tiny.build(family, hidden_dropout_prob=0.1).train()
    batch = {name: t for name, t in tiny.batch(1).items() if name != "token_type_ids"}
    state = torch.random.get_rng_state()
    assert not runtime._leaves_some_unused(model, batch)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters())
    model.register_parameter("idle", nn.Parameter(torch.zeros(1)))
    assert runtime._leaves_some_unused(model, batch)
    model.get_parameter("idle").requires_grad = False
    assert not runtime._leaves_some_unused(model, batch)
    model.config.encoder_layerdrop = 0.1
    assert runtime._leaves_some_unused(model, batch)
