"""The parts of a layer are those that the family's code calls in this order, or none are found."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, GPT2Config

import tiny
from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.tuners._places import FAMILIES, find_places
from headstart.tuners.hydra import Hydra
from tiny_tuners import EVERY


def gpt2() -> SplitModel:
    config = GPT2Config(
        vocab_size=tiny.VOCABULARY, n_embd=32, n_layer=2, n_head=4, pad_token_id=tiny.PAD,
    )  # fmt: skip
    return SplitModel(AutoModelForSequenceClassification.from_config(config).eval())


def test_every_family_of_the_suite_is_known() -> None:
    # Further families of sound and pictures have their tests beside their kinds of input.
    assert set(FAMILIES) >= set(EVERY)


@pytest.mark.parametrize("family", EVERY)
def test_the_parts_are_called_in_their_order_in_every_layer(family: str) -> None:
    split = SplitModel(tiny.build(family))
    found = find_places(split)
    calls: list[tuple[int, str, Any]] = []
    for index, places in enumerate(found):
        places.attention.register_forward_pre_hook(
            lambda _, args, kwargs, i=index: calls.append(
                (i, "attention", args[0] if args else kwargs["hidden_states"])
            ),
            with_kwargs=True,
        )
        for name in ("output", "first", "second"):
            getattr(places, name).register_forward_hook(
                lambda _, args, out, i=index, n=name: calls.append((i, n, out))
            )
    with torch.no_grad():
        split.model(**tiny.batch_for(family))
    order = ("attention", "output", "first", "second")
    layers = {"albert": 1, "modernbert": 3}.get(family, 2)
    assert len(found) == layers
    repeated = 2 if family == "albert" else 1  # its one layer is applied twice
    assert [(i, n) for i, n, _ in calls] == [
        (i, n) for i in range(layers) for n in order
    ] * repeated
    widths = [call[2].shape[-1] for call in calls[:4]]
    assert widths == [32, 32, 96 if family == "modernbert" else 48, 32]


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(ModelError, match=r"GPT2Model: it is none of them.*'bitfit' or 'lora'"):
        Hydra().attach(gpt2())


@pytest.mark.parametrize("broken", ["missing", "shape", "kind"])
def test_a_layer_that_is_built_otherwise_is_refused(broken: str) -> None:
    model: Any = tiny.build("bert")
    layer = model.bert.encoder.layer[1]
    if broken == "missing":
        del layer.output.dense
    else:
        other = torch.nn.Linear(40, 32) if broken == "shape" else torch.nn.Identity()
        layer.output.dense = other
    with pytest.raises(ModelError, match=r"bert\.encoder\.layer\.1 is built otherwise"):
        find_places(SplitModel(model))
