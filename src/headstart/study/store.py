"""The folder of a study, on a disk, a shared folder or any address that fsspec knows.

::

    study.json             by which version it was made
    plans/<digest>.json    runs that were asked for; together they are the study
    results/<id>.json      a finished run
    logits/<id>.npy        its logits on the rows that it was evaluated on
    failures/<id>.json     a failed run: error and reason
    locks/<id>.<n>.json   who works on a run; see ``locks``
    damaged/               results and failures that cannot be read, set aside
    logs/                  what the workers print

Every file is written once, whole, and belongs to one run: processes need no lock to share it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import numpy.typing as npt

from headstart.errors import RunError
from headstart.files.contents import LARGE, UnreadableError
from headstart.files.home import at_home
from headstart.files.jsonfile import parse_json
from headstart.files.tensors import parse_array
from headstart.files.writing import is_left_over, write_bytes
from headstart.study import damage
from headstart.study.damage import RESULT_KEYS, as_json

FORM = 1
"""Version of this layout."""
STUDY = "study.json"
_OWN = re.compile(r"[^.~#\s]+(\.[0-9]{1,6})?\.(json|npy)")
"""Names of files below ``FOLDERS``, logs left out."""
FOLDERS = ("plans", "results", "logits", "failures", "locks", "damaged", "logs")


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study.

    Args:
        id: Digest of its settings, its rows and its backbone.
        axes: Task, model, strategy, training rows, seed, and settings of the grid.
        settings: Settings of ``headstart fit``.
        measure: What else is measured in the run: ``name`` of an observer and its options.
    """

    id: str
    axes: dict[str, Any]
    settings: dict[str, Any]
    measure: dict[str, Any] | None = None


class Store:
    """A study's folder, or its fsspec address."""

    def __init__(self, address: str | Path) -> None:
        self.address = at_home(str(address))
        try:
            self.fs, root = fsspec.core.url_to_fs(self.address)
        except (ValueError, ImportError) as error:
            raise RunError(
                "a folder, or an address that fsspec can open", f"{address}: {error}",
                "Check --out; other kinds of storage need their package, such as s3fs.",
            ) from None  # fmt: skip
        self.root = str(root).rstrip("/")
        self.local = "file" in ([self.fs.protocol] if isinstance(self.fs.protocol, str) else
                                self.fs.protocol)  # fmt: skip

    def open(self, *, create: bool = False) -> Store:
        """Check that this is a study's folder, or make it one.

        Raises ``RunError`` if there is none, other files stand there, or another version made it.
        """
        with self._reached():
            about = self._read(self.path(STUDY))
            there = bool(about) or self.fs.exists(self.root)
            if create:
                if about is None:
                    self._refuse_others(self.fs.ls(self.root, detail=False) if there else [])
                    self.fs.makedirs(self.root, exist_ok=True)
                    about = {"form": FORM, "headstart": version("headstart")}
                    self.write(STUDY, about)
                for folder in FOLDERS:  # last, and again: a process may have ended in between
                    self.fs.makedirs(self.path(folder), exist_ok=True)
        if about is None:
            raise RunError(
                "the folder of a study",
                f"{self.address}, {'which is none' if there else 'which does not exist'}",
                "Name the folder that --out of `headstart study run` named.",
            )
        if about.get("form") != FORM:
            raise RunError(
                f"a study of form {FORM}",
                f"{self.address} of form {about.get('form')}, "
                f"by headstart {about.get('headstart')}",
                "Use that version of headstart, or begin a new study in another folder.",
            )
        return self

    def _refuse_others(self, paths: Iterable[str]) -> None:
        if all(is_left_over(path.rpartition("/")[2]) for path in paths):
            return
        raise RunError(
            "an empty folder or a study's for --out", f"other files in {self.address}",
            "Choose another --out.",
        )  # fmt: skip

    def path(self, *parts: str) -> str:
        """Return a path below the folder."""
        return "/".join((self.root, *parts))

    def write(self, name: str, values: Mapping[str, Any] | bytes) -> None:
        """Write a file whole or not at all."""
        data = values if isinstance(values, bytes) else as_json(values)
        with self._reached():
            if not self.local:
                self.fs.pipe_file(self.path(name), data)
                return
            write_bytes(Path(self.path(name)), data)

    def create(self, name: str, values: Mapping[str, Any]) -> bool:
        """Write a file if there is none of that name.

        Of several processes, one is told that it has written the file.
        """
        with self._reached():
            try:
                if self.local:
                    write_bytes(Path(self.path(name)), as_json(values), replace=False)
                else:
                    self.fs.pipe_file(self.path(name), as_json(values), mode="create")
            except FileExistsError:
                return False
        return True

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with self._reached(), contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))

    def names(self, folder: str) -> list[str]:
        """List a folder.

        Names of the study's own whole files, sorted: an editor's backup, ``.DS_Store`` or a folder
        that has been put there is none of them.
        """
        with self._reached():
            self.fs.invalidate_cache()
            found = self.fs.ls(self.path(folder), detail=True)
        names = sorted(str(f["name"]).rsplit("/", 1)[-1] for f in found if f["type"] == "file")
        return [name for name in names if _OWN.fullmatch(name)]

    def add_plan(self, runs: Iterable[PlannedRun], about: Mapping[str, Any]) -> None:
        """Add runs to the study.

        Those that are there already stay; ``about`` is what is worth knowing about them,
        ``baseline`` for example.
        """
        values = {
            **about,
            "runs": [
                {"id": r.id, "axes": r.axes, "settings": r.settings, "measure": r.measure}
                for r in runs
            ],
        }
        own = damage.plan_name(values)
        name = f"plans/{own}.json"
        if damage.of_plan(self.read(name), own):
            self.write(name, {"number": len(self.names("plans")), **values})

    def plans(self) -> list[dict[str, Any]]:
        """Return what was asked for, each request once, in the order in which they were added."""
        found = self._files("plans")
        whole = [plan for name, plan in found if plan and not damage.of_plan(plan, name)]
        return sorted(whole, key=lambda plan: plan.get("number", 0))

    def runs(self) -> dict[str, PlannedRun]:
        """Return every run of the study by its identity."""
        return {
            run["id"]: PlannedRun(run["id"], run["axes"], run["settings"], run["measure"])
            for plan in self.plans()
            for run in plan["runs"]
        }

    def finished(self) -> set[str]:
        """Return the identities of runs with a result."""
        return _identities(self.names("results"))

    def failed(self) -> set[str]:
        """Return the identities of runs that failed."""
        return _identities(self.names("failures"))

    def put(
        self,
        run: PlannedRun,
        result: Mapping[str, Any],
        logits: npt.NDArray[np.float32],
        measured: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep a finished run; the record last, so that where it stands all is there.

        Logits are (n, outputs).
        """
        buffer = io.BytesIO()
        np.save(buffer, logits, allow_pickle=False)
        data = buffer.getvalue()
        self.write(f"logits/{run.id}.npy", data)
        found = {"result": result, "measured": measured or {}}
        digests = {"digest": damage.digest(found), "logits": hashlib.sha256(data).hexdigest()}
        record = {"id": run.id, "axes": run.axes, **digests, **found}
        self.write(f"results/{run.id}.json", record)
        self.remove(f"failures/{run.id}.json")

    def put_failure(self, run: PlannedRun, failure: Mapping[str, Any]) -> None:
        """Keep what went wrong. ``failure`` has ``kind``, ``error`` and more."""
        self.write(f"failures/{run.id}.json", {"id": run.id, "axes": run.axes, **failure})

    def results(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Read every whole result, and a sentence about each file that is damaged.

        Results and failures among those are set aside, so that the run counts as not done.
        """
        found, told = [], []
        for identity, record in self._files("results"):
            fault = damage.of_result(record, identity)
            if record is not None and not fault:
                found.append({key: record[key] for key in RESULT_KEYS})
            else:
                told.append(self._set_aside("results", identity, fault))
        for identity, record in self._files("failures"):
            if fault := damage.of_failure(record, identity):
                told.append(self._set_aside("failures", identity, fault))
        for name, plan in self._files("plans"):
            if fault := damage.of_plan(plan, name):
                told.append(f"plans/{name}.json {fault}; the command that it is of writes it anew")
        return found, told

    def failures(self) -> list[dict[str, Any]]:
        """Read every failure that is whole."""
        found = self._files("failures")
        return [f for identity, f in found if f and not damage.of_failure(f, identity)]

    def _files(self, folder: str) -> list[tuple[str, dict[str, Any] | None]]:
        """Read the files of a folder, by their names without the ending."""
        with self._reached():
            return [
                (name.removesuffix(".json"), self._read(self.path(folder, name)))
                for name in self.names(folder)
            ]

    def _set_aside(self, folder: str, identity: str, fault: str) -> str:
        name = f"{identity}.json"
        with self._reached():
            self.fs.makedirs(self.path("damaged"), exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                self.fs.mv(self.path(folder, name), self.path("damaged", name))
        return f"{folder}/{name} {fault}; set aside in damaged/, the run counts as not done"

    def logits(self, identity: str) -> npt.NDArray[np.float32] | None:
        """Read the logits of a run, (n, outputs); ``None`` if they are missing or damaged."""
        with self._reached():
            try:
                data = self.fs.cat_file(self.path("logits", f"{identity}.npy"))
            except FileNotFoundError:
                return None
            record = self._read(self.path("results", f"{identity}.json")) or {}
        if record.get("logits", told := hashlib.sha256(data).hexdigest()) != told:
            return None
        try:
            return np.asarray(parse_array(data), np.float32)
        except UnreadableError:
            return None

    def read(self, name: str) -> dict[str, Any] | None:
        """Read a table of JSON; an empty one if it is damaged, ``None`` if it is missing."""
        with self._reached():
            return self._read(self.path(name))

    def _read(self, path: str) -> dict[str, Any] | None:
        try:
            data = self.fs.cat_file(path, end=LARGE + 1)
            values = parse_json(data) if len(data) <= LARGE else {}
        except FileNotFoundError:
            return None
        except UnreadableError:
            return {}
        return values if isinstance(values, dict) else {}

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except NotADirectoryError:
            raise RunError(
                f"a folder for the study at {self.address}", "a file", "Choose another --out."
            ) from None
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise RunError(
                f"the study's folder {self.address}, readable and writable",
                f"{reason}{f': {error.filename}' if error.filename else ''}",
                "Bring it back, or free some space; finished runs are kept and not repeated.",
            ) from None


def _identities(names: Iterable[str]) -> set[str]:
    return {name.removesuffix(".json") for name in names}
