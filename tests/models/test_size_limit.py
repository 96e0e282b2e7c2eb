"""What a model may ask for beyond its weights, counted while transformers builds it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules import module

import tiny
from headstart.errors import ModelError
from headstart.models.checkpoints import size_limit
from headstart.models.checkpoints.loading import load_classifier
from headstart.models.checkpoints.size_limit import limited_to_weights
from headstart.models.head_choice import Target

TWO = Target(("no", "yes"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose weights hold 1,000 bytes, beside which 100 numbers may be new."""
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    monkeypatch.setattr(size_limit, "_MOST_NEW", 100)
    return tmp_path


def build(numbers: int, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return nn.Linear(numbers, 1, bias=False, **options)


def test_as_much_as_the_weights_hold_and_something_new_may_be_built(folder: Path) -> None:
    with limited_to_weights(str(folder)):
        build(1100)
    with limited_to_weights(str(folder)), pytest.raises(ValueError, match="1,000 bytes"):
        build(1101)


def test_buffers_count(folder: Path) -> None:
    with limited_to_weights(str(folder)), pytest.raises(ValueError, match="1,000 bytes"):
        build(600).register_buffer("more", torch.empty(501, device="meta"))


def test_what_is_shared_counts_once(folder: Path) -> None:
    with limited_to_weights(str(folder)):
        layer = build(1000)
        other = nn.Module()
        other.register_parameter("tied", layer.weight)


def test_the_tensors_of_the_weights_do_not_count(folder: Path) -> None:
    with limited_to_weights(str(folder)):
        build(1000).weight = nn.Parameter(torch.zeros(1, 1000))


def test_models_of_other_threads_do_not_count(folder: Path) -> None:
    with limited_to_weights(str(folder)):
        thread = threading.Thread(target=build, args=(5000,))
        thread.start()
        thread.join()
        build(1100)


def test_nothing_is_counted_any_more_afterwards(folder: Path) -> None:
    registered = (
        module._global_parameter_registration_hooks,
        module._global_buffer_registration_hooks,
    )
    before = [dict(hooks) for hooks in registered]
    with pytest.raises(ValueError, match="bytes"), limited_to_weights(str(folder)):
        build(1101)
    assert [dict(hooks) for hooks in registered] == before
    build(5000)


def test_without_weights_nothing_is_refused_here(tmp_path: Path) -> None:
    with limited_to_weights(str(tmp_path)):
        build(10**12)


@pytest.mark.parametrize("head", ["native", "linear"])
def test_a_checkpoint_is_refused_before_memory_is_taken(head: str, tmp_path: Path) -> None:
    folder = tiny.save_pretrained("bert", tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 10**10}))
    with pytest.raises(ModelError, match="bytes of the weights hold"):
        load_classifier(str(folder), TWO, head=head)
