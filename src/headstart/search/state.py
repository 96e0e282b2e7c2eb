"""How far a search for a strategy has come, kept so that an interrupted one goes on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from headstart.errors import RunError
from headstart.files.contents import UnreadableError
from headstart.files.jsonfile import checked, read_table
from headstart.files.schema import as_record
from headstart.search.halving import Trial

STATE = "search.json"


@dataclass
class Search:
    """What a search has found so far.

    Args:
        budget: As the user wrote it.
        origin: The rows and the backbone that it is about.
        length: Share of the run's epochs for which candidates train; 0 while it is open.
        held_out: Rows that a split holds out.
        seconds: Wall time of the run until now, earlier attempts included.
        dropped: Candidates that cannot train here, with the reason.
        trials: Everything that was tried.
        rounds: For each round the splits, and the candidates from best to worst.
        chosen: The chosen line; empty while it is open.
        why: Why.
    """

    budget: str
    origin: dict[str, Any]
    length: float = 0.0
    held_out: int = 0
    seconds: float = 0.0
    dropped: dict[str, str] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    chosen: str = ""
    why: str = ""

    def record(self) -> dict[str, Any]:
        """Return what belongs into the run's record, as plain data."""
        return {name: value for name, value in asdict(self).items() if name != "origin"}


def load_search(folder: Path) -> Search | None:
    """Read how far a search has come.

    Args:
        folder: The run's checkpoint folder.

    Returns:
        The search, or ``None`` if none has begun.

    Raises:
        RunError: If it is damaged.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        values = checked(read_table(path, finite=False))  # a loss may be infinite
        return as_record(Search, values)
    except (OSError, UnreadableError) as error:
        fix = "Start the run again with --overwrite."
        raise RunError("a complete record of the search", f"{path}: {error}", fix) from None
