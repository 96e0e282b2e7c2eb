"""Parsers for the text options of analyses: lists of numbers, and tuners of stage 1."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from headstart.errors import ConfigError, HeadstartError, gathering
from headstart.strategies.stages import Stage, Strategy
from headstart.study.outcome.read import split_lines

FULL = Strategy((Stage("full"),)).name


@dataclass(frozen=True)
class Rule:
    """The numbers that an option accepts.

    Args:
        option: The option.
        wanted: What they are, in words.
        holds: Whether a number is one.
        example: A list of some.
        whole: Whether they are whole numbers.
    """

    option: str
    wanted: str
    holds: Callable[[float], bool]
    example: str
    whole: bool = False


def read_numbers(text: str, rule: Rule, faults: list[HeadstartError]) -> list[float]:
    """Read two numbers or more, split by commas, in rising order; whole ones as ``int``.

    What is wrong with the others goes to ``faults``.
    """
    found: list[float] = []
    before = len(faults)
    for word in (part.strip() for part in text.split(",")):
        number = _number(word, rule)
        if number is None:
            fix = f"Write them like {rule.example}."
            faults.append(ConfigError(f"{rule.wanted} for {rule.option}", repr(word), fix))
        elif number in found:
            wanted = f"each number of {rule.option} once"
            faults.append(ConfigError(wanted, f"{word!r} again", "Remove one."))
        else:
            found.append(number)
    if len(found) < 2 and len(faults) == before:
        wanted = f"two numbers or more for {rule.option}"
        faults.append(ConfigError(wanted, str(len(found)), f"Write them like {rule.example}."))
    return sorted(found)


def _number(word: str, rule: Rule) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    if not math.isfinite(number) or not rule.holds(number):
        return None
    if number.is_integer():
        return int(number)
    return None if rule.whole else number


def read_stage(
    text: str, option: str, faults: list[HeadstartError], *, arrow: str = ">"
) -> Stage | None:
    """Read what trains in stage 1; ``None`` if it cannot be used.

    ``text`` is a tuner, with settings of its own if there are any, such as ``lora(r=4)``; ``arrow``
    is how it hands on. What is wrong with it goes to ``faults``.
    """
    # The tuners need torch, and --help does not.
    from headstart.tuners._bind import read_strategy

    strategy = None
    with gathering(faults):
        strategy = read_strategy(f"{text} {arrow} {FULL}")
    if strategy is None:
        return None
    if len(strategy.stages) == 2:
        return strategy.stages[0]
    fix = "Name what trains in stage 1 alone, for example bitfit."
    faults.append(ConfigError(f"one stage for {option}", repr(text), fix))
    return None


def read_open_stage(text: str, faults: list[HeadstartError]) -> Stage:
    """Read what trains in stage 1, whose length the analysis decides; any stage on a fault."""
    stage = read_stage(text, "--tuner", faults) or Stage(FULL)
    if stage.has_length or stage.until:
        fix = "Drop it: the analysis decides how long stage 1 is."
        faults.append(ConfigError("no length and no end for --tuner", repr(text), fix))
    return stage


def read_stages(text: str, faults: list[HeadstartError], arrow: str) -> list[Stage]:
    """Read several tuners, split by commas outside brackets, such as ``bitfit, lora(r=4)``.

    What is wrong with some goes to ``faults``; the others are returned.
    """
    found: list[Stage] = []
    lines = split_lines(text)
    if not lines:
        fix = "Name one or more, for example bitfit,lora."
        faults.append(ConfigError("at least one tuner for --tuners", "none", fix))
    for line in lines:
        stage = read_stage(line, "--tuners", faults, arrow=arrow)
        if stage in found:
            wanted = "each tuner of --tuners once"
            faults.append(ConfigError(wanted, f"{line!r} again", "Remove one."))
        elif stage is not None:
            found.append(stage)
    return found


def before_full(stage: Stage, *, reserve: bool = False) -> str:
    """Write a stage before fine-tuning as a strategy, what it has tuned kept or not."""
    return Strategy((replace(stage, reserve=reserve), Stage(FULL))).name
