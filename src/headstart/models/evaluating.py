"""A model in evaluation mode for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextlib.contextmanager
def standing_statistics(model: nn.Module) -> Iterator[None]:
    """Keep the running statistics of batch norms as they are while the model trains.

    Such norms are in evaluation mode throughout.
    """
    norms: list[Any] = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    before = [norm.training for norm in norms]
    for norm in norms:
        norm.eval()
        norm.train = lambda _mode=True, norm=norm: norm
    try:
        yield
    finally:
        for norm, mode in zip(norms, before, strict=True):
            del norm.train
            norm.train(mode)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and afterwards each module into the mode it had."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in before.items():
            module.training = mode
