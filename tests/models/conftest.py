"""Tiny checkpoints, each written once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import GPT2Config, GPT2Model

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


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder, whose native head reads the last token and has no bias."""
    folder = tmp_path_factory.mktemp("gpt2")
    model: Any = GPT2Model(GPT2Config(vocab_size=tiny.VOCABULARY, n_embd=32, n_layer=2, n_head=4))
    model.save_pretrained(folder)
    return folder
