"""From the line to a tuner with its knobs, every fault told at its place in the line."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from headstart.errors import NotationError
from headstart.strategies.builtin import ALIASES
from headstart.strategies.stages import Stage
from headstart.tuners import TUNERS
from headstart.tuners._bind import bind, read_strategy


def knobs(line: str, stage: int = 0) -> dict[str, Any]:
    tuner: Any = bind(read_strategy(line).stages[stage], line)
    return {f.name: getattr(tuner, f.name) for f in dataclasses.fields(tuner) if f.init}


@pytest.mark.parametrize("name", TUNERS)
def test_every_tuner_binds_with_its_defaults(name: str) -> None:
    tuner = bind(Stage(name))
    assert isinstance(tuner, TUNERS.get(name))
    assert tuner is not bind(Stage(name))


def test_knobs_come_by_place_and_by_name() -> None:
    assert knobs("top(3)") == {"k": 3}
    assert knobs("top(k=3)") == {"k": 3}
    assert knobs("head > lora(4, 8, targets=all)", 1) == {
        "r": 4, "alpha": 8.0, "dropout": 0.0, "targets": "all",
    }  # fmt: skip
    assert type(knobs("lora(alpha=8)")["alpha"]) is float


def test_common_settings_are_no_knobs() -> None:
    assert knobs("lora(lr=1, epochs=2)") == knobs("lora")


@pytest.mark.parametrize("alias", ALIASES)
def test_every_alias_binds(alias: str) -> None:
    assert len(read_strategy(alias).stages) >= 1


@pytest.mark.parametrize(
    ("line", "marked", "told"),
    [
        ("full > lora(rnk=4)", "rnk=4", "a setting of lora"),
        ("lora(epoch=4)", "epoch=4", "'epochs'"),
        ("lora(alhpa=4)", "alhpa=4", "'alpha'"),
        ("head > lora(r=2.5)", "r=2.5", "lora(r=…) as a whole number, 1 or more"),
        ("lora(r=true)", "r=true", "lora(r=…) as a whole number"),
        ("lora(8, all)", "all", "lora(alpha=…) as a number, above 0"),
        ("lora(targets=some)", "targets=some", "attention or all"),
        ("top(1, 2) > full", "2", "at most 1"),
        ("full(2)", "2", "at most 0"),
        ("top(3, k=2)", "k=2", "once"),
        ("top(0) > full", "0", "1 or more"),
        ("lora(r=0)", "r=0", "1 or more"),
        ("lora(8, alpha=0)", "alpha=0", "above 0"),
        ("lora(dropout=1)", "dropout=1", "below 1"),
        ("prefix(tokens=0) > full", "tokens=0", "1 or more"),
        ("prefix(init_std=-1) > full", "init_std=-1", "above 0"),
        (
            "full(head_lr=1)+contrast >> head",
            "head_lr=1",
            "the head does not train beside contrast",
        ),
        ("head(lr=0.01) > full", "lr=0.01", "Write head(head_lr=0.01)"),
        ("full > head(lr=0.01, head_lr=1)", "lr=0.01", "Drop it"),
    ],
)
def test_an_unfit_knob_is_marked_at_its_place(line: str, marked: str, told: str) -> None:
    with pytest.raises(NotationError) as error:
        read_strategy(line)
    fault = error.value
    assert line[fault.start : fault.end] == marked
    assert told in f"{fault.expected} {fault.fix}"


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("prefix", True),
        ("head > prefix", True),
        ("prefix >> full", True),
        ("bitfit > prefix(tokens=4) >> full", True),
        ("prefix > full", False),
        ("lora >> prefix > full", False),
        ("lora", False),
        ("lora >> full", False),
    ],
)
def test_what_cannot_be_merged_may_not_have_to_be(line: str, refused: bool) -> None:
    if not refused:
        read_strategy(line)
        return
    with pytest.raises(NotationError) as error:
        read_strategy(line)
    assert line[error.value.start : error.value.end].startswith("prefix")
    assert error.value.fix == TUNERS.get("prefix").no_merge
