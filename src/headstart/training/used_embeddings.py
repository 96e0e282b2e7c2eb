"""Finds out whether a stage can train a part of its embedding table in place of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from headstart.kernels.rows import LEAST_ROWS
from headstart.kernels.vocabulary import UsedRows
from headstart.training.loader import BatchLoader
from headstart.training.machine.runtime import Runtime

LARGEST_SHARE = 0.8
"""Share of the rows from which on a part is not worth it."""


def used_rows(
    model: nn.Module, tuner: Mapping[str, nn.Parameter], loader: BatchLoader, runtime: Runtime
) -> UsedRows | None:
    """Make a table of the token embeddings that a stage's rows read.

    ``None`` where the whole has to train, as on a GPU or with several processes, or hardly any row
    would be left out.
    """
    if runtime.device.type != "cpu" or runtime.world > 1 or not tuner:
        return None
    module: Any = _token_embedding(model)
    trains = module is not None and any(p is module.weight for p in tuner.values())
    ids = loader.vocabulary() if trains and len(module.weight) >= LEAST_ROWS else None
    if ids is None or len(ids) > LARGEST_SHARE * len(module.weight):
        return None
    return UsedRows(module.weight, torch.from_numpy(ids))


def _token_embedding(model: Any) -> nn.Embedding | None:
    """Return the token embeddings if they are looked up in the plain way, at one place."""
    known = [m for m in (model, *model.children()) if hasattr(m, "get_input_embeddings")]
    try:
        module = known[0].get_input_embeddings() if known else None
    except NotImplementedError:
        return None
    if type(module) is not nn.Embedding or "forward" in vars(module):
        return None
    if module.max_norm is not None or module.scale_grad_by_freq or module.sparse:
        return None
    holders = [
        m for m in model.modules() if any(p is module.weight for p in m._parameters.values())
    ]
    return module if len(holders) == 1 else None
