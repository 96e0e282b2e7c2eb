"""Whether the tests notice when the code is wrong: one deliberate breakage after the other.

``breakages.yaml`` holds them: what is broken, the file, a text that occurs in it once, what takes
its place, and the tests next to it. Each is put into a copy of the tree, those tests run as far as
the first failure, and the copy is put right again. A breakage that no test notices is a fault of
the tests: write the test that fails with it.

    python benchmarks/breakages.py                    # all of them, with what `make test` selects
    python benchmarks/breakages.py --only cache lora  # those whose name holds one of the words
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import runpy
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_suffix(".yaml")
LIBRARIES = ("torch", "transformers", "peft", "accelerate", "pandas", "scipy.stats", "pytest")
"""Imported once, before the processes with the tests are forked off; none of them is broken."""
LEFT_OUT = (".git", ".venv", "site", "dist", "build", "__pycache__", ".*_cache", "shared")
SELECTED = "not all"
"""What `make test` selects."""


@dataclass(frozen=True)
class Breakage:
    """One deliberate fault.

    Args:
        what: What is wrong then.
        file: In which file, from the root.
        old: A text that occurs in it once.
        new: What takes its place.
        tests: Files or folders whose tests should notice.
    """

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def faults(self, root: Path = ROOT) -> list[str]:
        """Say why it cannot be put in; nothing if it can."""
        path = root / self.file
        count = path.read_text(encoding="utf-8").count(self.old) if path.is_file() else 0
        found = [f"its text occurs {count} times in {self.file}"] if count != 1 else []
        return found + [f"there is no {test}" for test in self.tests if not (root / test).exists()]


def read_list() -> list[Breakage]:
    """Return all breakages."""
    rows: list[dict[str, Any]] = yaml.safe_load(LIST.read_text(encoding="utf-8"))
    return [Breakage(**{**row, "tests": tuple(row["tests"].split())}) for row in rows]


class _First:
    """Takes note of the first test that fails, for pytest."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self._notes.exists():
            self._notes.write_text(json.dumps(report.nodeid), encoding="utf-8")

    def pytest_collectreport(self, report: Any) -> None:
        self.pytest_runtest_logreport(report)


def run_tests(root: Path, tests: tuple[str, ...], selected: str, notes: Path) -> str | None:
    """Run tests of a tree in a process of their own.

    The name of the first test that fails, which goes to ``notes``, is returned; ``None`` where all
    pass. Raises ``RuntimeError`` if there was no test to run.
    """
    notes.unlink(missing_ok=True)
    process = os.fork()
    if process == 0:
        code = 70
        try:
            code = _inside(root, tests, selected, notes)
        except BaseException:  # noqa: BLE001  whatever it was, it is told
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code in (4, 5, 70):
        said = notes.with_suffix(".txt").read_text(encoding="utf-8")
        raise RuntimeError(f"pytest ended with {code} on {' '.join(tests)}\n{said[-2000:]}")
    if code == 0:
        return None
    return str(json.loads(notes.read_text(encoding="utf-8"))) if notes.exists() else "a crash"


def _inside(root: Path, tests: tuple[str, ...], selected: str, notes: Path) -> int:
    import pytest

    os.chdir(root)
    said = os.open(notes.with_suffix(".txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    options = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--assert", "plain"]
    options += ["--rootdir", str(root), "-m", selected]
    return int(pytest.main([*options, *tests], plugins=[_First(notes)]))


@contextmanager
def copied_tree() -> Iterator[Path]:
    """Copy the tree, and let Python find the copy; it goes away in the end."""
    folder = Path(tempfile.mkdtemp(prefix="breakages-"))
    try:
        root = folder / "tree"
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*LEFT_OUT))
        (folder / "tmp").mkdir()
        tempfile.tempdir = None
        os.environ |= {"PYTHONPATH": str(root / "src"), "TMPDIR": str(folder / "tmp")}
        sys.path[:0] = [str(root / "src"), str(root / "tests")]
        yield root
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def put_in(breakage: Breakage, root: Path, stamps: Iterator[int]) -> Iterator[None]:
    """Break a tree for as long as the block lasts.

    ``stamps`` are times that no compiled file can have seen.
    """
    path = root / breakage.file
    sound = path.read_text(encoding="utf-8")
    _write(path, sound.replace(breakage.old, breakage.new), next(stamps))
    try:
        yield
    finally:
        _write(path, sound, next(stamps))


def _write(path: Path, text: str, stamp: int) -> None:
    path.write_text(text, encoding="utf-8")
    os.utime(path, (stamp, stamp))


def main() -> int:
    """Put in each breakage and tell which go unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=[""], help="words of their names")
    parser.add_argument("--select", default=SELECTED, help="markers of the tests that run")
    parser.add_argument("--unbroken", action="store_true", help="first see that all tests pass")
    arguments = parser.parse_args()
    chosen = [b for b in read_list() if any(word in b.what for word in arguments.only)]
    stale = [f"{b.what}: {fault}" for b in chosen for fault in b.faults()]
    if stale:
        print("cannot be put in; renew them in", LIST.name, *stale, sep="\n  ")
        return 2
    stamps, missed = itertools.count(int(time.time()) + 1), []
    with copied_tree() as root:
        notes = root.parent / "first.json"
        runpy.run_path(str(root / "tests" / "conftest.py"))  # no network, one thread
        for name in LIBRARIES:
            importlib.import_module(name)
        if arguments.unbroken:
            tests = tuple(dict.fromkeys(test for b in chosen for test in b.tests))
            if failed := run_tests(root, tests, arguments.select, notes):
                print("fails without any breakage:", failed)
                return 2
        for number, breakage in enumerate(chosen, 1):
            began = time.perf_counter()
            with put_in(breakage, root, stamps):
                found = run_tests(root, breakage.tests, arguments.select, notes)
            took = f"{time.perf_counter() - began:.0f} s"
            told = f"noticed by {found}" if found else "NOT NOTICED"
            print(f"{number}/{len(chosen)} {breakage.what}: {told} ({took})", flush=True)
            missed += [] if found else [breakage.what]
    print(f"{len(chosen) - len(missed)} of {len(chosen)} noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
