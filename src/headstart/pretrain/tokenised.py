"""Rows that the user has tokenised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
import pandas as pd

from headstart.data.labels import Classes, Numbers
from headstart.data.tokens.encode import Encoded, Padding, Tokens
from headstart.errors import DataError


def encode_dataset(dataset: Iterable[Mapping[str, Any]], label_column: str, pad: int) -> Encoded:
    """Lay out rows that the user has tokenised.

    They have ``input_ids``, the label and, where the model takes them, ``token_type_ids``; places
    that an ``attention_mask`` hides are left out. The label may be called ``labels`` too; ``pad``
    is the padding token. Raises ``DataError`` if there are no rows, it has several splits, or a row
    lacks tokens or label.
    """
    if isinstance(dataset, pd.DataFrame):
        dataset = cast("list[Mapping[str, Any]]", dataset.to_dict("records"))
    if (getattr(dataset, "format", None) or {}).get("type", "custom") not in (None, "custom"):
        # Rows of a format such as pandas or Arrow are no mappings; a transform is the user's own.
        dataset = cast(Any, dataset).with_format(None)
    if isinstance(dataset, Mapping):
        raise DataError(
            "rows, such as one split of a data set",
            f"a {type(dataset).__name__} with {', '.join(map(repr, list(dataset)[:5]))}",
            'Give one of its splits, for example dataset["train"].',
        )
    rows = [dict(row) for row in dataset]
    if not rows:
        raise DataError("tokenised rows", "none", "Give a data set with rows.")
    label = label_column if label_column in rows[0] else "labels"
    names: list[str] = [name for name in ("input_ids", "token_type_ids") if name in rows[0]]
    for number, row in enumerate(rows):
        if any(row.get(name) is None for name in ("input_ids", label, *names)):
            raise DataError(
                f"rows with {', '.join(dict.fromkeys(('input_ids', *names, label_column)))}",
                f"row {number} with {', '.join(sorted(k for k in row if row[k] is not None))}",
                "Tokenise the rows first, and name the label by label_column=…",
            )
    sequences = [_sequences(row, names, number) for number, row in enumerate(rows)]
    sizes = np.array([len(sequence[0]) for sequence in sequences], np.int64)
    features = {n: np.concatenate([s[i] for s in sequences]) for i, n in enumerate(names)}
    return Encoded(
        features=features,
        starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]),
        lengths=sizes,
        truncated=np.zeros(len(rows), np.bool_),
        padding=Padding({"input_ids": pad, "token_type_ids": 0}),
        labels=_answers([row[label] for row in rows], label),
    )


def class_names_of(dataset: Any, label_column: str) -> tuple[str, ...]:
    """Return the names that a data set of ``datasets`` gives to the integers of its label.

    Names are in the order of the integers; none where the rows know none.
    """
    features = getattr(dataset, "features", None)
    if not isinstance(features, Mapping):
        return ()
    label = label_column if label_column in features else "labels"
    return tuple(getattr(features.get(label), "names", None) or ())


def _sequences(row: Mapping[str, Any], names: list[str], number: int) -> list[Tokens]:
    """Return a row's inputs without padding."""
    try:
        values = [np.asarray(row[name]) for name in names]
        mask = np.asarray(row.get("attention_mask", np.ones_like(values[0]))).astype(bool)
        if all(v.ndim == 1 and v.dtype.kind in "iu" and v.shape == mask.shape for v in values):
            kept = [v[mask].astype(np.int32) for v in values]
            if len(kept[0]):
                return kept
    except ValueError:
        pass
    raise DataError(
        f"one list of token numbers, all of one length, in each of {', '.join(names)}",
        f"something else in row {number}",
        "Tokenise single texts or pairs; for multiple choice use `headstart fit`.",
    )


def _answers(values: list[Any], label: str) -> Classes | Numbers:
    answers = np.asarray(values)
    if answers.ndim != 1 or answers.dtype.kind not in "biuf":
        raise DataError(
            f"class indices or numbers in column {label!r}",
            repr(values[0]),
            "Map names to indices, as in the model's config.label2id.",
        )
    if answers.dtype.kind == "f":
        if not np.isfinite(answers).all():
            raise DataError(f"a number in every row of {label!r}", "NaN", "Remove these rows.")
        return answers.astype(np.float64)
    return answers.astype(np.int64)
