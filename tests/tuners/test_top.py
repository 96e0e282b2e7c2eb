"""The top layers: which they are, and how many there can be."""

from __future__ import annotations

import pytest

import tiny
from headstart.errors import ConfigError
from headstart.models.backbone import SplitModel
from headstart.tuners.top import Top


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_it_takes_the_last_layers_and_what_follows(family: str) -> None:
    split = SplitModel(tiny.build(family))
    last = split.layers()[-1][0]
    chosen = Top(1).attach(split)
    inside = {name for name in chosen if name.startswith(f"{last}.")}
    assert inside == {name for name in split.backbone if name.startswith(f"{last}.")}
    assert chosen.keys() - inside == set(split.above_layers())


def test_a_pooler_belongs_to_it() -> None:
    chosen = Top(1).attach(SplitModel(tiny.build("bert")))
    assert {n for n in chosen if ".pooler." in n} == {
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
    }
    assert not any(".embeddings." in n or ".layer.0." in n for n in chosen)


def test_more_layers_than_the_model_has_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"from 1 to 2.*k = 3"):
        Top(3).attach(SplitModel(tiny.build("bert")))
