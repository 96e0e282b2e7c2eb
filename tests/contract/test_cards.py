"""Every registered tuner has a card in the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.tuners import TUNERS

CARDS = Path(__file__).parents[2] / "docs" / "tuners"


@pytest.mark.parametrize("name", list(TUNERS))
def test_a_tuner_has_a_card(name: str) -> None:
    card = (CARDS / f"{name}.md").read_text(encoding="utf-8")
    assert card.startswith(f"# {name}\n")
    for part in ("**Idea.**", "**Knobs.**"):
        assert part in card


def test_no_card_is_left_of_a_tuner_that_is_gone() -> None:
    assert {card.stem for card in CARDS.glob("*.md")} == set(TUNERS)
    assert len(TUNERS) >= 6
