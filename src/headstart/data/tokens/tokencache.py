"""Tokenised rows on disk, by content: a study that repeats its runs tokenises each table once.

The name of a file is a digest of all that decides its content: texts, targets, the tokenizer's
whole definition and the largest length. So nothing ever has to be declared out of date. A file
begins with a digest of its name and of the arrays behind it, and is not looked into before that
fits; one that is damaged is written anew. Files are written aside and then renamed, so processes
may share the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import tokenizers

from headstart.data.rows import Rows
from headstart.data.tokens.encode import Encoded, Padding, encode
from headstart.files.home import path_of

LARGEST = 2 * 2**30
"""Bytes of all files together; above, those that have gone unused the longest are removed."""
_FORM = 3  # of the files
_ROWS = 4096  # rows that are written as text at a time to be digested
_DIGEST = hashlib.sha256().digest_size  # bytes before the arrays


def cache_folder() -> Path | None:
    """Return where tokenised rows are kept; ``None`` where the user wants none.

    ``tokens`` in ``$HEADSTART_CACHE``, by default in ``headstart`` in the user's folder for caches.
    An empty ``$HEADSTART_CACHE`` turns the cache off.
    """
    own = os.environ.get("HEADSTART_CACHE")
    if own is not None:
        return path_of(own) / "tokens" if own else None
    above = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        return (Path(above) if above else Path.home() / ".cache") / "headstart" / "tokens"
    except RuntimeError:  # a user without a home
        return None


def encode_cached(
    rows: Rows, tokenizer: Any, max_length: int, overlap: int | None = None
) -> Encoded:
    """Tokenise rows, or read them back if the same has been tokenised before.

    A folder that cannot be written is no fault: the rows are then tokenised each time. So they are
    with tokenizers that are not wholly told by their files: in Python, or with code of their own.
    The arguments are those of ``encode``.
    """
    folder = cache_folder()
    known = tokenizer.is_fast and type(tokenizer).__module__.startswith("transformers.")
    if folder is None or not known:
        return encode(rows, tokenizer, max_length, overlap)
    path = folder / f"{cache_key(rows, tokenizer, max_length, overlap)}.npz"
    found = _read(path)
    if found is None:
        found = encode(replace(rows, labels=None), tokenizer, max_length, overlap)
        with contextlib.suppress(OSError):
            _write(found, path)
            _make_room(folder)
    return found.with_labels(rows.labels)


def cache_key(rows: Rows, tokenizer: Any, max_length: int, overlap: int | None = None) -> str:
    """Return a digest of all that decides what rows look like as tokens: 64 hexadecimal digits.

    Labels do not count.
    """
    core = tokenizer.backend_tokenizer
    # What the last call has left there says nothing about this one.
    core.no_truncation()
    core.no_padding()
    settings = [
        _FORM, tokenizers.__version__, type(tokenizer).__name__, max_length, rows.choices,
        tokenizer.model_input_names, tokenizer.pad_token_id, tokenizer.eos_token_id,
        tokenizer.pad_token_type_id, tokenizer.padding_side, tokenizer.truncation_side,
        getattr(tokenizer, "split_special_tokens", False),
    ]  # fmt: skip
    # Without windows the name is that of files from before there were any.
    windows = [] if overlap is None else [overlap]
    digest = hashlib.sha256(json.dumps(settings + windows).encode())
    digest.update(core.to_str().encode())
    for at in range(0, len(rows), _ROWS):
        spans = rows.spans and rows.spans[at : at + _ROWS]
        digest.update(json.dumps([rows.inputs[at : at + _ROWS], spans]).encode())
    return digest.hexdigest()


def _read(path: Path) -> Encoded | None:
    """Return what a file holds; ``None`` if there is none or it is damaged."""
    try:
        with path.open("rb") as file:
            told = file.read(_DIGEST)
            if told != _digest(path.stem, file):
                return None
            file.seek(_DIGEST)
            with np.load(file, allow_pickle=False) as saved:
                arrays = {name: saved[name] for name in saved.files}
        path.touch()
    except OSError:
        return None
    about = json.loads(arrays.pop("about").item())
    features = {name: arrays.pop(f"feature/{name}") for name in about.pop("features")}
    padding, spans = Padding(**about.pop("padding")), None
    if "span_sizes" in arrays:
        spans = _unfold(arrays.pop("span_places"), arrays.pop("span_sizes"))
    return Encoded(features, padding=padding, span_tokens=spans, **arrays, **about)


def _digest(key: str, file: IO[bytes]) -> bytes:
    """Return what a file of this key begins with, from what follows in it."""
    digest = hashlib.sha256(key.encode())
    while part := file.read(2**20):
        digest.update(part)
    return digest.digest()


def _write(encoded: Encoded, path: Path) -> None:
    about = {
        "features": list(encoded.features),
        "padding": asdict(encoded.padding),
        "attention_mask": encoded.attention_mask,
        "choices": encoded.choices,
        "lost_spans": encoded.lost_spans,
    }
    arrays: dict[str, npt.NDArray[Any]] = {
        "about": np.array(json.dumps(about)),
        "starts": encoded.starts,
        "lengths": encoded.lengths,
        "truncated": encoded.truncated,
        **{f"feature/{name}": values for name, values in encoded.features.items()},
    }
    for name in ("row_of", "uncut"):
        if (found := getattr(encoded, name)) is not None:
            arrays[name] = found
    if encoded.span_tokens is not None:
        places = [target for row in encoded.span_tokens for target in row]
        arrays["span_places"] = np.concatenate([np.zeros(0, np.int64), *places])
        sizes = np.array(list(map(len, places)), np.int64)
        arrays["span_sizes"] = sizes.reshape(len(encoded), -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(suffix=".new", dir=path.parent)
    try:
        with os.fdopen(handle, "w+b") as file:
            file.write(bytes(_DIGEST))
            np.savez(file, allow_pickle=False, **arrays)
            file.seek(_DIGEST)
            digest = _digest(path.stem, file)
            file.seek(0)
            file.write(digest)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _unfold(
    places: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> list[tuple[npt.NDArray[np.int64], ...]]:
    """Return for each row the places of each of its targets' tokens."""
    parts = iter(np.split(places, np.cumsum(sizes)[:-1]) if sizes.size else ())
    return [tuple(next(parts) for _ in row) for row in sizes]


def _make_room(folder: Path) -> None:
    """Remove the files that have gone unused the longest, down to the largest size."""
    files = [(path.stat(), path) for path in folder.iterdir()]
    total = sum(about.st_size for about, _ in files)
    for about, path in sorted(files, key=lambda item: item[0].st_mtime):
        if total <= LARGEST:
            return
        path.unlink(missing_ok=True)
        total -= about.st_size
