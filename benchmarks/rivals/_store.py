"""Results, one JSON line each, under a key of rows, model, seed and settings."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")


def key(record: dict[str, Any]) -> str:
    """Return what two results must share to be the same."""
    names = ("set", "size", "seed", "rows", "model", "kind", "settings")
    told = json.dumps([record[name] for name in names], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


class Store:
    """The results of one file, which need not be there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self.records = {r["key"]: r for r in map(json.loads, lines)}

    def add(self, record: dict[str, Any]) -> None:
        """Keep one more result, at once."""
        self.records[record["key"]] = record
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
