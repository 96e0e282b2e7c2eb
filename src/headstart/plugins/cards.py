"""Cards of tuners and techniques: the text of ``headstart explain``, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Card:
    """The text about a tuner or technique for ``headstart explain`` and the documentation.

    Args:
        idea: What it does, in three sentences.
        equation: The same in one or two lines of plain text, with what the letters mean.
        helps: When it helps.
        harms: When it does not.
        citation: Authors, title, year, arXiv number or venue.
        sources: For each knob, where its default comes from.
        deviations: Where this differs from the source; ``None.`` if nowhere.
        notes: What else a user may need: families, limits, how it merges.
    """

    idea: str
    equation: str
    helps: str
    harms: str
    citation: str
    sources: Mapping[str, str] = field(default_factory=dict)
    deviations: str = "None."
    notes: str = ""
