"""Tiny checkpoints, each written once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a maker of checkpoints, each written once; they must not be changed."""
    made: dict[tuple[str, bool], Path] = {}

    def make(family: str = "bert", *, head: bool = False) -> Path:
        if (family, head) not in made:
            folder = tmp_path_factory.mktemp("checkpoint")
            made[family, head] = tiny.save_pretrained(family, folder, head=head)
        return made[family, head]

    return make


@pytest.fixture
def folder(checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy of a BERT checkpoint without a head, to be damaged."""
    return Path(shutil.copytree(checkpoint(), tmp_path / "bert"))
