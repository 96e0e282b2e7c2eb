"""How long stages take: fine-tuning's epochs are its own, and a total is kept to the step."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headstart.errors import ConfigError, NotationError
from headstart.strategies.notation import parse
from headstart.strategies.plan import Length, lengths
from headstart.tuners import TUNERS

KNOWN = tuple(TUNERS)


def plan(
    line: str, rows: int = 320, batch_size: int = 32, epochs: float = 6, **more: Any
) -> tuple[Length, ...]:
    return lengths(parse(line, KNOWN), rows=rows, batch_size=batch_size, epochs=epochs, **more)


def steps(*arguments: Any, **more: Any) -> list[int]:
    return [length.steps for length in plan(*arguments, **more)]


@pytest.mark.parametrize("line", ["full", "bitfit > full", "head > lora > full", "lora >> full"])
def test_epochs_are_those_of_the_last_stage(line: str) -> None:
    assert plan(line)[-1] == Length(60, 40, "end")
    assert steps(line, rows=321)[-1] == 66  # an epoch's last batch may be small
    assert steps(line, epochs=0.5)[-1] == 5
    assert steps(line, epochs=0.001)[-1] == 1


def test_an_early_stage_without_length_goes_on_until_it_has_learned() -> None:
    early, last = plan("bitfit > full", epochs=30)
    assert early == Length(300, 40, "learned")
    assert last == Length(300, 40, "end")
    assert all(length.until == "learned" for length in plan("head > lora > full")[:-1])


@pytest.mark.parametrize(("epochs", "bound"), [(1, 100), (10, 100), (50, 500), (200, 1000)])
def test_its_bound_follows_fine_tuning_within_limits(epochs: int, bound: int) -> None:
    assert steps("bitfit > full", epochs=epochs) == [bound, epochs * 10]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bitfit(steps=7) > full", [7, 60]),
        ("bitfit(epochs=2) > full", [20, 60]),
        ("bitfit(epochs=0.01) > full", [1, 60]),
        ("bitfit(steps=7) > full(steps=9)", [7, 9]),
        ("bitfit(steps=7) > full(epochs=2)", [7, 20]),
        ("full(steps=3)", [3]),
        ("full(epochs=2, steps=9)", [9]),
        ("full(steps=30, epochs=2)", [20]),
    ],
)
def test_a_length_in_the_line_is_kept(line: str, expected: list[int]) -> None:
    found = plan(line)
    assert [length.steps for length in found] == expected
    assert {length.until for length in found} == {"end"}
    assert all(length.least <= length.steps for length in found)


def test_what_ends_a_stage_can_be_set_with_and_without_a_length() -> None:
    assert plan("bitfit(until=learned, steps=70) > full")[0] == Length(70, 40, "learned")
    assert plan("bitfit(until=plateau) > full")[0] == Length(100, 40, "plateau")
    assert plan("bitfit(until=end) > full")[0] == Length(100, 40, "end")
    assert plan("full(until=plateau)")[0] == Length(60, 40, "plateau")


def test_a_total_is_divided_evenly_or_by_the_share() -> None:
    assert steps("bitfit > full", total_epochs=12) == [60, 60]
    assert steps("head > lora > full", total_epochs=12) == [40, 40, 40]
    assert steps("bitfit > full", total_epochs=12, share=0.1) == [12, 108]
    assert steps("full", total_epochs=12, share=0.1) == [120]


def test_a_head_at_its_optimum_takes_nothing_of_a_total() -> None:
    assert steps("head(until=optimum) > full", total_epochs=12)[-1] == 120
    first, *_, last = plan("head(until=optimum) > lora > full", total_epochs=12)
    assert (first.steps, first.expected, last.steps) == (40, 0, 80)
    # nor does one behind the stage that takes steps; a single step is enough for all three
    line = "head(until=optimum) >> full >> head(until=optimum)"
    assert [length.expected for length in plan(line, total_epochs=0.1)] == [0, 1, 0]
    line = "head(until=optimum, steps=50) > full"
    assert [length.expected for length in plan(line, total_epochs=2)] == [0, 20]
    for own in ("until=optimum", "until=optimum, share=0.5"):
        with pytest.raises(ConfigError, match="Leave full without a length"):
            plan(f"head({own}) > full(share=0.5)")
    line = "head(until=optimum) > full(steps=20)"
    assert [length.expected for length in plan(line, total_epochs=2)] == [0, 20]


def test_a_share_of_a_total_is_a_bound_unless_its_length_was_asked_for() -> None:
    def until(line: str, **more: Any) -> list[str]:
        return [length.until for length in plan(line, total_epochs=12, **more)]

    assert until("bitfit > full") == ["learned", "end"]
    assert until("head > bitfit(epochs=3) > full") == ["learned", "end", "end"]
    assert until("bitfit(share=0.2) > full") == ["end", "end"]
    assert until("bitfit > full", share=0.1) == ["end", "end"]
    assert until("bitfit(share=0.2, until=learned) > full") == ["learned", "end"]


def test_a_share_in_the_line_makes_the_epochs_a_total() -> None:
    assert steps("bitfit(share=0.25) > full", epochs=12) == [30, 90]
    assert steps("head(share=0.25) > lora > full", epochs=12) == [30, 40, 50]
    assert steps("bitfit > full(share=0.75)", epochs=12, share=0.25) == [30, 90]


def test_a_length_in_the_line_and_a_total() -> None:
    assert steps("bitfit(steps=50) > full", total_epochs=12) == [50, 70]
    assert steps("bitfit(epochs=3) > full", total_epochs=12) == [30, 90]


TOTALS = st.integers(1, 400)


@settings(deadline=None)
@given(
    line=st.sampled_from(["full", "bitfit > full", "head > lora > full", "lora >> full"]),
    rows=st.integers(2, 500),
    batch_size=st.integers(1, 64),
    total=st.floats(1, 40),
    share=st.none() | st.floats(0.05, 0.3),
)
def test_the_steps_add_up_exactly_to_the_total(
    line: str, rows: int, batch_size: int, total: float, share: float | None
) -> None:
    whole = max(1, round(total * -(-rows // batch_size)))
    assume(whole >= 12)
    found = steps(line, rows, batch_size, total_epochs=total, share=share)
    assert sum(found) == whole
    assert min(found) >= 1


@settings(deadline=None)
@given(epochs=st.integers(4, 90), part=st.integers(1, 99))
def test_shares_that_make_the_whole_add_up_exactly(epochs: int, part: int) -> None:
    assume(min(part, 100 - part) * epochs >= 100)
    line = f"bitfit(share={part / 100}) > full(share={(100 - part) / 100})"
    found = steps(line, 1, 1, epochs)
    assert sum(found) == epochs
    assert abs(found[0] - epochs * part / 100) <= 1
    assert sum(steps(f"bitfit(share={part / 100}) > full", 1, 1, epochs)) == epochs


@pytest.mark.parametrize(
    ("line", "more"),
    [
        ("bitfit(steps=120) > full", {"total_epochs": 12}),
        ("bitfit(share=0.5) > lora(share=0.5) > full", {}),
        ("bitfit(share=0.6) > full(share=0.6)", {}),
    ],
)
def test_a_last_stage_that_is_left_nothing_is_refused_at_its_place(
    line: str, more: dict[str, Any]
) -> None:
    with pytest.raises(NotationError) as error:
        plan(line, **more)
    assert line[error.value.start : error.value.end].startswith("full")
    assert "beside full and" in error.value.found


@pytest.mark.parametrize("line", ["bitfit(steps=7) > full(steps=9)", "full(epochs=1)"])
def test_lengths_that_contradict_the_total_are_refused(line: str) -> None:
    with pytest.raises(ConfigError, match="add up to the total of 120 steps"):
        plan(line, total_epochs=12)


def test_a_share_that_does_not_fit_the_last_stages_own_length_is_refused() -> None:
    with pytest.raises(ConfigError, match="add up to the total of 60 steps; found 90 steps"):
        plan("bitfit(share=0.5) > full(epochs=6)", epochs=6)


def test_a_presets_share_needs_no_total() -> None:
    assert steps("bitfit > full", epochs=10, share=0.1) == [10, 90]
    assert steps("bitfit(epochs=3) > full", epochs=10, share=0.1) == [30, 100]
    assert steps("full", epochs=10, share=0.1) == [100]
