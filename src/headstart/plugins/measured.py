"""Measurements of tuners and techniques, from ``measured.json`` beside this file.

``costs`` are from one run of ``benchmarks/speed/techniques.py``; ``studies`` hold, by name,
sentences with the command that measured them. ``scripts/measured.py`` writes both. What is not
there has not been measured, and is said to be so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("measured.json")
NOT_YET = "Not measured yet."
PLAIN = "full"


@dataclass(frozen=True)
class Finding:
    """One figure of a study.

    Args:
        text: What was found, on which rows, with how many seeds.
        command: What measures it again.
        short: The rows' name, the difference and its interval, for a table.
    """

    text: str
    command: str
    short: str = ""


@dataclass(frozen=True)
class Cost:
    """Share of parameters, time and memory of training; ``None`` where not measured.

    Args:
        share: How much of the model trains, the head included, in percent.
        step: Milliseconds of a step.
        memory: Peak memory of the process in MB.
    """

    share: float | None = None
    step: float | None = None
    memory: float | None = None

    def beside(self, plain: Cost) -> tuple[str, str, str]:
        """Write share, step and memory, the last two with their ratio to plain fine-tuning.

        ``plain`` is the cost of ``full``, from the same run; a cell is empty where nothing was
        measured.
        """
        share = "" if self.share is None else f"{self.share:.3g} %"
        return (
            share,
            _ratio(self.step, plain.step, "ms"),
            _ratio(self.memory, plain.memory, "MB"),
        )


@dataclass(frozen=True)
class Measured:
    """All measurements.

    Costs and findings are by the name of a tuner or technique; ``setting`` is where and how the
    costs were measured.
    """

    setting: str
    costs: Mapping[str, Cost]
    findings: Mapping[str, tuple[Finding, ...]]

    def cost(self, name: str) -> str:
        """Write in a sentence what a tuner or technique costs beside plain fine-tuning."""
        if name not in self.costs:
            return NOT_YET
        plain = self.costs.get(PLAIN, Cost())
        titles = ("share of the model that trains", "time of a step", "peak memory")
        cells = zip(titles, self.costs[name].beside(plain), strict=True)
        told = "; ".join(f"{title} {cell}" for title, cell in cells if cell)
        return f"{told} ({self.setting})." if told else NOT_YET


def read_measured(path: Path | None = None) -> Measured:
    """Read the figures; a file or a part that is not there holds none."""
    path = path or FILE
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    costs = found.get("costs") or {}
    rows = costs.get("rows") or {}
    studies = found.get("studies") or {}
    return Measured(
        costs.get("machine") or "",
        {
            name: Cost(row.get("share"), row.get("step"), row.get("memory"))
            for name, row in rows.items()
        },
        {
            name: tuple(Finding(f["text"], f["command"], f.get("short", "")) for f in all_)
            for name, all_ in studies.items()
        },
    )


def _ratio(value: float | None, plain: float | None, unit: str) -> str:
    if value is None:
        return ""
    beside = f", {value / plain:.2f} of plain fine-tuning" if plain and value != plain else ""
    return f"{value:.0f} {unit}{beside}"
