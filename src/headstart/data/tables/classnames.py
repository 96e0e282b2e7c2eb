"""Names of classes that come with the rows: those of ``datasets``, and pandas categories.

A data set of ``datasets`` holds a class as an integer and the names beside it (``ClassLabel``), in
memory, in its folder, and in the Parquet and Arrow files that it writes. Another split may number
the same names differently, so rows are read by the names and never by the integers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from headstart.data._faults import some
from headstart.untrusted import shown

NAMES, ITEM_NAMES, CATEGORIES = "class_names", "item_names", "categories"
"""Under which a table keeps in ``attrs`` names by column: those of the integers, in their order, of
the integers in lists, and the words that a category of pandas or Arrow has, in its order."""


def class_names(frame: pd.DataFrame, column: str) -> tuple[str, ...] | None:
    """Return the names that ``datasets`` gives to the integers of a column, in their order.

    ``None`` if the source knows none. ``frame`` is what ``read_table`` or ``as_frame`` gave.
    """
    names: dict[str, tuple[str, ...]] = frame.attrs.get(NAMES, {})
    return names.get(column)


def item_names(frame: pd.DataFrame, column: str) -> tuple[str, ...] | None:
    """Return the names that ``datasets`` gives to the integers in lists, as ``class_names``."""
    names: dict[str, tuple[str, ...]] = frame.attrs.get(ITEM_NAMES, {})
    return names.get(column)


def ordered_classes(frame: pd.DataFrame, column: str) -> tuple[str, ...] | None:
    """Return the classes of a column in the order that its source gives them.

    The class names of ``datasets``, whether rows have them or not; for a pandas category of words
    its categories without those that no row has; else ``None``.
    """
    if (names := class_names(frame, column)) is not None:
        return names
    kind = frame[column].dtype
    own = tuple(kind.categories) if isinstance(kind, pd.CategoricalDtype) else ()
    there = set(frame[column].dropna()) if own else set()
    words = frame.attrs.get(CATEGORIES, {}).get(column) or tuple(w for w in own if w in there)
    return words if words and all(isinstance(word, str) for word in words) else None


def unfold_categories(frame: pd.DataFrame) -> pd.DataFrame:
    """Replace categories by their values, so that the parts of a table have columns of one kind.

    Their ``ordered_classes`` stay the same.
    """
    columns = list(frame.select_dtypes("category").columns)
    if not columns or not frame.columns.is_unique:
        return frame
    found = {column: ordered_classes(frame, column) for column in columns}
    plain = frame.astype(dict.fromkeys(columns, object))
    plain.attrs[CATEGORIES] = {column: words for column, words in found.items() if words}
    return plain


def read_named(frame: pd.DataFrame, column: str) -> pd.Series[Any]:
    """Return a column, (n,), with the names of its classes in place of their integers.

    Where ``datasets`` has -1, which says that the class is not known, it is ``None``. A column
    without class names is returned as it is.
    """
    cells: pd.Series[Any] = frame[column]
    names = class_names(frame, column)
    if names is None:
        return cells
    known: dict[Any, str | None] = {-1: None, **dict(enumerate(names))}
    return pd.Series([known.get(c, c) for c in cells], index=cells.index, dtype=object)


def with_names(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Return a table in which some columns hold the names of classes.

    A table of its own, or the same one where there is nothing to replace.
    """
    named = [column for column in columns if class_names(frame, column) is not None]
    return frame.assign(**{column: read_named(frame, column) for column in named})


def numbered_otherwise(frame: pd.DataFrame, labels: tuple[str, ...]) -> list[str]:
    """Tell of columns whose integers mean other classes than the same integers mean to a model.

    ``labels`` are the model's class names in its order.
    """
    found: dict[str, tuple[str, ...]] = frame.attrs.get(NAMES, {})
    return [
        f"Column {shown(column)} holds integers, which are "
        f"{some(f'{i} {shown(name)}' for i, name in enumerate(names))} to its data set. They are "
        "written as they are, and the model numbers these classes otherwise: compare by name."
        for column, names in found.items()
        if names != labels and set(names) & set(labels)
    ]


def case_aliases(names: tuple[str, ...], others: Iterable[str]) -> dict[str, int]:
    """Return how another source spells the classes where it differs from them in case alone.

    Class indices by the other spelling; none where case tells two classes apart.
    """
    folded = {name.casefold(): index for index, name in enumerate(names)}
    words = set(others)
    if len(folded) < len(names) or len({word.casefold() for word in words}) < len(words):
        return {}
    return {w: folded[w.casefold()] for w in words if w.casefold() in folded}


def note_names(frame: pd.DataFrame, features: Mapping[str, Any]) -> None:
    """Note on a table the class names of a data set's columns."""
    lists = {name: kind.get("feature") for name, kind in features.items() if "feature" in kind}
    frame.attrs[NAMES] = _names(features)
    frame.attrs[ITEM_NAMES] = _names({n: kind for n, kind in lists.items() if kind})


def noted_features(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """Return what ``datasets`` notes about columns in an Arrow schema's metadata, if anything."""
    try:
        noted = json.loads((metadata or {}).get(b"huggingface", b"{}"))
        found = dict(noted["info"]["features"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {name: kind for name, kind in found.items() if isinstance(kind, dict)}


def _names(features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    classes = {
        name: kind.get("names")
        for name, kind in features.items()
        if isinstance(kind, dict) and kind.get("_type") == "ClassLabel"
    }
    return {n: tuple(map(str, ns)) for n, ns in classes.items() if isinstance(ns, list) and ns}
