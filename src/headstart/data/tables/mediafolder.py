"""Folders of pictures or sound with a folder for each class, and relative paths in tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from headstart.errors import DataError

BESIDE = "folder"
"""Under which a table keeps in ``attrs`` the folder that its relative paths begin in."""
ENDINGS: dict[str, frozenset[str]] = {
    "audio": frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au"}),
    "image": frozenset(
        {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
    ),
}
"""Endings of files by the column that a folder of them is read as."""
LABEL = "label"


def note_folder(frame: pd.DataFrame, source: Path) -> pd.DataFrame:
    """Note on a table the folder that its relative paths begin in."""
    frame.attrs[BESIDE] = str(source if source.is_dir() else source.parent)
    return frame


def folder_of(frame: pd.DataFrame) -> Path:
    """Return the folder that the relative paths of a table begin in.

    That of its file; the working folder for a table in memory.
    """
    return Path(frame.attrs.get(BESIDE, "."))


def read_classes(folder: Path, split: str | None) -> pd.DataFrame | None:
    """Read a folder of files that has a folder for each class; ``None`` if there are none.

    It may stand below, in a folder for each split. There is a row for each file, ordered by its
    path: a column ``audio`` or ``image`` with the path from the folder on, and ``label`` with the
    name of the class. Raises ``DataError`` if some files are sound and others pictures, or the
    folder has splits and none was named.
    """
    within = folder / split if split and _classes(folder / split) else folder
    classes = _classes(within)
    if not classes:
        splits = [inner.name for inner in _folders(folder) if _classes(inner)]
        if splits:
            raise DataError(
                f"a folder with a folder for each class, or one split of {folder}",
                f"folders {', '.join(splits)}, which have such",
                f"Name one of them, for example {folder / splits[0]}.",
            )
        return None
    kinds = {kind for files in classes.values() for kind, _ in files}
    if len(kinds) > 1:
        fix = "Keep one kind, or write a table with a column of paths."
        raise DataError(f"files of one kind in {within}", "both sound and pictures", fix)
    rows = [
        (path.relative_to(within).as_posix(), name)
        for name, files in classes.items()
        for _, path in files
    ]
    return note_folder(pd.DataFrame(rows, columns=[kinds.pop(), LABEL], dtype=str), within)


def _folders(folder: Path) -> list[Path]:
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if path.is_dir() and not path.name.startswith("."))


def _classes(folder: Path) -> dict[str, list[tuple[str, Path]]]:
    """Return the files right inside each folder of a folder, with their kinds; none are left out.

    A class may have folders inside, which belong to it, but a folder of folders alone is a split.
    """
    found: dict[str, list[tuple[str, Path]]] = {}
    for inner in _folders(folder):
        direct = [path for path in sorted(inner.iterdir()) if _kind(path) and path.is_file()]
        if direct:
            every = [path for path in sorted(inner.rglob("*")) if _kind(path) and path.is_file()]
            found[inner.name] = [(_kind(path), path) for path in every]
    return found


def _kind(path: Path) -> str:
    ending = path.suffix.lower()
    return next((kind for kind, endings in ENDINGS.items() if ending in endings), "")
