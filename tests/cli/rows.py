"""Rows that a tiny model can learn, and what a command gives back."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

WORDS = {"negative": ("bad", "awful", "dull"), "positive": ("good", "great", "fine")}
ODD = 'line\nbreak, "quotes" and\ttab \u2028 π'
"""What every row carries in a column of its own that no model reads."""


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    code: int
    out: str
    err: str


Run = Callable[..., Answer]


def write_rows(
    path: Path,
    n: int,
    seed: int,
    columns: Iterable[str] = ("id", "sentence", "label", "odd, [red]"),
) -> Path:
    """Write a CSV of opinions in random order, the classes in equal shares."""
    draw = random.Random(seed)  # noqa: S311
    labels = ["negative", "positive"] * (n // 2)
    draw.shuffle(labels)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for i, label in enumerate(labels):
            words = " ".join(draw.choices(WORDS[label], k=3))
            writer.writerow((f"{i:03}", f"{words} {draw.randrange(10**6)}", label, ODD))
    return path
