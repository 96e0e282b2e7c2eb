"""A study's folder: whole files, locks that one process has, damage that is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_records as made
from headstart.errors import RunError
from headstart.study.running.locks import RunLocks
from headstart.study.store import FOLDERS, PlannedRun, Store

AXES = made.axes("full", 3)
RUN = PlannedRun("a1", AXES, {"model": "m"})
RESULT = made.result(AXES, 0.5).to_plain()
LOGITS = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    memory = f"memory://{tmp_path.name}"
    return Store(tmp_path / "x" if request.param == "folder" else memory).open(create=True)


def test_what_is_put_comes_back(store: Store) -> None:
    store.add_plan([RUN], {"baseline": "full"})
    store.put_failure(RUN, {"error": "first"})
    store.put(RUN, RESULT, LOGITS, {"rows": 5})
    again = Store(store.address).open()
    assert again.runs() == {"a1": RUN}
    assert again.finished() == {"a1"}
    assert again.failed() == set()
    record = {"id": "a1", "axes": RUN.axes, "result": RESULT, "measured": {"rows": 5}}
    assert again.results() == ([record], [])
    found = again.logits("a1")
    assert found is not None
    assert np.array_equal(found, LOGITS)
    assert again.logits("b2") is None


def test_a_study_killed_while_its_folder_was_made_can_begin_again(tmp_path: Path) -> None:
    """Killed with the first file written in part, then with that file and no folder below it."""
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / f".study.json.{'0a' * 8}.new").write_text("{")
    Store(folder).open(create=True)
    for name in FOLDERS:
        (folder / name).rmdir()
    store = Store(folder).open(create=True)
    store.put(RUN, RESULT, LOGITS)
    assert store.finished() == {"a1"}


@pytest.mark.parametrize("name", ["logs", "notes.txt", ".study.json.new"])
def test_a_folder_with_files_of_others_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(RunError, match="other files"):
        Store(tmp_path).open(create=True)


@pytest.mark.parametrize("place", [0, 40, -1])
def test_logits_that_have_changed_are_not_believed(store: Store, place: int) -> None:
    store.put(RUN, RESULT, LOGITS)
    data = bytearray(store.fs.cat_file(store.path("logits/a1.npy")))
    data[place] ^= 1
    store.write("logits/a1.npy", bytes(data))
    assert store.logits("a1") is None
    assert store.finished() == {"a1"}


def test_logits_of_a_record_without_their_digest_are_read(store: Store) -> None:
    store.put(RUN, RESULT, LOGITS)
    record = store.read("results/a1.json") or {}
    store.write("results/a1.json", {k: v for k, v in record.items() if k != "logits"})
    assert np.array_equal(store.logits("a1"), LOGITS)  # type: ignore[arg-type]
    header = b"\x93NUMPY\x01\x00v\x00"
    huge = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 9), }"
    store.write("logits/a1.npy", header + huge.ljust(117) + b"\n")
    assert store.logits("a1") is None


STRAY = (
    ".DS_Store", "a1.0.json~", "a1.json.bak", "#a1.0.json#", "Thumbs.db", "a1 (copy).json",
    "notes", "a1.x.json", "deep/a1.json", "a1.json/file",
)  # fmt: skip


@pytest.mark.parametrize("folder", ["locks", "results", "failures", "plans", "logits", "damaged"])
def test_files_of_others_in_a_studys_folders_are_not_looked_at(folder: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "x").open(create=True)
    store.add_plan([RUN], {})
    for name in STRAY:
        path = tmp_path / "x" / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("not the study's")
    locks = RunLocks(store)
    assert locks.held_by_others() == set()
    assert locks.take("a1") == 0
    locks.give_back("a1")
    assert (store.runs().keys(), store.results(), store.failures()) == ({"a1"}, ([], []), [])
    assert (store.finished(), store.failed()) == (set(), set())
    assert all((tmp_path / "x" / folder / name).is_file() for name in STRAY)


def test_a_plan_that_grows_keeps_its_runs(store: Store) -> None:
    other = PlannedRun("b2", RUN.axes, {})
    for runs in ([RUN], [RUN, other], [RUN]):
        store.add_plan(runs, {})
    assert store.runs().keys() == {"a1", "b2"}


def test_plans_come_in_the_order_in_which_they_were_added(store: Store) -> None:
    names = [f"{n}" for n in range(8)]
    for name in [*names, names[0]]:
        store.add_plan([RUN], {"baseline": name})
    assert [plan["baseline"] for plan in store.plans()] == names


def test_one_of_several_creates_a_file(store: Store) -> None:
    assert store.create("locks/a1.0.json", {"n": 1})
    assert not store.create("locks/a1.0.json", {"n": 2})
    assert store.read("locks/a1.0.json") == {"n": 1}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda record: "{" + json.dumps(record)[:30], "truncated"),
        (lambda record: json.dumps({**record, "id": "zz"}), "another run"),
        (lambda record: json.dumps({**record, "result": {**RESULT, "last": {"score": 7}}}), "7"),
        (lambda record: json.dumps({**record, "result": {**RESULT, "last": {}}}), "no score"),
        (lambda record: json.dumps({**record, "result": {**RESULT, "seed": 4}}), "another seed"),
        (lambda record: json.dumps({**record, "measured": {"l2": 0.1}}), "was changed"),
        (lambda record: json.dumps([record]), "truncated"),
    ],
)
def test_a_damaged_result_is_set_aside_and_named(store: Store, change: Any, told: str) -> None:
    store.put(RUN, RESULT, LOGITS)
    record = store.read("results/a1.json")
    store.write("results/a1.json", change(record).encode())
    found, damaged = store.results()
    assert found == []
    assert len(damaged) == 1
    assert "results/a1.json" in damaged[0]
    assert told in damaged[0]
    assert store.finished() == set()
    assert store.names("damaged") == ["a1.json"]


def test_folders_that_are_no_study_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not exist"):
        Store(tmp_path / "none").open()
    (tmp_path / "other").mkdir()
    with pytest.raises(RunError, match="which is none"):
        Store(tmp_path / "other").open()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(RunError, match="an empty folder"):
        Store(tmp_path / "other").open(create=True)
    assert (tmp_path / "other" / "file").exists()
    with pytest.raises(RunError, match="fsspec"):
        Store("nonsense://x")


def test_a_study_of_another_version_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "x").open(create=True)
    store.write("study.json", {"form": 99, "headstart": "9.9"})
    with pytest.raises(RunError, match=r"form 1; found .* of form 99, by headstart 9.9"):
        Store(tmp_path / "x").open()


def test_a_file_where_the_folder_should_be_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b")
    with pytest.raises(RunError, match=r"x\.csv; found a file\. Choose another --out"):
        Store(tmp_path / "x.csv").open(create=True)


def test_a_folder_that_vanishes_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path / "x").open(create=True)
    shutil.rmtree(tmp_path / "x")
    with pytest.raises(RunError, match="Bring it back"):
        store.finished()
    with pytest.raises(RunError, match="Bring it back"):
        store.put(RUN, RESULT, LOGITS)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"id": "b2", "axes": {}}', '{"id": "a1", "axes": {"task": "t"}}']
)
def test_a_damaged_failure_is_set_aside_and_named(store: Store, text: str) -> None:
    store.put_failure(RUN, {"error": "first"})
    assert store.results() == ([], [])
    store.write("failures/a1.json", text.encode())
    assert store.failures() == []
    _, damaged = store.results()
    assert len(damaged) == 1
    assert damaged[0].startswith("failures/a1.json is truncated")
    assert store.failed() == set()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text[:40], "truncated"),
        (lambda text: text.replace('"full"', '"bitfit"'), "was changed"),
        (lambda text: text.replace('"settings"', '"setings"'), "runs without what a run has"),
    ],
)
def test_a_damaged_plan_is_named_left_out_and_written_anew(
    store: Store, change: Any, told: str
) -> None:
    store.add_plan([RUN], {"baseline": "full"})
    (name,) = store.names("plans")
    whole = store.fs.cat_file(store.path("plans", name))
    store.write(f"plans/{name}", change(whole.decode()).encode())
    assert (store.plans(), store.runs()) == ([], {})
    _, damaged = store.results()
    assert len(damaged) == 1
    assert told in damaged[0]
    store.add_plan([RUN], {"baseline": "full"})
    assert store.results() == ([], [])
    assert store.runs() == {"a1": RUN}


def test_the_home_folder_may_be_written_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    store = Store("~/x").open(create=True)
    assert store.address == str(tmp_path / "x")
    assert (tmp_path / "x").is_dir()
