"""A model is no larger than its weights: its configuration alone says how much memory it takes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from headstart.models.checkpoints.source import CONFIG

_MOST_NEW = 100_000_000
"""Numbers of a head, a pooler or buffers that weights need not hold."""


@contextmanager
def limited_to_weights(folder: str) -> Iterator[None]:
    """Refuse a model that asks for far more numbers than its weights hold, while it is built.

    transformers builds it on torch's device without memory and then reads the weights, so what
    counts along costs nothing, and is in time. Inside the block, building such a model raises
    ``ValueError``.
    """
    files = list(Path(folder).glob("*.safetensors"))
    held = sum(path.stat().st_size for path in files)  # a number takes a byte or more
    thread, asked, seen = threading.get_ident(), 0, set[int]()

    def add(_module: nn.Module, _name: str, tensor: torch.Tensor | None) -> None:
        nonlocal asked
        if tensor is None or not tensor.is_meta or threading.get_ident() != thread:
            return
        asked += 0 if id(tensor) in seen else tensor.numel()
        seen.add(id(tensor))
        if files and asked > held + _MOST_NEW:
            raise ValueError(f"{CONFIG} asks for more than the {held:,} bytes of the weights hold")

    parameters = register_module_parameter_registration_hook(add)
    with parameters, register_module_buffer_registration_hook(add):
        yield
