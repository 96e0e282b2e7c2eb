"""What a finished model is given to predict: texts, and the advice where rows do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.data.objects import is_table
from headstart.errors import DataError, HeadstartError


def after_training(fault: HeadstartError, labels: tuple[str, ...]) -> HeadstartError:
    """Replace advice on labels that only helps before training: now the model's are settled.

    Args:
        fault: An error about rows.
        labels: The model's; empty for a number.

    Returns:
        The same error, or one with other advice.
    """
    if "--target" not in fault.fix and "training rows" not in fault.fix:
        return fault
    near = f"{fault.fix.partition('?')[0]}? " if fault.fix.startswith("Did") else ""
    gives = "The model was trained on these labels" if labels else "The model predicts a number"
    if labels and all(name.startswith("LABEL_") for name in labels):
        gives = "The checkpoint has no names for its classes, so number them 0, 1 … in its order"
    fix = f"{near}{gives}: correct the rows, give a file that fits, or another --label COLUMN."
    return DataError(fault.expected, fault.found, fix)


def read_texts(inputs: Any) -> list[tuple[str, ...]]:
    """Return each input as a tuple of one text or two.

    Args:
        inputs: What was given to ``predict``.

    Returns:
        A tuple for each.

    Raises:
        DataError: If it is something else than texts or pairs.
    """
    if is_table(inputs):
        raise DataError("texts", f"a {type(inputs).__name__}", "Use predict_frame for tables.")
    if isinstance(inputs, str | tuple):
        inputs = [inputs]
    if isinstance(inputs, Mapping | bytes) or not hasattr(inputs, "__iter__"):
        raise DataError("a list of texts", type(inputs).__name__, 'Give, for example, ["A film."].')
    pairs = [tuple(item) if isinstance(item, list | tuple) else (item,) for item in inputs]
    for place, pair in enumerate(pairs):
        if len(pair) not in (1, 2) or not all(isinstance(text, str) for text in pair):
            found = f"{' and '.join(type(text).__name__ for text in pair) or 'nothing'}"
            raise DataError(
                "a text, or a pair of texts, at every position",
                f"{found} at position {place}",
                "Give strings, or (first, second) tuples of strings.",
            )
    return pairs
