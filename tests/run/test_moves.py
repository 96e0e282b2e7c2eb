"""The last moves of a run: no crash leaves less than a whole run, and nobody else's run is lost."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.cli import main
from headstart.config import FitConfig
from headstart.errors import ConfigError, HeadstartError, RunError
from headstart.models.checkpoints import folders
from headstart.models.checkpoints.folders import move_to_place, recover, run_digest, working_folder
from headstart.steps.output.folder import RunFolder
from tiny_runs import Watch, inputs

Tree = dict[str, bytes]
DESTRUCTIVE = ("replace", "rename", "unlink", "rmdir", "mkdir", "link", "open", "fsync")


class CrashError(BaseException):
    """Stands for a machine that stops: nothing after it is carried out, no clean-up either."""


def crash_at(patch: pytest.MonkeyPatch, number: int) -> Callable[[], bool]:
    """Stop at a call that changes the disk, counted from 0; say whether it was reached."""
    done = 0

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*args: Any, **more: Any) -> Any:
            nonlocal done
            done += 1
            if done > number:
                raise CrashError
            return call(*args, **more)

        return made

    for name in DESTRUCTIVE:
        patch.setattr(os, name, wrapped(getattr(os, name)))
    return lambda: done > number


def tree(folder: Path) -> Tree:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def small_run(folder: Path, seed: int, status: str = "done") -> Tree:
    """Write what counts as a run, so that every crash point can be tried."""
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights").write_text(f"weights of {seed}")
    (folder / "settings.yaml").write_text(f"seed: {seed}\n")
    (folder / "result.json").write_text(json.dumps({"status": status, "seed": seed}))
    return tree(folder)


def unfinished_moves(folder: Path, *, old: bool = True) -> tuple[Path, Tree, Tree]:
    """Write a run that is done but for its moves, beside the one that it replaces."""
    out = folder / "run"
    before = small_run(out, 0) if old else {}
    after = small_run(working_folder(out), 1)
    work = working_folder(out)
    (work / "checkpoints" / "stage1").mkdir(parents=True)
    (work / ".replaces").write_text(run_digest(out))
    (work / ".lock").touch()
    (work / ".model.0123456789abcdef.new").mkdir()
    return out, before, after


def whole(place: Path, *runs: Tree) -> bool:
    return place.is_dir() and any(run.items() <= tree(place).items() for run in runs)


@pytest.mark.parametrize("old", [True, False])
def test_every_crash_point_leaves_a_whole_run_and_heals(tmp_path: Path, *, old: bool) -> None:
    crashed, seen = 0, set[frozenset[str]]()
    for number in range(200):
        folder = tmp_path / str(number)
        out, before, after = unfinished_moves(folder, old=old)
        work = working_folder(out)
        with pytest.MonkeyPatch.context() as patch:
            reached = crash_at(patch, number)
            try:
                move_to_place(work, out)
            except CrashError:
                crashed += 1
            ended = not reached()
        seen.add(frozenset(names(folder)))
        assert whole(out, before, after) or whole(work, after)
        if before and not whole(out, after):  # the old one is not touched before the new is there
            assert whole(out, before) or whole(work / ".replaced", before)
        recover(out)
        assert names(folder) == {"run"}
        assert tree(out) == after
        if ended:
            break
    assert crashed > 5
    assert len(seen) == (3 if old else 2), "every state was met"


def test_an_error_in_the_second_move_takes_back_the_first(tmp_path: Path) -> None:
    out, before, after = unfinished_moves(tmp_path)
    replace = Path.replace

    def fail(path: Path, target: Path) -> Path:
        if path.name == "run.partial":
            raise OSError(5, "Input/output error")
        return replace(path, target)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="Input"):
        patch.setattr(Path, "replace", fail)
        move_to_place(working_folder(out), out)
    assert tree(out) == before
    recover(out)
    assert tree(out) == after


def test_a_run_that_another_process_is_about_to_move_is_left_to_it(tmp_path: Path) -> None:
    out, before, _ = unfinished_moves(tmp_path)
    lock = folders.take(working_folder(out))
    if lock is None:
        pytest.skip("no locks here")
    recover(out)
    assert tree(out) == before
    lock.close()
    recover(out)
    assert names(tmp_path) == {"run"}


@pytest.mark.parametrize("name", ["", ".", "..", "org/name", "run", "run/model", "nowhere"])
def test_looking_for_half_done_moves_changes_nothing_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_run(tmp_path / "run", 0)
    small_run(tmp_path / "run.partial", 1, status="failed")
    (tmp_path / "run.replaced").mkdir()
    before = tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    recover(Path(name))
    assert tree(tmp_path) == before


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs and what they were made from."""
    folder = tmp_path_factory.mktemp("made")
    for seed in (0, 1):
        hs.fit(**inputs(folder, strategy="full(steps=1)", out=folder / f"run{seed}", seed=seed))
    return folder


@pytest.fixture
def settings(made: Path, tmp_path: Path) -> dict[str, Any]:
    return inputs(made, strategy="full(steps=1)", out=tmp_path / "run", seed=1)


def place(made: Path, out: Path, state: str) -> None:
    """Bring about a state in which a crash, or a user, can leave the disk."""
    work = working_folder(out)
    if state != "nothing":
        shutil.copytree(made / "run0", out)
    if state != "tidied":
        shutil.copytree(made / "run1", work)
        mine = state in ("before", "between")
        (work / ".replaces").write_text(run_digest(out) if mine else run_digest(made / "run1"))
    if state == "between":
        out.replace(work / ".replaced")
    if state == "tidied":
        shutil.rmtree(out)
        shutil.copytree(made / "run1", out)
        shutil.copytree(made / "run0", out / ".replaced")


STATES = ("nothing", "before", "between", "tidied")


def evaluate(out: Path, rows: Path) -> None:
    assert main(["evaluate", str(out), "--data", str(rows), "--device", "cpu"]) == 0


def predict(out: Path, rows: Path) -> None:
    words = ["predict", str(out), "--data", str(rows), "--device", "cpu"]
    assert main([*words, "--out", str(out.parent.parent / f"{out.parent.name}.csv")]) == 0


def resume(out: Path, rows: Path) -> None:
    assert rows.exists()
    assert main(["fit", "--resume", "--out", str(out)]) == 2


def take_head(out: Path, _rows: Path) -> None:
    assert hs.Head.from_pretrained(out).labels == ("bad", "good")


def name_model(out: Path, _rows: Path) -> None:
    from headstart.models.checkpoints.source import locate

    assert locate(str(out / "model")) == str(out / "model")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("reader", [evaluate, predict, resume, take_head, name_model])
def test_whoever_comes_next_puts_it_right(
    reader: Callable[[Path, Path], None], state: str, made: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    place(made, out, state)
    reader(out, made / "validation.csv")
    assert names(tmp_path) == {"run"}
    assert tree(out) == tree(made / "run1")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    "how", [{}, {"overwrite": True}, {"resume": True}], ids=["plain", "overwrite", "resume"]
)
def test_a_dry_run_says_what_the_run_would_and_changes_nothing(
    how: dict[str, bool], state: str, made: Path, settings: dict[str, Any]
) -> None:
    out = settings["out"]
    place(made, out, state)
    before, told = tree(out.parent), list[str]()
    for call in (hs.plan, hs.fit):
        try:
            call(**settings | how)
        except HeadstartError as error:
            told.append(str(error))
        else:
            told.append("goes on")
        if call is hs.plan:
            assert tree(out.parent) == before
    assert told[0] == told[1]
    assert (told[0] == "goes on") == ("overwrite" in how)
    assert names(out.parent) == {"run"}


@pytest.mark.parametrize(
    "how", [{}, {"overwrite": True}, {"resume": True}], ids=["plain", "overwrite", "resume"]
)
def test_a_run_that_it_was_not_told_to_replace_is_never_removed(
    how: dict[str, bool], made: Path, settings: dict[str, Any]
) -> None:
    out = settings["out"]
    place(made, out, "another")
    before = tree(out.parent)
    for call in (hs.plan, hs.fit):
        with pytest.raises(RunError, match="Move one of them") as error:
            call(**settings | how)
        assert "run.partial" in error.value.found
    assert hs.load(out).predict("a b c")
    assert tree(out.parent) == before


def test_a_run_that_comes_to_the_place_while_another_trains_is_kept(
    made: Path, settings: dict[str, Any]
) -> None:
    out = settings["out"]

    def come(_attempt: int, _step: int) -> None:
        shutil.copytree(made / "run0", out)

    with pytest.raises(RunError, match="nothing is lost"):
        hs.fit(callback=Watch(come), **settings)
    assert tree(out) == tree(made / "run0")
    out.rename(out.with_name("theirs"))
    recover(out)
    assert hs.RunResult.read(out / "result.json").seed == 1
    assert names(out.parent) == {"run", "theirs"}


@pytest.mark.parametrize("how", [{}, {"overwrite": True}])
def test_a_folder_that_is_no_run_is_not_worked_in(
    how: dict[str, bool], settings: dict[str, Any]
) -> None:
    work = working_folder(settings["out"])
    work.mkdir()
    (work / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="not a run"):
        hs.fit(**settings | how)
    assert names(work) == {"thesis.txt"}


def test_what_a_crash_before_the_settings_leaves_is_in_nobodys_way(
    settings: dict[str, Any],
) -> None:
    work = working_folder(settings["out"])
    work.mkdir()
    (work / ".lock").touch()
    (work / ".settings.yaml.0123456789abcdef.new").touch()
    hs.fit(**settings)
    assert names(work.parent) == {"run"}


def test_a_lock_that_is_a_link_is_not_written_through(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    work = working_folder(settings["out"])
    work.mkdir()
    theirs = tmp_path / "theirs"
    theirs.write_text("years of work")
    (work / ".lock").symlink_to(theirs)
    with pytest.raises((RunError, OSError)):
        hs.fit(**settings)
    assert theirs.read_text() == "years of work"


@pytest.fixture
def linked(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "large disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "large disk" / "run")
    yield tmp_path / "run"


def test_a_run_goes_where_a_link_points(settings: dict[str, Any], linked: Path) -> None:
    for more in ({}, {"overwrite": True}):
        hs.fit(**settings | more)
        assert linked.is_symlink()
        assert names(linked.parent / "large disk") == {"run"}


def test_a_folder_that_cannot_be_moved_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "mounted")
    with pytest.raises(ConfigError, match="mounted/run"):
        RunFolder(tmp_path / "mounted").check(FitConfig())


def test_a_plan_leaves_a_run_whose_moves_are_unfinished_as_it_is(tmp_path: Path) -> None:
    out, _, _ = unfinished_moves(tmp_path)
    given = inputs(tmp_path, strategy="full(steps=1)", out=tmp_path / "other")
    before = tree(tmp_path)
    with pytest.raises(HeadstartError):  # its model is no real one
        hs.plan(**given | {"model": str(out)})
    rows = ["--model", str(out), "--train", given["train"], "--text", "sentence", "--dry-run"]
    for words in (["study", "run", "--strategies", "ft"], ["analyze", "drift"]):
        assert main([*words, *rows]) == 2
    assert tree(tmp_path) == before
