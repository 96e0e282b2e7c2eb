"""Files and folders are there as a whole or not at all, and nobody else's are written over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstart.errors import RunError
from headstart.files import writing
from headstart.files.writing import (
    even_modes,
    open_own,
    remove_left_over,
    whole_file,
    whole_folder,
    write_bytes,
    write_output,
    write_text,
)


def fill(folder: Path, text: str) -> None:
    with whole_folder(folder) as new:
        (new / "deep").mkdir()
        (new / "deep" / "file").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_comes_whole_and_replaces_the_one_before(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "x"
    for text in ("one", "two"):
        fill(folder, text)
        assert (folder / "deep" / "file").read_text() == text
        assert names(folder.parent) == ["x"]


def test_a_failure_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    fill(folder, "one")
    with pytest.raises(KeyboardInterrupt), whole_folder(folder) as new:
        (new / "half").touch()
        raise KeyboardInterrupt
    assert names(tmp_path) == ["x"]
    assert names(folder) == ["deep"]


def test_a_folder_comes_back_if_the_new_one_cannot_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "x", "one")
    replace = Path.replace

    def fail(path: Path, target: Path) -> Path:
        if (path / "deep" / "file").read_text() == "two":
            raise OSError(5, "Input/output error")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="Input"):
        fill(tmp_path / "x", "two")
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x" / "deep" / "file").read_text() == "one"


def test_a_folder_that_somebody_has_made_meanwhile_is_kept(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="meanwhile"), whole_folder(tmp_path / "x", replace=False):
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "theirs").touch()
    assert names(tmp_path / "x") == ["theirs"]
    assert names(tmp_path) == ["x"]


def test_everything_is_on_the_disk_before_it_is_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    moved: list[Path] = []
    replace = Path.replace

    def move(path: Path, target: Path) -> Path:
        inodes = {p.stat().st_ino for p in (path, *path.rglob("*"))}
        assert inodes <= synced
        moved.append(target)
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", lambda fd: synced.add(os.fstat(fd).st_ino))
    monkeypatch.setattr(Path, "replace", move)
    fill(tmp_path / "x", "one")
    write_text(tmp_path / "file", "text")
    assert moved == [tmp_path / "x", tmp_path / "file"]
    assert tmp_path.stat().st_ino in synced


def test_a_text_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_: int) -> None:
        raise ZeroDivisionError

    path = tmp_path / "x.json"
    write_text(path, "old ä\r\n")
    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(ZeroDivisionError):
        write_text(path, "new")
    assert path.read_bytes() == "old ä\r\n".encode()
    monkeypatch.undo()
    write_text(path, "new")
    assert names(tmp_path) == ["x.json"]
    assert path.read_text() == "new"


def test_two_who_write_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with whole_file(path) as one, whole_file(path) as two:
        one.write(b"one")
        two.write(b"two")
        assert len({name for name in names(tmp_path) if name.startswith(".x.")}) == 2
    assert path.read_bytes() == b"one"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("links", [True, False])
def test_what_has_come_meanwhile_is_not_replaced_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    path = tmp_path / "x"
    with pytest.raises(FileExistsError), whole_file(path, replace=False) as file:
        file.write(b"ours")
        path.write_text("theirs")
    assert path.read_text() == "theirs"
    with pytest.raises(RunError, match=r"exists.*--overwrite"):
        write_output(path, b"ours")
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        write_bytes(path, b"ours", replace=False)
    path.unlink()
    write_bytes(path, b"ours", replace=False)
    assert path.read_bytes() == b"ours"
    assert names(tmp_path) == ["x"]


def test_a_name_that_is_guessed_right_is_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing.secrets, "token_hex", lambda _: "0" * 16)
    theirs = tmp_path / "theirs"
    theirs.write_text("years of work")
    for name in (".x.0000000000000000.new", ".d.0000000000000000.new"):
        (tmp_path / name).symlink_to(theirs)
    with pytest.raises(FileExistsError):
        write_text(tmp_path / "x", "ours")
    with pytest.raises(FileExistsError), whole_folder(tmp_path / "d"):
        pass
    assert theirs.read_text() == "years of work"


def test_a_link_is_replaced_and_never_written_through(tmp_path: Path) -> None:
    theirs, path = tmp_path / "theirs", tmp_path / "x"
    theirs.write_text("years of work")
    path.symlink_to(theirs)
    with pytest.raises(OSError, match=r"symbolic|exists"):
        open_own(path)
    write_text(path, "ours")
    assert (theirs.read_text(), path.read_text()) == ("years of work", "ours")
    assert not path.is_symlink()


@pytest.fixture(params=[0o022, 0o027])
def usual(request: pytest.FixtureRequest) -> Iterator[int]:
    """The mode of a new file under a umask."""
    before = os.umask(request.param)
    yield 0o666 & ~request.param
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_modes_are_those_of_any_new_file(tmp_path: Path, usual: int) -> None:
    def mode(path: Path) -> int:
        return path.stat().st_mode & 0o777

    with whole_folder(tmp_path / "d") as new:
        (new / "weights").touch(mode=0o600)
        (new / "deep").mkdir()
        (new / "deep" / "more").touch(mode=0o600)
    assert {mode(p) for p in (tmp_path / "d").rglob("*") if p.is_file()} == {usual}
    assert mode(tmp_path / "d") == mode(tmp_path / "d" / "deep")
    write_text(tmp_path / "x", "ours")
    assert mode(tmp_path / "x") == usual
    (tmp_path / "x").chmod(0o640)  # the user's own choice
    write_text(tmp_path / "x", "again")
    assert mode(tmp_path / "x") == 0o640
    (tmp_path / "d" / "link").symlink_to(tmp_path / "x")
    even_modes(tmp_path / "d")
    assert mode(tmp_path / "x") == 0o640


def test_only_what_crashed_writers_have_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    kept = ["x.new", ".x.new", ".x.0123.new", ".x.0123456789abcdef.newer"]
    for name in (*kept, ".x.0123456789abcdef.new"):
        (tmp_path / "deep" / name).touch()
    (tmp_path / ".d.0123456789abcdef.new" / "deeper").mkdir(parents=True)
    remove_left_over(tmp_path)
    assert names(tmp_path) == ["deep"]
    assert names(tmp_path / "deep") == sorted(kept)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="which is none"):
        write_output(tmp_path, b"", overwrite=True)
    if Path("/dev/null").exists():
        with pytest.raises(RunError, match="which is none"):
            write_output(Path("/dev/null"), b"", overwrite=True)


def test_a_long_name_leaves_room_for_the_mark(tmp_path: Path) -> None:
    write_text(tmp_path / ("ä" * 120), "ours")
    assert names(tmp_path) == ["ä" * 120]
