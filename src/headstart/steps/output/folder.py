"""A run's folder, which is there as a whole or not at all.

What stands where, and how it gets there, is told in ``models.folders``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from headstart.config import FitConfig, write_settings
from headstart.configfile import read_settings, without_trust
from headstart.errors import ConfigError, RunError
from headstart.files.home import nearest, path_of
from headstart.files.writing import remove_left_over, write_text
from headstart.models.checkpoints import folders
from headstart.models.checkpoints.folders import (
    CHECKPOINTS,
    HEAD,
    LOCK,
    LOG,
    MODEL,
    PARTIAL,
    REPLACES,
    RESULT,
    SETTINGS,
)

__all__ = ["CHECKPOINTS", "HEAD", "LOCK", "LOG", "MODEL", "RESULT", "SETTINGS", "RunFolder"]


class RunFolder:
    """The folder of one run, by its final place."""

    def __init__(self, out: Path) -> None:
        out = path_of(out)
        # What a link points to is replaced, not the link; "." has a name of its own.
        self.out = out.resolve() if out.is_symlink() or out.name in ("", "..") else out
        if not self.out.name or os.path.ismount(self.out):
            raise ConfigError(
                "a folder of its own for --out, which can be moved",
                str(out),
                f"Choose a folder below it, for example --out {out / 'run'}",
            )
        if self.out.name.endswith(PARTIAL):
            raise ConfigError(
                f"a folder for --out that does not end in {PARTIAL}, the mark of unfinished runs",
                str(out),
                f"Write --out {str(self.out).removesuffix(PARTIAL)}",
            )
        self.work = folders.working_folder(self.out)
        self._lock: IO[bytes] | None = None

    def check(self, config: FitConfig, *, look: bool = False) -> None:
        """Check that the run may go here, before anything is loaded or written.

        With ``look`` nothing may be changed, not even to make up for a crash. Raises ``RunError``
        if something is in the way, or there is nothing to resume.
        """
        if int(os.environ.get("RANK", "0")):
            return  # the first process looks, and the launcher ends all if it fails
        if not (there := nearest(self.out.parent)).is_dir():
            fix = "Choose another --out."
            raise RunError("a folder in which --out can be made", f"{there}, which is a file", fix)
        if not look:
            folders.recover(self.out)
        # Finished but for its moves: to the user, the run that is there.
        waits = folders.is_done(self.work)
        begun = waits or (config.resume and (self.work / SETTINGS).is_file())
        if begun and not folders.may_replace(self.work, self.out):
            raise folders.two_runs(self.work, self.out)
        if waits and not look:  # something was in the way, and this says what
            self._take()
            self.close()
            waits = False
        if config.resume:
            self._check_resumed(config, self.work if waits else self.out)
            return
        if waits or not folders.is_free(self.out):
            self._refuse_occupied(config, self.work if waits else self.out)
        if self.work.exists() and not waits:
            self._check_unfinished(config)

    def _check_unfinished(self, config: FitConfig) -> None:
        if self._is_begun:
            return
        if not (self.work / SETTINGS).is_file():
            raise RunError(
                f"a free folder for --out {self.out}",
                f"files in {self.work}, where the run would work, that are not a run",
                "Choose another --out.",
            )
        if not config.overwrite:
            raise self._in_the_way()

    @property
    def _is_begun(self) -> bool:
        """Whether a process has made the working folder, and ended before it wrote anything."""
        if not self.work.is_dir() or self.work.is_symlink():
            return False
        names = {path.name for path in self.work.iterdir() if not path.name.endswith(".new")}
        return names <= {LOCK, REPLACES}

    def _in_the_way(self) -> RunError:
        failed = (self.work / RESULT).is_file()
        return RunError(
            f"a free folder for --out {self.out}",
            f"{'a failed' if failed else 'an interrupted'} run in {self.work}",
            "Start again with --overwrite."
            if failed
            else "Go on with it by --resume, or start again with --overwrite.",
        )

    def _in_progress(self) -> RunError:
        return RunError(
            f"a run in {self.work} that no other process works on",
            "one that is in progress",
            "Wait for it, or choose another --out.",
        )

    def settle(self, config: FitConfig) -> FitConfig:
        """Fill in what a resumed run leaves open, as it was at the start."""
        if not config.resume:
            return config
        before, now = read_settings(self.work / SETTINGS), config.plain()
        return FitConfig.build({k: before.get(k) if v is None else v for k, v in now.items()})

    def open(self, config: FitConfig) -> None:
        """Make the working folder ready. Raises ``RunError`` if another process works in it."""
        if self.work.exists():
            self._take()
        if config.resume:
            remove_left_over(self.work)
            return
        if self._is_begun or (config.overwrite and (self.work / SETTINGS).is_file()):
            shutil.rmtree(self.work, ignore_errors=True)
        try:
            self.work.mkdir(parents=True)
        except FileExistsError:
            raise self._in_the_way() from None
        self._take()
        try:
            write_text(self.work / REPLACES, folders.run_digest(self.out))
            write_settings(config, self.work / SETTINGS)
        except BaseException:
            self.release()
            shutil.rmtree(self.work, ignore_errors=True)
            raise

    def _take(self) -> None:
        """Lock the working folder for this process, where the system can."""
        self.release()
        try:
            self._lock = folders.take(self.work)
        except (BlockingIOError, FileNotFoundError):
            raise self._in_progress() from None

    def release(self) -> None:
        """Unlock the working folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def abandon(self) -> None:
        """Clear away an interrupted run from which nothing can be resumed."""
        if not (self.work / CHECKPOINTS).exists():
            shutil.rmtree(self.work, ignore_errors=True)

    def _check_resumed(self, config: FitConfig, place: Path) -> None:
        saved = self.work / SETTINGS
        if place == self.work or not saved.is_file():
            done = (place / RESULT).is_file()
            raise RunError(
                f"an interrupted run in {self.work}",
                f"a finished run in {self.out}" if done else "none",
                "Leave --resume out." if not done else "There is nothing left to do.",
            )
        before, now = read_settings(saved), config.plain()
        ignored = {
            "resume",
            "overwrite",
            "out",
            "threads",
            "checkpoint_minutes",
            "checkpoint_steps",
        }
        # The file holds what was decided at the start where the user left a setting open.
        open_now = {k for k, v in now.items() if v is None}
        differ = sorted(k for k in {*now} - ignored - open_now if before.get(k) != now[k])
        if differ:
            told = ", ".join(f"{k} {before.get(k)!r} -> {now[k]!r}" for k in differ)
            raise RunError(
                "the settings with which the run was started",
                told,
                "Give --resume with --out alone, or start again with --overwrite.",
            )

    def _refuse_occupied(self, config: FitConfig, place: Path) -> None:
        is_run = (place / SETTINGS).is_file() or (place / RESULT).is_file()
        if is_run and config.overwrite:
            return
        raise RunError(
            f"a free folder for --out {self.out}",
            "another run there" if is_run else "files there that are not a run",
            "Choose another --out, or pass --overwrite to replace the run."
            if is_run
            else "Choose another --out.",
        )

    def close(self) -> None:
        """Move the finished work to its place and remove what it replaces."""
        try:
            folders.move_to_place(self.work, self.out)
        finally:
            self.release()


def interrupted_settings(out: Path, *, said: bool, look: bool = False) -> dict[str, Any]:
    """Return the settings, by name, of the interrupted run that shall go on.

    Those that say where and how the run goes on are left out, and so is trust; ``said`` is whether
    this call says if code that comes with the model may run, ``look`` is as for
    ``RunFolder.check``. Raises ``HeadstartError`` if there is nothing to resume, or the run was
    trusted and the call says nothing of it.
    """
    folder = RunFolder(out)
    if not (folder.work / SETTINGS).is_file():
        folder.check(FitConfig(out=out, resume=True), look=look)
    file = folder.work / SETTINGS
    saved = without_trust(read_settings(file), file, said=said)
    return {name: saved[name] for name in saved if name not in {"resume", "overwrite", "out"}}


def require_space(folder: Path, needed: int) -> None:
    """Refuse to start where as many bytes would not fit on the disk of a folder.

    Raises ``RunError`` if less is free.
    """
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise RunError(
            f"{needed / 2**20:,.0f} MiB of free space for model and checkpoint",
            f"{free / 2**20:,.0f} MiB at {existing}",
            "Free some space or choose another --out.",
        )


_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def explain_disk_errors(folder: Path) -> Iterator[None]:
    """Replace errors of a full, forbidden or broken folder by a ``RunError``: what is safe."""
    try:
        yield
    except Exception as error:
        code = _system_error(error)
        name = getattr(error, "filename", None)
        reason = f"{name or folder}: {os.strerror(code)}" if code else ""
        if code in _FULL:
            raise RunError(
                "enough free space to save",
                f"a full disk at {folder} ({os.strerror(code)})",
                "Nothing that was complete is lost. Free some space, then go on with --resume.",
            ) from None
        if code in _FORBIDDEN:
            raise RunError(
                "a folder that may be written to", reason,
                "Choose another --out, or allow it; an interrupted run goes on with --resume.",
            ) from None  # fmt: skip
        if code and (not isinstance(error, OSError) or str(name).startswith(str(folder))):
            raise RunError(
                f"the folder {folder}, readable and writable", reason,
                "Nothing that was complete is lost. Bring it back, then go on with --resume.",
            ) from None  # fmt: skip
        raise


def _system_error(error: Exception) -> int:
    """Return the system's number of an error; what is written in Rust tells it in text alone."""
    if isinstance(error, OSError):
        return error.errno or 0
    told = re.search(r"\(os error (\d+)\)|I/O error.*\bcode: (\d+)", str(error))
    return int(told[1] or told[2]) if told else 0
