"""What the user left open is decided, and what was decided repeats the run."""

from __future__ import annotations

from typing import Any

import pytest

from headstart.config import FitConfig
from headstart.run.settings import choose, resolved, unused_settings
from headstart.tasks.userfile import from_columns
from headstart.tuners._bind import read_strategy

TASK = from_columns(("sentence",))


def unused(strategy: str, **settings: Any) -> list[str]:
    """Return the parts of a line that the faults point at."""
    config = FitConfig(strategy=strategy, **settings)
    faults = unused_settings(config, read_strategy(strategy))
    return [strategy[fault.start : fault.end] for fault in faults]


@pytest.mark.parametrize(
    ("strategy", "settings", "parts"),
    [
        ("bitfit > full(epochs=2)", {"epochs": 3}, ["epochs=2"]),
        ("bitfit > full(steps=9)", {"epochs": 3}, ["steps=9"]),
        ("full(lr=1e-4, epochs=2)", {"epochs": 3, "lr": 1e-5}, ["epochs=2", "lr=1e-4"]),
        ("head > full(head_lr=1e-4)", {"head_lr": 1e-5, "lr": 1e-5}, ["head_lr=1e-4"]),
        # The epochs are then those of which the share is a share.
        ("bitfit(share=0.1) > full(epochs=2)", {"epochs": 3}, []),
        ("bitfit(epochs=2, lr=1e-3) > full", {"epochs": 3, "lr": 1e-5}, []),
        ("bitfit > full(epochs=2)", {}, []),
    ],
)
def test_what_the_last_stage_overrules_is_pointed_at(
    strategy: str, settings: dict[str, Any], parts: list[str]
) -> None:
    assert unused(strategy, **settings) == parts


@pytest.mark.parametrize("strategy", ["full(epochs=2)", "full(steps=2, lr=1)", "full", "eh-ft"])
@pytest.mark.parametrize("settings", [{}, {"validation": "v"}, {"total_epochs": 4}])
def test_decided_settings_contradict_nothing(strategy: str, settings: dict[str, Any]) -> None:
    config = FitConfig(model="m", train="t", text=("s",), strategy=strategy, **settings)
    choices, stages = choose(config, TASK), read_strategy(strategy)
    decided = resolved(config, choices, stages, 64)
    assert not decided.contradictions()
    assert not unused_settings(decided, stages)
    assert resolved(decided, choose(decided, TASK), stages, 64) == decided
