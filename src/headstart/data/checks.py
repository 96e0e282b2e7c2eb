"""Warnings about the rows before a run spends time on them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np

from headstart.data._faults import some
from headstart.data.labels import Classes, LabelMap, to_number
from headstart.data.rows import Rows
from headstart.data.tokens.encode import Encoded
from headstart.errors import DataError
from headstart.untrusted import quoted

FEW = 5
"""Rows of a class below which it is pointed out."""


def duplicate_rows(train: Rows, validation: Rows) -> int:
    """Count validation rows that also stand in the training rows, whatever their labels."""
    seen = set(_questions(train))
    return sum(question in seen for question in _questions(validation))


def class_balance(classes: Classes, labels: LabelMap) -> dict[str, int]:
    """Count the rows of each class by name, in the order of the names; 0 for one without rows."""
    counts = np.bincount(classes, minlength=len(labels.names)).tolist()
    return dict(zip(labels.names, counts, strict=True))


def check_training(classes: Classes, labels: LabelMap) -> list[str]:
    """Check that there is something to learn, and warn of classes that cannot be learned.

    Raises ``DataError`` if all rows are of one class.
    """
    counts = class_balance(classes, labels)
    absent = [name for name, count in counts.items() if not count]
    if len(counts) - len(absent) < 2:
        there = next((name for name, count in counts.items() if count), "none")
        fix = "Check the label column, or add rows of another class."
        found = f"only {quoted(there)} in {len(classes)} rows"
        raise DataError("at least two classes in the training rows", found, fix)
    rare = {name: count for name, count in counts.items() if 0 < count < FEW}
    warnings = []
    if absent:
        names = some(map(quoted, absent))
        warnings.append(f"No training row is of class {names}, so it cannot be learned.")
    if rare:
        shown = some(f"{quoted(name)} ({count})" for name, count in rare.items())
        warnings.append(f"Classes with fewer than {FEW} training rows are hard to learn: {shown}.")
    return warnings + _odd_names(labels.names)


def length_warnings(encoded: Encoded, where: str) -> list[str]:
    """Warn of what the largest length cuts off."""
    cut, rows, lost = encoded.n_cut, encoded.n_rows, encoded.lost_spans
    warnings = []
    if cut:
        warnings.append(
            f"{cut} of {rows} {where} ({cut / rows:.0%}) are longer than "
            f"{encoded.lengths.max()} tokens and were cut."
        )
    if lost:
        warnings.append(
            f"In {lost} of {rows} {where} a target was cut off with the end of its text; "
            "these rows teach nothing. Raise --max-length or shorten the texts."
        )
    return warnings


def _odd_names(names: Iterable[str]) -> list[str]:
    """Warn of class names that look like slips: of another case, or numbers among words."""
    names = list(names)
    folded = Counter(name.casefold() for name in names)
    twins = [name for name in names if folded[name.casefold()] > 1]
    numbers = [name for name in names if math.isfinite(to_number(name))]
    warnings = []
    if twins:
        warnings.append(
            f"Labels that differ in case alone are different classes: {some(map(repr, twins))}."
        )
    if numbers and len(numbers) < len(names):
        words = [name for name in names if name not in numbers]
        odd = min(numbers, words, key=len)
        warnings.append(
            f"Labels mix numbers and words; the fewer are {some(map(repr, odd))}. Correct them, or "
            "say --target number if a number is meant."
        )
    return warnings


def _questions(rows: Rows) -> list[object]:
    return list(zip(rows.inputs, rows.spans or [()] * len(rows), strict=True))
