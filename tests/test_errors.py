"""Every message carries its three parts, and a wrong strategy line is marked at the right place."""

from __future__ import annotations

import pytest

from headstart.errors import (
    ConfigError,
    DataError,
    Faults,
    HeadstartError,
    ModelError,
    NotationError,
    NumericalError,
    RunError,
    did_you_mean,
    gathering,
    raise_all,
)


@pytest.mark.parametrize("kind", [ConfigError, DataError, ModelError, RunError, NumericalError])
def test_a_message_says_expected_found_and_what_to_do(kind: type[HeadstartError]) -> None:
    error = kind("a whole number", "'x'", "Change it.")
    assert str(error) == "expected a whole number; found 'x'. Change it."
    assert (error.expected, error.found, error.fix) == ("a whole number", "'x'", "Change it.")
    assert isinstance(error, HeadstartError)


def test_not_a_number_is_a_failure_of_the_run() -> None:
    assert issubclass(NumericalError, RunError)
    assert issubclass(NotationError, ConfigError)


@pytest.mark.parametrize(("start", "end", "marked"), [(0, 2, "ab"), (3, 5, "cd"), (2, 2, " ")])
def test_a_caret_stands_under_the_fault(start: int, end: int, marked: str) -> None:
    error = NotationError("ab cd", start, end, "x", "y", "Z.")
    *_, line, mark = str(error).splitlines()
    under = [
        letter for letter, caret in zip(line, mark.ljust(len(line)), strict=True) if caret == "^"
    ]
    assert "".join(under) == marked


def test_a_caret_can_stand_behind_the_line() -> None:
    error = NotationError("ab", 2, 2, "x", "the end", "Z.")
    *_, line, mark = str(error).splitlines()
    assert mark.index("^") == len(line)
    assert mark.count("^") == 1


def test_no_fault_raises_nothing_and_one_raises_itself() -> None:
    raise_all([])
    fault = DataError("a", "b", "c")
    with pytest.raises(DataError) as error:
        raise_all([fault])
    assert error.value is fault


def test_several_faults_are_told_together_in_order() -> None:
    faults = [DataError("a", "b", "Do c."), ModelError("d", "e", "Do f.")]
    with pytest.raises(Faults) as error:
        raise_all(iter(faults))
    assert error.value.faults == tuple(faults)
    assert str(error.value) == ("1. expected a; found b. Do c.\n2. expected d; found e. Do f.")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("bitfti", "Did you mean 'bitfit'?"),
        ("LORA", "Did you mean 'lora'?"),
        ("ltc", "Did you mean 'ltb' or 'lta'?"),
        ("zzzz", "Known: bitfit, lora, lta, ltb."),
    ],
)
def test_suggestions(name: str, hint: str) -> None:
    assert did_you_mean(name, ["lora", "bitfit", "lta", "ltb"]) == hint


def test_suggestions_keep_the_spelling_of_what_exists() -> None:
    assert did_you_mean("wic", ["WiC"]) == "Did you mean 'WiC'?"
    assert did_you_mean("x", []) == "None is registered."


def test_gathering_goes_on_after_errors() -> None:
    faults: list[HeadstartError] = [DataError("a", "b", "c")]
    with gathering(faults):
        raise_all([ConfigError("d", "e", "f"), ConfigError("g", "h", "i")])
    with gathering(faults):
        raise DataError("j", "k", "l")
    assert [fault.expected for fault in faults] == ["a", "d", "g", "j"]
    with pytest.raises(ValueError, match="ours"), gathering(faults):
        raise ValueError("ours")
