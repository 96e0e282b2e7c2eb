"""What the user left open is decided, and what was decided repeats the run."""

from __future__ import annotations

from typing import Any

import pytest

from headstart.config import FitConfig
from headstart.contradictions import contradictions
from headstart.steps.settings import decide_hyperparameters, unused_settings
from headstart.steps.stages.plan import plan_stages
from headstart.strategies.plan import Length
from headstart.tasks.userfile import from_columns
from headstart.tuners._bind import read_strategy

TASK = from_columns(("sentence",))


def unused(strategy: str, **settings: Any) -> list[str]:
    """Return the parts of a line that the faults point at."""
    config = FitConfig(strategy=strategy, **settings)
    faults = unused_settings(config, read_strategy(strategy))
    return [strategy[fault.start : fault.end] for fault in faults]


def rates(line: str, **settings: Any) -> list[tuple[float, float]]:
    """Return the rates of tuner and head of each stage."""
    config = FitConfig(model="m", train="t", text=("s",), strategy=line, **settings)
    strategy, choices = read_strategy(line), decide_hyperparameters(config, TASK)
    lengths = [Length(1, 1, "end")] * len(strategy.stages)
    plans = plan_stages(strategy, lengths, config, choices.preset, 10_000_000)
    return [(plan.optimizer.lr, plan.optimizer.head_lr) for plan in plans]


@pytest.mark.parametrize(
    ("strategy", "settings", "parts"),
    [
        ("bitfit > full(epochs=2)", {"epochs": 3}, ["epochs=2"]),
        ("bitfit > full(steps=9)", {"epochs": 3}, ["steps=9"]),
        ("full(epochs=2, steps=9)", {"epochs": 3}, ["full(epochs=2, steps=9)"]),
        ("bitfit(share=0.2) > full", {"budget": "5m"}, ["share=0.2"]),
        ("full(lr=1e-4, epochs=2)", {"epochs": 3, "lr": 1e-5}, ["epochs=2", "lr=1e-4"]),
        ("head > full(head_lr=1e-4)", {"head_lr": 1e-5, "lr": 1e-5}, ["head_lr=1e-4"]),
        ("full+contrast >> head(until=optimum)", {"head_lr": 1e-3}, ["full"]),
        ("full+contrast(0.5) >> head(until=optimum)", {"head_lr": 1e-3}, []),
        ("full+contrast >> full", {"head_lr": 1e-3}, []),
        ("full > head", {"lr": 1e-3}, ["head"]),
        ("head", {"head_lr": 1e-3}, []),
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


def test_an_alias_is_pointed_at_as_it_was_written() -> None:
    config = FitConfig(strategy="few", epochs=6)
    (fault,) = unused_settings(config, read_strategy("few"))
    assert "expected epochs and steps of full, or --epochs; found both" in str(fault)
    assert fault.line[fault.start : fault.end] == "few"


@pytest.mark.parametrize("preset", ["default", "paper"])
@pytest.mark.parametrize("line", ["bitfit > lora > full", "lora >> full", "head > bitfit", "full"])
def test_rates_from_the_command_line_are_those_of_the_last_stage_alone(
    line: str, preset: str
) -> None:
    plain = rates(line, preset=preset)
    *earlier, last = rates(line, preset=preset, lr=0.123, head_lr=0.456)
    assert last == (0.123, 0.456)
    assert earlier == plain[:-1]
    assert rates(line, preset=preset, lr=0.123) == [*plain[:-1], (0.123, plain[-1][1])]


def test_a_stages_own_rates_go_before_those_of_the_command_line() -> None:
    line = "bitfit(lr=0.5) > lora(head_lr=0.25) > full(lr=0.125)"
    plain, found = rates("bitfit > lora > full"), rates(line, lr=0.9, head_lr=0.8)
    assert found == [(0.5, plain[0][1]), (plain[1][0], 0.25), (0.125, 0.8)]


@pytest.mark.parametrize("strategy", ["full(epochs=2)", "full(steps=2, lr=1)", "full", "eh-ft"])
@pytest.mark.parametrize("settings", [{}, {"validation": "v"}, {"total_epochs": 4}])
def test_decided_settings_contradict_nothing(strategy: str, settings: dict[str, Any]) -> None:
    config = FitConfig(model="m", train="t", text=("s",), strategy=strategy, **settings)
    choices, stages = decide_hyperparameters(config, TASK), read_strategy(strategy)
    decided = choices.written_into(config, stages, 64)
    assert not contradictions(decided)
    assert not unused_settings(decided, stages)
    again = decide_hyperparameters(decided, TASK)
    assert again.written_into(decided, stages, 64) == decided
