"""Folders are there as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headstart.models.folders import whole_folder


def fill(folder: Path, text: str) -> None:
    with whole_folder(folder) as new:
        (new / "deep").mkdir()
        (new / "deep" / "file").write_text(text)


def test_a_folder_comes_whole_and_replaces_the_one_before(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "x"
    for text in ("one", "two"):
        fill(folder, text)
        assert (folder / "deep" / "file").read_text() == text
        assert [path.name for path in folder.parent.iterdir()] == ["x"]


def test_a_failure_or_a_crash_before_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    fill(folder, "one")
    with pytest.raises(KeyboardInterrupt), whole_folder(folder) as new:
        (new / "half").touch()
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert [path.name for path in folder.iterdir()] == ["deep"]
    (tmp_path / ".x.new").mkdir()
    (tmp_path / ".x.new" / "half").touch()
    fill(folder, "two")
    assert [path.name for path in folder.iterdir()] == ["deep"]


def test_everything_is_on_the_disk_before_it_is_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    moved: list[Path] = []
    replace = Path.replace

    def move(path: Path, target: Path) -> Path:
        inodes = {p.stat().st_ino for p in (path, *path.rglob("*"))}
        assert inodes <= synced
        moved.append(path)
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", lambda fd: synced.add(os.fstat(fd).st_ino))
    monkeypatch.setattr(Path, "replace", move)
    fill(tmp_path / "x", "one")
    assert moved == [tmp_path / ".x.new"]
    assert tmp_path.stat().st_ino in synced
