"""Processes that can be killed, whose system calls can fail, and what they leave on the disk."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiny_runs import inputs

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["__main__", "headstart.cli.shared.display", "headstart.run"])
"""So that a process has its libraries at once: a kill then meets headstart's own work."""
FAULTS = "HARDENING_FAULTS"
PATIENCE = 300
"""Seconds after which a process counts as hanging."""


def with_faults() -> None:
    """Start this script again with ``_faults.c`` before every library, if that can be compiled."""
    source = Path(__file__).with_name("_faults.c")
    if FAULTS in os.environ or not shutil.which("cc") or sys.platform != "linux":
        return
    library = Path(tempfile.mkdtemp()) / "faults.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)  # noqa: S603
    changed = {"LD_PRELOAD": str(library), FAULTS: str(library), "HEADSTART_CACHE": ""}
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | changed)  # noqa: S606


def faults() -> ctypes.CDLL | None:
    """Return the functions of ``_faults.c`` in this process."""
    return ctypes.CDLL(os.environ[FAULTS]) if FAULTS in os.environ else None


@dataclass
class Life:
    """A process that carries out one command, and what it prints."""

    process: Any
    log: Path

    def kill_after(self, seconds: float) -> bool:
        """Kill it after some seconds; say whether it was still alive."""
        self.process.join(seconds)
        alive = bool(self.process.is_alive())
        if alive:
            self.process.kill()
        self.process.join(PATIENCE)
        return alive

    def end(self) -> tuple[int | None, str]:
        """Wait for its end: the exit code, ``None`` if it hangs, and the text."""
        self.process.join(PATIENCE)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            self.process.join()
        return code, self.log.read_text(encoding="utf-8", errors="replace")


def start(log: Path, *words: object, arm: tuple[Path, int, int] | None = None, clock: float = 0,
          study: dict[str, Any] | None = None) -> Life:  # fmt: skip
    """Start a command, or a study in its own process.

    Args:
        log: File for what it prints.
        *words: After ``headstart``.
        arm: Folder, number and error of a system call that fails; see ``_faults.c``.
        clock: Seconds after which the clock goes back by an hour.
        study: Words of ``headstart.run_study``, in place of a command.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    process = CONTEXT.Process(target=_live, args=(log, list(map(str, words)), arm, clock, study))
    process.start()
    return Life(process, log)


def _live(
    log: Path,
    words: list[str],
    arm: tuple[Path, int, int] | None,
    clock: float,
    study: dict[str, Any] | None,
) -> None:
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(target, 1)
    os.dup2(target, 2)
    library = faults()
    if library and clock:
        threading.Timer(clock, library.hardening_clock, [ctypes.c_long(-3600)]).start()
    if library and arm:
        folder, number, error = arm
        library.hardening_arm(os.fsencode(folder), ctypes.c_long(number), error)
    code = _study(study) if study else _command(words)
    if library and arm:
        count = library.hardening_count()
        library.hardening_arm(b"", ctypes.c_long(0), -1)
        log.with_suffix(".calls").write_text(str(count))
    sys.stdout.flush()
    os._exit(code)


def _command(words: list[str]) -> int:
    from headstart.cli import main

    return main(words)


def _study(study: dict[str, Any]) -> int:
    import headstart as hs
    from headstart.errors import HeadstartError

    try:
        hs.run_study(**study)
    except HeadstartError as error:
        print(error)
        return 2
    return 0


@dataclass
class Place:
    """A folder with a tiny model and its rows."""

    folder: Path

    def words(
        self, out: Path, seed: int = 1, strategy: str = "bitfit(steps=5) > full(steps=5)"
    ) -> list[object]:
        """Return the command of a run, by default one of half a second."""
        own = inputs(self.folder, strategy=strategy, seed=seed)
        own |= {"threads": 1, "checkpoint-steps": 2, "eval-every": 5, "out": out}
        words = [w for k, v in own.items() for w in (f"--{k.replace('_', '-')}", v)]
        return ["fit", *words, "--no-guard", "--quiet"]

    def study(self, out: Path, **more: Any) -> dict[str, Any]:
        """Return the words of a study of four runs."""
        own = inputs(self.folder)
        rows = {name: own.pop(name) for name in ("train", "validation", "text", "model")}
        settings = {**own, "guard": False}
        lines = ["full(steps=6)", "bitfit(steps=3) > full(steps=3)"]
        return {**rows, "strategies": lines, "seeds": 2, "settings": settings, "out": out, **more}


def run_digest(run: Path) -> str:
    """Return what must be the same in two runs of one command: weights, head, losses."""
    digest = hashlib.sha256()
    # Not what the run has replaced, which stands inside until it is removed.
    for path in sorted(p for part in ("head", "model") for p in run.glob(f"{part}/*.safetensors")):
        digest.update(str(path.relative_to(run)).encode() + path.read_bytes())
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    curves = [[[p["step"], p["train_loss"], p["scores"]] for p in stage["curve"]]
              for stage in result["stages"]]  # fmt: skip
    digest.update(json.dumps([result["status"], curves, result["last"]]).encode())
    return digest.hexdigest()


def whole_run(run: Path) -> str | None:
    """Return the digest of a run, ``None`` where there is no whole one."""
    try:
        done = json.loads((run / "result.json").read_text(encoding="utf-8"))["status"] == "done"
        return run_digest(run) if done else None
    except (OSError, ValueError, KeyError):
        return None


def study_digest(folder: Path) -> dict[str, Any]:
    """Return what must be the same in two studies of one plan."""
    found: dict[str, Any] = {}
    for path in sorted((folder / "results").glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))["result"]
        curves = [[[p["step"], p["train_loss"], p["scores"]] for p in stage["curve"]]
                  for stage in result["stages"]]  # fmt: skip
        logits = (folder / "logits" / f"{path.stem}.npy").read_bytes()
        found[path.stem] = [curves, result["last"], hashlib.sha256(logits).hexdigest()]
    for name in ("failures", "locks", "damaged"):
        found[name] = [p.name for p in (folder / name).glob("*") if not p.name.startswith(".")]
    return found


def around(out: Path) -> list[str]:
    """Return the names beside a run that begin like it, hidden ones too."""
    return sorted(p.name for p in out.parent.iterdir() if p.name.lstrip(".").startswith(out.name))


def inside(run: Path) -> list[str]:
    """Return the names in a run."""
    return sorted(path.name for path in run.iterdir())


@contextlib.contextmanager
def timed() -> Iterator[list[float]]:
    """Measure the seconds of a block; they are in the list once it has ended."""
    began, found = time.monotonic(), list[float]()
    yield found
    found.append(time.monotonic() - began)
