"""Places that users name: ``~`` is their home folder, whoever reads it first."""

from __future__ import annotations

import os
from pathlib import Path


def at_home(place: str | Path) -> str:
    """Replace ``~`` by the home folder. The ``~`` of an unknown user is left standing."""
    return os.path.expanduser(place)  # noqa: PTH111  that of Path fails for an unknown user


def nearest(place: Path) -> Path:
    """Return what is there of a place: itself, or the innermost of the folders that lead to it."""
    return next(path for path in (place.absolute(), *place.absolute().parents) if path.exists())


def path_of(place: str | Path) -> Path:
    """Return the path of a place: a shell leaves ``~`` in quotes and in ``--out=~/x`` as it is."""
    return Path(at_home(place))
