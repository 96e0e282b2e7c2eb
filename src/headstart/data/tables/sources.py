"""Readers of tables: files, folders saved by ``datasets``, data sets on the hub.

Reads the same on every machine: CSV and TSV cells are text ("NA", "null" and "007" stay what they
are), and encodings are not guessed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from headstart.data._faults import note
from headstart.data.tables._excel import read_excel
from headstart.data.tables._files import PACKINGS, check_encoding, member, read_bytes, suffix
from headstart.data.tables._text import read_json, read_separated
from headstart.data.tables.classnames import note_names, noted_features, unfold_categories
from headstart.data.tables.mediafolder import note_folder, read_classes
from headstart.errors import DataError, did_you_mean
from headstart.files.home import path_of

OTHER_SPLITS = "other splits"
"""Where the attributes of a table hold the names of the splits beside the one that was read."""

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.+-]+)?")


def read_table(
    source: str | Path,
    *,
    split: str | None = None,
    or_all: bool = False,
    encoding: str | None = None,
) -> pd.DataFrame:
    """Read rows.

    Args:
        source: A file with one of the endings of ``READERS``, plain or packed as one of
            ``PACKINGS``; a folder written by ``save_to_disk`` of ``datasets``; a folder of pictures
            or sound with a folder for each class; or the name of a data set on the hub, ``path`` or
            ``path:config``.
        split: Which split of a saved or hub data set; not needed where there is one only.
        or_all: Whether a source without splits, such as a file, gives all its rows whatever
            ``split`` says.
        encoding: How the characters of a file of text are written; ``None`` for UTF-8.

    Returns:
        The rows in order, at least one. Where the source knows names for an integer column,
        ``classnames.class_names`` gives them.

    Raises:
        DataError: If the source is missing or empty, cannot be read, or repeats a column's name; or
            if it has no such split.
    """
    check_encoding(encoding)
    path = path_of(source)
    if path.is_dir():
        frame = _read_saved(path, split, or_all)
    elif path.exists():
        if split and not or_all:
            raise no_splits(str(source), split)
        reader = _reader(path)
        if not path.stat().st_size:
            raise DataError("a file with rows", f"an empty file: {path}", "Check the path.")
        frame = note_folder(reader(path, encoding), path)
    elif _is_hub_name(str(source)):
        frame = _read_hub(str(source), split)
    else:
        raise _missing_file(path)
    return check_table(frame, str(source))


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        # The file alone: `read_table` of pyarrow also takes `=` in a path for a partition's column.
        packed = path.suffix.lower() in PACKINGS
        source = pa.BufferReader(read_bytes(path)) if packed else path
        with parquet.ParquetFile(source) as file:
            return from_arrow(file.read())
    except ARROW_FAULTS as error:
        raise _damaged("Parquet file", path, error) from None


def _read_arrow(path: Path) -> pd.DataFrame:
    import pyarrow as pa

    data = read_bytes(path)
    try:
        # The IPC file format begins with this mark; `datasets` writes the stream form, without it.
        opened = pa.ipc.open_file if data.startswith(b"ARROW1") else pa.ipc.open_stream
        return from_arrow(opened(pa.BufferReader(data)).read_all())
    except ARROW_FAULTS as error:
        raise _damaged("Arrow file", path, error) from None


ARROW_FAULTS = (OSError, ValueError, KeyError, TypeError, NotImplementedError, MemoryError)
"""What reading a damaged file may end in; most errors of Arrow are of ``ValueError``."""

READERS: dict[str, Callable[[Path, str | None], pd.DataFrame]] = {
    ".csv": read_separated,
    ".tsv": read_separated,
    ".jsonl": read_json,
    ".ndjson": read_json,
    ".json": read_json,
    ".parquet": lambda path, _: _read_parquet(path),
    ".arrow": lambda path, _: _read_arrow(path),
    ".feather": lambda path, _: _read_arrow(path),
    ".xlsx": lambda path, _: read_excel(path),
}


def _reader(path: Path) -> Callable[[Path, str | None], pd.DataFrame]:
    if suffix(path) in READERS:
        return READERS[suffix(path)]
    found = f"{member(path)!r} in {path}" if path.suffix.lower() == ".zip" else str(path)
    fix = "Save it as one of these."
    if suffix(path) == ".txt":
        fix = "A file of bare lines is read by `headstart predict` alone: columns need names."
    raise DataError(f"a file of one of the kinds {', '.join(READERS)}", found, fix)


def with_text_names(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose columns are named by text: 0 becomes ``"0"``."""
    if all(isinstance(name, str) for name in frame.columns):
        return frame
    return frame.set_axis([str(name) for name in frame.columns], axis="columns")


def from_arrow(table: Any) -> pd.DataFrame:
    """Make a table of an Arrow one, with the class names that ``datasets`` noted in it."""
    table.validate(full=True)  # offsets of a damaged file may point anywhere
    # As objects, whole numbers and truth values with gaps stay what they are.
    frame: pd.DataFrame = table.to_pandas(integer_object_nulls=True)
    frame = with_text_names(frame)
    # pandas writes its index beside the columns; one with a name is a column like any other.
    index = [name for name in frame.index.names if name and name not in frame.columns]
    frame = frame.reset_index(level=index) if index else frame
    note_names(frame, noted_features(table.schema.metadata))
    return unfold_categories(frame)


def _read_saved(path: Path, split: str | None, or_all: bool) -> pd.DataFrame:
    if not any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        files = read_classes(path, split)
        if files is not None:
            return files
        there = ", ".join(sorted(item.name for item in path.iterdir())[:8]) or "nothing"
        raise DataError(
            "a file, a folder saved by datasets, or one that holds a folder of pictures or sound "
            "for each class",
            f"folder {path}, which holds {there}",
            "Name a file in it; `headstart fit` also takes a task's folder, by --task and --data.",
        )
    from datasets import load_from_disk

    try:
        frame = from_dataset(load_from_disk(str(path)), split, str(path), or_all=or_all)
        return note_folder(frame, path)
    except (*ARROW_FAULTS, AttributeError, RecursionError) as error:
        raise _damaged("folder saved by datasets", path, error) from None


def _is_hub_name(source: str) -> bool:
    path = Path(source)
    in_folder = len(path.parts) > 1 and path.parent.is_dir()
    looks_local = path.is_absolute() or in_folder or source.startswith((".", "~"))
    return not looks_local and suffix(path) not in READERS and bool(_HUB_NAME.fullmatch(source))


def _read_hub(source: str, split: str | None) -> pd.DataFrame:
    from datasets import load_dataset

    name, _, config = source.partition(":")
    try:
        loaded = load_dataset(name, config or None, split=split)
    except Exception as error:  # noqa: BLE001  the client also raises its transport's own classes
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise DataError(
            f"a file, or the name of a data set on the hub that can be loaded: {source}",
            reason,
            "Check the name (path:configuration) and the connection; offline, give files instead.",
        ) from None
    return from_dataset(loaded, split, source, or_all=True)


def from_dataset(
    loaded: Any, split: str | None, source: str, *, or_all: bool = False
) -> pd.DataFrame:
    """Return the rows of a ``Dataset``, or of one split of a ``DatasetDict``.

    ``split`` is not needed where there is one only; with ``or_all``, a ``Dataset`` gives all its
    rows whatever it says. ``source`` is what messages call it. Raises ``DataError`` if the split is
    unknown, or not named where there are several.
    """
    dataset = _pick(loaded, split, source) if isinstance(loaded, dict) else loaded
    if dataset is loaded and split and not or_all and str(dataset.split) != split:
        raise no_splits(source, split)
    frame = from_arrow(dataset.with_format("arrow")[:])
    note_names(frame, dataset.features.to_dict() if dataset.features else {})
    if dataset.format["type"] == "custom":
        note(frame, f"The transform of {source} (set_transform) is not applied; map() stores one.")
    if dataset is not loaded:
        frame.attrs[OTHER_SPLITS] = [name for name in loaded if name != split]
    return frame


def _pick(splits: dict[str, Any], split: str | None, source: str) -> Any:
    if split in splits:
        return splits[split]
    if split is None and len(splits) == 1:
        return next(iter(splits.values()))
    listed = ", ".join(splits)
    if split is None:
        raise DataError(f"one split of {source}", f"several: {listed}", "Say which split.")
    raise DataError(f"a split of {source}", repr(split), did_you_mean(split, splits))


def no_splits(source: str, split: str) -> DataError:
    """Make the error for a split of rows that have none."""
    found = f"{source}, which has no splits, and {split!r} asked for"
    return DataError("a data set with splits", found, "Leave the split out to take all rows.")


def check_table(frame: pd.DataFrame, source: str) -> pd.DataFrame:
    """Refuse rows that could not be read by column.

    Raises ``DataError`` if a column's name is repeated, or there are no rows.
    """
    names = [str(name) for name in frame.columns]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        found = f"{', '.join(map(repr, repeated))} more than once in {source}"
        raise DataError("a different name for each column", found, "Rename or remove a column.")
    if frame.empty:
        found = f"only column names in {source}: {', '.join(names)}" if names else f"none: {source}"
        raise DataError("at least one row", found, "Check that this is the right file.")
    return frame


def _damaged(kind: str, path: Path, error: Exception) -> DataError:
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    return DataError(f"a readable {kind}", f"{path}: {reason}", "Write or download it again.")


def _missing_file(path: Path) -> DataError:
    folder = path.parent
    if not folder.is_dir():
        return DataError(f"file {path}", f"no folder {folder}", "Check the path.")
    near = _near(path.name, (item.name for item in folder.iterdir()))
    fix = f"Did you mean {' or '.join(near)}?" if near else "Check the path."
    return DataError(f"file {path}", f"no such file in {folder.resolve()}", fix)


def _near(name: str, names: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(name, sorted(names), n=3, cutoff=0.6)
