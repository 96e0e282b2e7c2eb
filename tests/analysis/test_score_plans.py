"""What the analyses of scores compare: exact lines, equal steps, and options that make no sense."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.score_cases import NAMES, OPTIONS, variants
from headstart.analysis import ANALYSES
from headstart.errors import ConfigError, HeadstartError
from headstart.strategies.plan import Length, lengths
from headstart.study.outcome.statistics import smallest_p
from headstart.tuners._bind import bind, read_strategy


def lines(name: str, **options: Any) -> list[str]:
    """Return the strategies of an analysis, as every table calls them."""
    found = [v.strategy for v in variants(name, **options)]
    assert [read_strategy(line).name for line in found] == found
    return found


def steps(line: str, rows: int, epochs: float) -> tuple[Length, ...]:
    """Return the lengths of a strategy's stages."""
    return lengths(read_strategy(line), rows=rows, batch_size=32, epochs=epochs)


def test_lengths_are_those_of_stage_1_in_rising_order() -> None:
    assert lines("convergence", lengths="4, 0.5,1") == [
        "full", "bitfit(epochs=0.5) > full", "bitfit(epochs=1) > full", "bitfit(epochs=4) > full",
    ]  # fmt: skip
    assert lines("convergence", tuner="lora(r=4, lr=1e-3)")[1] == (
        "lora(r=4, epochs=1, lr=0.001) > full"
    )
    for line in lines("convergence"):
        assert [each.until for each in steps(line, 200, 6)] == ["end"] * (1 + (">" in line))
        assert steps(line, 200, 6)[-1].steps == 42


@pytest.mark.parametrize("rows", [97, 200, 250, 2490])
@pytest.mark.parametrize("epochs", [1.5, 6.0])
def test_shares_divide_the_same_steps_or_add_to_them(rows: int, epochs: float) -> None:
    found = variants("share", shares="0,0.1,0.25,0.5,0.75,0.9", epochs=epochs)
    assert all(variant.settings == {"epochs": epochs} for variant in found)
    (total,) = (each.steps for each in steps("full", rows, epochs))
    assert total == round(epochs * -(-rows // 32))
    for variant in found[1:]:
        first, second = steps(variant.strategy, rows, epochs)
        assert (first.until, second.until) == ("end", "end")
        assert first.steps == pytest.approx(variant.facts["share"] * total, abs=1)
        fixed = variant.facts["fixed"]
        assert (first.steps + second.steps if fixed == "total fixed" else second.steps) == total
    assert {v.facts.get("fixed") for v in found[1:]} == {"total fixed", "stage 2 fixed"}


def test_shares_are_lines_of_the_notation() -> None:
    assert lines("share", shares="0.9,0.1", epochs=6.0) == [
        "full", "bitfit(share=0.1) > full", "bitfit(epochs=0.6) > full",
        "bitfit(share=0.9) > full", "bitfit(epochs=5.4) > full",
    ]  # fmt: skip


def test_the_scale_of_lora_is_the_same_at_every_rank() -> None:
    found = lines("rank", ranks="1,2,4,8,16,32")
    assert found[:2] == ["full", "lora(alpha=2, r=1) > full"]
    tuners: list[Any] = [bind(read_strategy(line).stages[0]) for line in found[1:]]
    assert [tuner.r for tuner in tuners] == [1, 2, 4, 8, 16, 32]
    default: Any = bind(read_strategy("lora > full").stages[0])
    assert {tuner.alpha / tuner.r for tuner in tuners} == {default.alpha / default.r}


def test_each_tuner_is_dropped_and_kept() -> None:
    assert lines("reserve", tuners="bitfit(steps=30), lora(r=4, alpha=8)") == [
        "full", "bitfit(steps=30) > full", "bitfit(steps=30) >> full",
        "lora(alpha=8, r=4) > full", "lora(alpha=8, r=4) >> full",
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_stage_1_is_never_given_up_and_seeds_are_enough(name: str) -> None:
    analysis = ANALYSES.get(name)
    assert analysis.settings["guard"] is False
    compared = len(variants(name, **{o.name: o.default for o in analysis.options})) - 1
    family = {"share": compared // 2, "reserve": compared // 2}.get(name, compared)
    assert family * smallest_p(analysis.seeds) < 0.05 <= family * smallest_p(analysis.seeds - 1)


BAD = [
    ("convergence", {"tuner": "bitfitt"}, "Did you mean 'bitfit'"),
    ("convergence", {"tuner": "bitfit > full"}, "one stage for --tuner"),
    ("convergence", {"tuner": "bitfit(epochs=2)"}, "no length and no end for --tuner"),
    ("convergence", {"tuner": "bitfit(until=learned)"}, "no length and no end for --tuner"),
    ("convergence", {"tuner": ""}, "the name of a stage"),
    ("convergence", {"lengths": "1"}, "two numbers or more for --lengths; found 1"),
    ("convergence", {"lengths": "1,two"}, "numbers of epochs above 0 for --lengths; found 'two'"),
    ("convergence", {"lengths": "1,1.0"}, "each number of --lengths once; found '1.0' again"),
    ("convergence", {"lengths": "0,1"}, "above 0 for --lengths; found '0'"),
    ("convergence", {"lengths": "1,,2"}, "for --lengths; found ''"),
    ("convergence", {"lengths": "1,nan,inf"}, "found 'nan'"),
    ("share", {"shares": "0,1.5"}, "numbers from 0 to below 1 for --shares; found '1.5'"),
    ("share", {"shares": "0,1"}, "found '1'"),
    ("share", {"shares": "0,-0.1"}, "found '-0.1'"),
    ("share", {"shares": "0.5"}, "two numbers or more for --shares"),
    ("share", {"epochs": 0.0}, "a number above 0 for --epochs; found 0"),
    ("share", {"epochs": float("nan")}, "a number above 0 for --epochs; found nan"),
    ("rank", {"ranks": "0,2"}, "whole numbers from 1 up for --ranks; found '0'"),
    ("rank", {"ranks": "1.5,2"}, "found '1.5'"),
    ("rank", {"ranks": "8"}, "two numbers or more for --ranks"),
    ("rank", {"ranks": "8,8"}, "each number of --ranks once; found '8' again"),
    ("reserve", {"tuners": ""}, "at least one tuner for --tuners; found none"),
    ("reserve", {"tuners": "bitfit,bitfit"}, "each tuner of --tuners once"),
    ("reserve", {"tuners": "prefix"}, "tuners that can be kept, for --tuners; found prefix"),
    ("reserve", {"tuners": "head"}, "tuners that change the backbone, for --tuners; found head"),
    ("reserve", {"tuners": "lora(r=0)"}, "1 or more"),
]


@pytest.mark.parametrize(("name", "options", "told"), BAD)
def test_options_that_make_no_sense_are_refused(
    name: str, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(HeadstartError) as error:
        variants(name, **options)
    faults = getattr(error.value, "faults", (error.value,))
    assert all(isinstance(fault, ConfigError) and fault.fix for fault in faults)
    assert told in str(error.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(HeadstartError) as error:
        variants("share", tuner="bitfitt", shares="0,2,x", epochs=-1.0)
    text = str(error.value)
    assert all(part in text for part in ("'bitfitt'", "'2'", "'x'", "--epochs; found -1"))
    assert len(OPTIONS) == len(NAMES)
