"""Rows of words with tags, small enough for tiny models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

TAGS = ("O", "B-thing", "I-thing", "B-word", "I-word")
_THINGS = ("film", "movie", "plot", "story")


def rows(n: int = 24, seed: int = 0) -> list[dict[str, Any]]:
    """Return ``tokens`` and ``tags`` in which films and stories are things, "very good" a word."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        words, tags = ["the"], ["O"]
        for _ in range(rng.integers(2, 5)):
            thing = str(rng.choice(_THINGS))
            words += [thing, "acting", "is", "very", "good"]
            tags += ["B-thing", "I-thing", "O", "B-word", "I-word"]
        found.append({"tokens": words, "tags": tags})
    return found


def frame(n: int = 24, seed: int = 0) -> pd.DataFrame:
    """Return such rows as a table of lists."""
    return pd.DataFrame(rows(n, seed))


def with_spans(n: int = 24, seed: int = 0) -> pd.DataFrame:
    """Return such rows as ``text`` with the places of their ``entities``."""
    made: dict[str, list[Any]] = {"text": [], "entities": []}
    for row in rows(n, seed):
        places, spans = np.cumsum([0, *(len(word) + 1 for word in row["tokens"])]), []
        for i, tag in enumerate(row["tags"]):
            if tag.startswith("B-"):
                end = int(places[i + 2]) - 1
                spans.append({"start": int(places[i]), "end": end, "label": tag[2:]})
        made["text"].append(" ".join(row["tokens"]))
        made["entities"].append(spans)
    return pd.DataFrame(made)
