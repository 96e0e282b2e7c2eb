"""Every registered tuner and technique has a whole card, and is read the same without torch."""

from __future__ import annotations

import dataclasses
import importlib
import re
from typing import Any, cast

import pytest

from headstart.catalogue import entries, find_entry
from headstart.plugins.cards import Card
from headstart.strategies.builtin import OVER_SEEDS
from headstart.strategies.stages import written
from headstart.techniques import TECHNIQUES
from headstart.tuners import TUNERS

NAMES = [*((TUNERS, name) for name in TUNERS), *((TECHNIQUES, name) for name in TECHNIQUES)]
CARDS = [
    *(f"{registry.package}.{name}" for registry, name in NAMES),
    *(f"headstart.study.{name}" for name in OVER_SEEDS),
]
EVERY = pytest.mark.parametrize(("registry", "name"), NAMES, ids=[name for _, name in NAMES])


def knobs(registry: Any, name: str) -> dict[str, Any]:
    fields = dataclasses.fields(cast(Any, registry.get(name)))
    return {f.name: f.default for f in fields if f.init}


@pytest.mark.parametrize("module", CARDS)
def test_a_card_tells_all_of_it(module: str) -> None:
    told: Card = importlib.import_module(module).CARD
    assert len(re.findall(r"[.?!](?= [A-Z`]|$)", told.idea)) == 3
    for text in (told.equation, told.helps, told.harms, told.citation, told.deviations):
        assert text.strip()
    assert re.search(r"\b(19|20)\d\d\b|arXiv", told.citation)
    entry = find_entry(module.rpartition(".")[2])
    assert entry is not None
    assert entry.card == told
    assert told.sources.keys() == {knob.name for knob in entry.knobs}
    assert all(told.sources.values())


@EVERY
def test_what_is_read_without_torch_is_what_the_code_says(registry: Any, name: str) -> None:
    entry, made = find_entry(name), registry.get(name)
    assert entry is not None
    assert [k.name for k in entry.knobs] == [*knobs(registry, name)]
    for knob, default in zip(entry.knobs, knobs(registry, name).values(), strict=True):
        assert knob.default == written(default)
        assert knob.accepted == made.ranges.get(knob.name, ("",))[0]
        assert knob.meaning
    for fact, value in entry.facts.items():
        assert getattr(made, fact) == value, fact
    if registry is TUNERS:
        told = entry.facts.keys()
        assert told >= {"where", "formula", "lr", "head_lr", "serves", "no_merge"}
        assert entry.serves


def test_the_catalogue_is_whole_and_names_are_unambiguous() -> None:
    names = [entry.name for entry in entries()]
    assert names == [*TUNERS, *TECHNIQUES, *OVER_SEEDS]
    assert len(set(names)) == len(names) >= 20
