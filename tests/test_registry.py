"""A file is an item: listed without being imported, found by name, extended by plug-ins."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

import headstart
import headstart.plugins.registry
from headstart.errors import ConfigError
from headstart.plugins.registry import Registry
from headstart.tuners import TUNERS


@pytest.fixture
def things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[Any]:
    folder = tmp_path / "some_things"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "_shared.py").write_text("raise RuntimeError('not an item')")
    (folder / "red.py").write_text('"""Red things.\n\nMore of them."""\nITEM = "r"\n')
    (folder / "blue.py").write_text('"""Blue."""\nraise RuntimeError("imported")\n')
    plugins = {"some_things": [EntryPoint("green", "sys:byteorder", "some_things")]}
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(headstart.plugins.registry, "entry_points", lambda group: plugins[group])
    yield Registry("thing", "some_things", "ITEM")
    for name in [n for n in sys.modules if n.split(".")[0] == "some_things"]:
        del sys.modules[name]


def test_files_and_plugins_are_items(things: Registry[Any]) -> None:
    assert list(things) == ["blue", "green", "red"]
    assert len(things) == 3
    assert "red" in things
    assert "green" in things
    assert "_shared" not in things
    assert 3 not in things


def test_listing_imports_nothing(things: Registry[Any]) -> None:
    assert things.summary("red") == "Red things."
    assert things.summary("blue") == "Blue."
    assert things.summary("green") == "plug-in sys:byteorder"
    assert not [name for name in sys.modules if name.startswith("some_things.")]


def test_an_item_is_loaded_by_its_name(things: Registry[Any]) -> None:
    assert things.get("red") == "r"
    assert things.get("green") == sys.byteorder
    with pytest.raises(RuntimeError, match="imported"):
        things.get("blue")


def test_an_unknown_name_is_told_with_a_suggestion(things: Registry[Any]) -> None:
    with pytest.raises(ConfigError) as error:
        things.get("rad")
    assert error.value.expected == "the name of a thing"
    assert error.value.found == "'rad'"
    assert "'red'" in error.value.fix


def test_every_file_of_the_tuners_is_registered() -> None:
    folder = Path(headstart.__file__).parent / "tuners"
    files = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert set(TUNERS) == files
    assert len(TUNERS) == len(files) >= 6
    assert all(isinstance(TUNERS.get(name), type) for name in TUNERS)
