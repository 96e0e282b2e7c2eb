"""A run's folder: whole or not there.

A run works in ``<out>.partial`` beside its final place and is moved there once it is complete, so
that whatever stood in ``<out>`` before stays whole until then. An interrupted run leaves its
``.partial`` folder, from which it resumes. The record is written last: where it says ``done``,
only the move is missing, and whoever looks next makes up for it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from headstart.config import FitConfig, write_settings
from headstart.configfile import read_settings, without_trust
from headstart.errors import ConfigError, RunError
from headstart.models.folders import PARTIAL

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SETTINGS, RESULT, LOG, LOCK = "settings.yaml", "result.json", "log.txt", ".lock"
MODEL, HEAD, CHECKPOINTS = "model", "head", "checkpoints"


class RunFolder:
    """The folder of one run.

    Args:
        out: Its final place.
    """

    def __init__(self, out: Path) -> None:
        self.out = out if out.name else out.resolve()
        if not self.out.name:
            raise ConfigError("a folder of its own for --out", str(out), "Choose another --out.")
        if self.out.name.endswith(PARTIAL):
            raise ConfigError(
                f"a folder for --out that does not end in {PARTIAL}, the mark of unfinished runs",
                str(out),
                f"Write --out {str(self.out).removesuffix(PARTIAL)}",
            )
        self.work = self.out.with_name(f"{self.out.name}{PARTIAL}")
        self._lock: IO[str] | None = None

    def check(self, config: FitConfig) -> None:
        """Make sure that the run may go here, before anything is loaded or written.

        Args:
            config: The settings; ``resume`` and ``overwrite`` say what may be there.

        Raises:
            RunError: If something is in the way, or there is nothing to resume.
        """
        self._recover()
        if config.resume:
            self._check_resumed(config)
            return
        if self.out.exists() and not (self.out.is_dir() and not any(self.out.iterdir())):
            self._refuse_occupied(config)
        if self.work.exists() and not config.overwrite:
            raise self._in_the_way()

    def _in_the_way(self) -> RunError:
        failed = (self.work / RESULT).is_file()
        return RunError(
            f"a free folder for --out {self.out}",
            f"{'a failed' if failed else 'an interrupted'} run in {self.work}",
            "Start again with --overwrite."
            if failed
            else "Go on with it by --resume, or start again with --overwrite.",
        )

    def settle(self, config: FitConfig) -> FitConfig:
        """Fill in what a resumed run leaves open, as it was at the start.

        Args:
            config: The settings, checked.

        Returns:
            The settings to go on with.
        """
        if not config.resume:
            return config
        before, now = read_settings(self.work / SETTINGS), config.plain()
        return FitConfig.build({k: before.get(k) if v is None else v for k, v in now.items()})

    def open(self, config: FitConfig) -> None:
        """Make the working folder ready.

        Args:
            config: The settings.

        Raises:
            RunError: If another process works in it.
        """
        if self.work.exists():
            self._take()
        if not config.resume:
            if config.overwrite:
                shutil.rmtree(self.work, ignore_errors=True)
            try:
                self.work.mkdir(parents=True)
            except FileExistsError:
                raise self._in_the_way() from None
            self._take()
            write_settings(config, self.work / SETTINGS)

    def _take(self) -> None:
        """Lock the working folder for this process, where the system can."""
        if fcntl is None:
            return
        self.release()
        self._lock = (self.work / LOCK).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.release()
            raise RunError(
                f"a run in {self.work} that no other process works on",
                "one that is in progress",
                "Wait for it, or choose another --out.",
            ) from None

    def release(self) -> None:
        """Let other processes work on the run."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def abandon(self) -> None:
        """Clear away an interrupted run from which nothing can be resumed."""
        if not (self.work / CHECKPOINTS).exists():
            shutil.rmtree(self.work, ignore_errors=True)

    def _recover(self) -> None:
        """Make up for the moves that a crash at the end of an earlier run has left out."""
        if _is_done(self.work):
            self._take()
            self.close()
        elif self._replaced.exists() and not self.out.exists():
            self._replaced.replace(self.out)

    @property
    def _replaced(self) -> Path:
        return self.out.with_name(f"{self.out.name}.replaced")

    def _check_resumed(self, config: FitConfig) -> None:
        saved = self.work / SETTINGS
        if not saved.is_file():
            done = (self.out / RESULT).is_file()
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

    def _refuse_occupied(self, config: FitConfig) -> None:
        is_run = (self.out / SETTINGS).is_file() or (self.out / RESULT).is_file()
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
        shutil.rmtree(self.work / CHECKPOINTS, ignore_errors=True)
        self.release()
        (self.work / LOCK).unlink(missing_ok=True)
        replaced = self._replaced
        if self.out.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            self.out.replace(replaced)
        self.work.replace(self.out)
        shutil.rmtree(replaced, ignore_errors=True)


def interrupted_settings(out: Path, *, said: bool) -> dict[str, Any]:
    """Return the settings of the interrupted run that shall go on.

    Args:
        out: The run's final place.
        said: Whether this call says if code that comes with the model may run.

    Returns:
        Settings by name, without those that say where and how the run goes on, and without trust.

    Raises:
        HeadstartError: If there is nothing to resume, or the run was trusted and the call says
            nothing of it.
    """
    folder = RunFolder(out)
    if not (folder.work / SETTINGS).is_file():
        folder.check(FitConfig(out=out, resume=True))
    file = folder.work / SETTINGS
    saved = without_trust(read_settings(file), file, said=said)
    return {name: saved[name] for name in saved if name not in {"resume", "overwrite", "out"}}


def _is_done(folder: Path) -> bool:
    try:
        record = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("status") == "done"


def require_space(folder: Path, needed: int) -> None:
    """Refuse to start where the result would not fit.

    Args:
        folder: Somewhere on the disk in question.
        needed: Bytes.

    Raises:
        RunError: If less is free.
    """
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise RunError(
            f"{needed / 2**20:,.0f} MiB of free space for model and checkpoint",
            f"{free / 2**20:,.0f} MiB at {existing}",
            "Free some space or choose another --out.",
        )


@contextlib.contextmanager
def told_when_full(folder: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden folder into an error that says what is safe.

    Args:
        folder: The run's final place.

    Yields:
        Nothing.

    Raises:
        RunError: Instead of the operating system's error.
    """
    try:
        yield
    except PermissionError as error:
        raise RunError(
            "a folder that may be written to", f"{error.filename}: {os.strerror(errno.EACCES)}",
            "Choose another --out.",
        ) from None  # fmt: skip
    except Exception as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        if not full:
            raise
        raise RunError(
            "enough free space to save",
            f"a full disk at {folder}",
            "Nothing that was complete is lost. Free some space, then go on with --resume.",
        ) from None
