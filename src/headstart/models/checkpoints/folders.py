"""A run's folder on the disk: finished, unfinished, or finished but for its last moves.

A run works in ``x.partial`` and is moved to ``x`` when it is done::

    x.partial/.replaces    which run at x it may replace, noted when it began
    x.partial/result.json  written last: where it says ``done``, only moves are missing
    x           -> x.partial/.replaced
    x.partial   -> x
    x/.replaced            is removed; what is no part of a run stays, in x

So at every moment one whole run is there, the old one or the new one, and whatever else the user
has put beside it is not touched. Whoever finds the moves half done, ``recover`` makes up for them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import IO

from headstart.errors import RunError
from headstart.files.jsonfile import read_table
from headstart.files.writing import open_own, remove_left_over, sync

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PARTIAL = ".partial"
"""What the name of a run's folder ends in until the run is finished."""
SETTINGS, RESULT, LOG, LOCK = "settings.yaml", "result.json", "log.txt", ".lock"
MODEL, HEAD, CHECKPOINTS = "model", "head", "checkpoints"
REPLACES, REPLACED = ".replaces", ".replaced"
_OWN = {SETTINGS, RESULT, LOG, LOCK, MODEL, HEAD, CHECKPOINTS, REPLACES, REPLACED}


_looking: ContextVar[bool] = ContextVar("_looking", default=False)


def working_folder(out: Path) -> Path:
    """Return where a run works until it is finished: the folder beside its final place."""
    return out.with_name(f"{out.name}{PARTIAL}")


def is_done(folder: Path) -> bool:
    """Return whether a folder holds a finished run."""
    try:
        record = read_table(folder / RESULT)
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("status") == "done"


def is_free(place: Path) -> bool:
    """Return whether nothing, or an empty folder, stands in a place."""
    return not os.path.lexists(place) or (place.is_dir() and not any(place.iterdir()))


def run_digest(folder: Path) -> str:
    """Return a digest of a run's record and settings, which tells runs apart; empty without."""
    digest, found = hashlib.sha256(), False
    for name in (RESULT, SETTINGS):
        with contextlib.suppress(OSError):
            digest.update((folder / name).read_bytes())
            found = True
    return digest.hexdigest() if found else ""


def may_replace(work: Path, out: Path) -> bool:
    """Return whether a run may go to its place.

    It is free, or the run stands there that it was told to replace.
    """
    if is_free(out):
        return True
    try:
        noted = (work / REPLACES).read_text(encoding="ascii")
    except (OSError, ValueError):
        return False
    return bool(noted) and noted == run_digest(out)


def take(work: Path) -> IO[bytes] | None:
    """Lock a working folder for this process; what is returned holds the lock until it is closed.

    ``None`` where the system has no such locks. Raises ``BlockingIOError`` if another process has
    it.
    """
    if fcntl is None:
        return None
    file = open_own(work / LOCK)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise BlockingIOError(str(work)) from None
    return file


def move_to_place(work: Path, out: Path) -> None:
    """Move a finished run to its place, and remove the one that it replaces.

    Raises ``RunError`` if another run stands there than the one that it was told to replace.
    """
    if not may_replace(work, out):
        raise two_runs(work, out)
    shutil.rmtree(work / CHECKPOINTS, ignore_errors=True)
    remove_left_over(work)
    old = work / REPLACED
    if os.path.lexists(out):
        shutil.rmtree(old, ignore_errors=True)
        out.replace(old)
    try:
        work.replace(out)
    except OSError:
        if os.path.lexists(old):
            old.replace(out)
        raise
    _tidy(out)
    with contextlib.suppress(OSError):  # not every file system can
        sync(out.parent)


def _tidy(out: Path) -> None:
    """Remove the run that was replaced, but for what is no part of a run: that is its user's."""
    old = out / REPLACED
    for path in old.iterdir() if old.is_dir() else ():
        if path.name not in _OWN and not os.path.lexists(out / path.name):
            path.replace(out / path.name)
    shutil.rmtree(out / REPLACED, ignore_errors=True)
    for name in (REPLACES, LOCK):
        (out / name).unlink(missing_ok=True)


@contextlib.contextmanager
def looking() -> Iterator[None]:
    """Change nothing on the disk in this block, not even to make up for a crash."""
    token = _looking.set(True)
    try:
        yield
    finally:
        _looking.reset(token)


def recover(path: Path) -> None:
    """Make up for the moves that a crash at the end of a run has left out, where it can be done.

    ``path`` is a run, finished or not, or the model or head inside it; anything else stays as it
    is.
    """
    if _looking.get():
        return
    path = path if path.name not in ("", "..") else path.resolve()
    places = [path, path.parent] if path.name in (MODEL, HEAD) else [path]
    for out in [place for place in places if place.name]:
        with contextlib.suppress(OSError):  # another process moves it, or nobody may
            _recover(working_folder(out), out)


def _recover(work: Path, out: Path) -> None:
    if is_done(work) and may_replace(work, out):
        lock = take(work)
        try:
            if is_done(work):
                move_to_place(work, out)
        finally:
            if lock:
                lock.close()
    left = any(os.path.lexists(out / name) for name in (REPLACED, REPLACES, LOCK))
    if left and is_done(out):
        _tidy(out)


def two_runs(work: Path, out: Path) -> RunError:
    """Return the error about a finished run whose place another one has taken."""
    return RunError(
        f"{out} free, or the run there that was to be replaced",
        f"something else there, and in {work} a run that belongs there",
        "Move one of them to another name: nothing is lost.",
    )


def require_finished(path: Path) -> None:
    """Refuse a run that has not finished, or that failed, and what is inside its folder.

    Raises ``RunError`` if there is such a run.
    """
    whole = path.absolute()
    instead = () if path.exists() else (Path(f"{path}{PARTIAL}"),)
    for folder in (path, path.parent, whole, whole.parent, *instead):
        if folder.name.endswith(PARTIAL) and folder.is_dir():
            raise _unfinished(folder)


def _unfinished(working: Path) -> RunError:
    out = str(working).removesuffix(PARTIAL)
    try:
        record = read_table(working / RESULT)
        status, error = record["status"], str(record["error"])
    except (OSError, ValueError, KeyError, TypeError):  # the record is written last
        status, error = "", ""
    if status == "failed":
        reason, _, advice = error.partition("; found ")[2].partition(". ")
        return RunError(
            "a finished run",
            f"{working}, a run that failed: {reason}",
            f"{advice} Start again with that change: "
            f"headstart fit --config {working / SETTINGS} --overwrite …",
        )
    if status == "done":
        return RunError(
            "a run in its place",
            f"{working}, which is finished but was not moved to {out}",
            f"Move it there, or under another name: mv {working} {out}",
        )
    return RunError(
        "a finished run",
        f"{working}, a run that did not finish",
        f"Go on with it: headstart fit --resume --out {out}",
    )
