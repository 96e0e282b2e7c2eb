"""The one-line form: what it means, that names read back, and where it says a line is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.errors import NotationError
from headstart.strategies.builtin import ALIASES
from headstart.strategies.notation import parse
from headstart.strategies.stages import SETTINGS, Stage, Strategy
from headstart.techniques import TECHNIQUES
from headstart.tuners import TUNERS

KNOWN = tuple(TUNERS)


def test_a_line_becomes_stages() -> None:
    strategy = parse("bitfit(epochs=3, lr=5e-4) > lora(r=16, dropout=0.1) >> top(3)", KNOWN)
    assert strategy.stages == (
        Stage("bitfit", epochs=3, lr=5e-4),
        Stage("lora", knobs={"r": 16, "dropout": 0.1}, reserve=True),
        Stage("top", arguments=(3,)),
    )
    assert strategy.name == "bitfit(epochs=3, lr=0.0005) > lora(dropout=0.1, r=16) >> top(3)"


def test_every_setting_can_stand_in_a_line() -> None:
    values: dict[str, Any] = {
        "epochs": 0.5, "steps": 7, "share": 0.25, "until": "plateau", "patience": 3,
        "lr": 1e-3, "head_lr": 2e-3, "warmup": 0,
    }  # fmt: skip
    assert set(values) == set(SETTINGS)
    for name, value in values.items():
        (stage,) = parse(f"head({name}={value})", KNOWN).stages
        assert getattr(stage, name) == value
        assert stage.knobs == {}
        assert stage.has_length == (name in {"epochs", "steps", "share"})


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("-2", -2), ("1.5", 1.5), (".5", 0.5), ("1e-3", 1e-3), ("2E+4", 2e4),
     ("true", True), ("False", False), ("all", "all"), ("a-b", "a-b")],
)  # fmt: skip
def test_values_have_their_own_types(text: str, value: Any) -> None:
    (stage,) = parse(f"lora({text}, x={text})", KNOWN).stages
    for read in (stage.arguments[0], stage.knobs["x"]):
        assert read == value
        assert type(read) is type(value)


def test_white_space_and_a_last_comma_do_not_matter() -> None:
    assert parse(" bitfit ( epochs = 2 , )>>full ", KNOWN) == parse(
        "bitfit(epochs=2) >> full", KNOWN
    )


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_is_the_line_it_stands_for(alias: str) -> None:
    written_out = parse(ALIASES[alias].line, KNOWN, TECHNIQUES)
    assert parse(alias, KNOWN, TECHNIQUES) == written_out
    assert parse(alias, KNOWN, TECHNIQUES).name == written_out.name == ALIASES[alias].line
    assert parse(f"head >> {alias}", KNOWN, TECHNIQUES).stages[1:] == written_out.stages
    assert {stage.trains for stage in written_out.stages} <= set(KNOWN)


def test_the_aliases_of_the_documentation_exist() -> None:
    assert len(ALIASES) >= 8
    assert parse("eh-ft", KNOWN).name == "bitfit > full"
    assert parse("eh-ft-lora-reserve > full", KNOWN).name == "lora >> full > full"
    assert parse("lp-ft", KNOWN).hands_on_a_head
    assert not parse("ft", KNOWN).hands_on_a_head


WORDS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True)
VALUES = (
    st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | WORDS.filter(lambda word: word.lower() not in {"true", "false"})
)
POSITIVE = st.none() | st.floats(1e-300, 1e300) | st.integers(1, 10**6)
LENGTHS = st.fixed_dictionaries({}) | st.one_of(
    st.fixed_dictionaries({"epochs": POSITIVE}),
    st.fixed_dictionaries({"steps": st.integers(1, 10**9)}),
    st.fixed_dictionaries({"share": st.floats(1e-9, 1, exclude_max=True)}),
)
STAGES = st.builds(
    lambda length, **rest: Stage(**length, **rest),
    length=LENGTHS,
    trains=st.sampled_from(KNOWN),
    arguments=st.lists(VALUES, max_size=2).map(tuple),
    knobs=st.dictionaries(WORDS.filter(lambda word: word not in SETTINGS), VALUES, max_size=3),
    until=st.sampled_from([None, "end", "learned", "plateau"]),
    patience=st.none() | st.integers(1, 99),
    lr=POSITIVE,
    head_lr=POSITIVE,
    warmup=st.none() | st.floats(0, 1, exclude_max=True),
    reserve=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STAGES, min_size=1, max_size=4))
def test_a_name_reads_back_as_the_same_strategy(stages: list[Stage]) -> None:
    strategy = Strategy(tuple(stages)).with_stage(-1, reserve=False)
    again = parse(strategy.name, KNOWN)
    assert again == strategy
    assert again.name == strategy.name


END = ""
WRONG = [
    ("", END, 0, "name of a stage"),
    ("bitfit >", END, 0, "name of a stage"),
    ("> full", ">", 0, "name of a stage"),
    ("bitfit >>> full", ">", 2, "name of a stage"),
    ("3 > full", "3", 0, "name of a stage"),
    ("bitfit full", "full", 0, "'>'"),
    ("bitfit) > full", ")", 0, "'>'"),
    ("full > bitfti", "bitfti", 0, "'bitfit'"),
    ("eh-fd", "eh-fd", 0, "'eh-ft'"),
    ("bitfit & full", "&", 0, "a name, a number"),
    ("lora(r=8x)", "8", 0, "a name, a number"),
    ("bitfit(epochs=2 > full", ">", 0, "')'"),
    ("bitfit(epochs=2", END, 0, "')'"),
    ("bitfit(", END, 0, "a number"),
    ("bitfit(,)", ",", 0, "a number"),
    ("bitfit(epochs=) > full", ")", 0, "a number"),
    ("bitfit(lr=1e999)", "1e999", 0, "finite"),
    ("bitfit(lr=1, lr=2)", "lr", 1, "once"),
    ("lora(r=4, 8)", "8", 0, "name=value"),
    ("bitfit(epochs=0) > full", "epochs=0", 0, "above 0"),
    ("bitfit(epochs=soon)", "epochs=soon", 0, "a number"),
    ("bitfit(epochs=true)", "epochs=true", 0, "a number"),
    ("bitfit(steps=1.5)", "steps=1.5", 0, "whole number"),
    ("bitfit(share=1)", "share=1", 0, "between 0 and 1"),
    ("bitfit(until=never)", "until=never", 0, "learned"),
    ("bitfit(patience=0)", "patience=0", 0, "whole number"),
    ("full > full(lr=-1)", "lr=-1", 0, "above 0"),
    ("full(head_lr=0)", "head_lr=0", 0, "above 0"),
    ("full(warmup=1)", "warmup=1", 0, "below 1"),
    ("full > head(share=0.2, steps=9)", "head(share=0.2, steps=9)", 0, "a share alone"),
    ("full > eh-ft(epochs=2)", "(", 0, "bitfit > full"),
]


@pytest.mark.parametrize(("line", "marked", "which", "told"), WRONG)
def test_a_wrong_line_is_marked_at_the_place(line: str, marked: str, which: int, told: str) -> None:
    with pytest.raises(NotationError) as error:
        parse(line, KNOWN)
    fault = error.value
    if marked == END:
        assert (fault.start, fault.end) == (len(line), len(line) + 1)
        assert fault.found == "the end of the line"
    else:
        start = -1
        for _ in range(which + 1):
            start = line.index(marked, start + 1)
        assert (fault.start, fault.end) == (start, start + len(marked))
    assert fault.line == line
    assert told in f"{fault.expected} {fault.fix}"


@settings(max_examples=150, deadline=None)
@given(st.text("bitflora(=,)> 0.5eE-x&", max_size=30))
def test_any_line_is_read_or_refused_in_kind(line: str) -> None:
    try:
        strategy = parse(line, KNOWN)
    except NotationError as fault:
        assert 0 <= fault.start < fault.end <= len(line) + 1
    else:
        assert parse(strategy.name, KNOWN) == strategy


def test_settings_remember_their_place_in_the_line() -> None:
    line = "head > lora(4, dropout = 0.5)"
    stage = parse(line, KNOWN).stages[1]
    assert line[slice(*stage.place)] == "lora(4, dropout = 0.5)"
    assert line[slice(*stage.places["0"])] == "4"
    assert line[slice(*stage.places["dropout"])] == "dropout = 0.5"


def test_one_stage_can_be_changed() -> None:
    strategy = parse("bitfit > full", KNOWN)
    assert strategy.with_stage(0, steps=5).name == "bitfit(steps=5) > full"
    assert strategy.name == "bitfit > full"
