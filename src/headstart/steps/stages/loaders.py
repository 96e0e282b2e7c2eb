"""The data loaders of a stage: tokens through the backbone, or stored features."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from headstart.kernels.fuse import fused_layers
from headstart.models.evaluating import standing_statistics
from headstart.steps.callback import Callback
from headstart.steps.stages.types import TrainingArguments, TrainingData
from headstart.training.frozen.features import frozen_features
from headstart.training.frozen.first_token import first_token_only
from headstart.training.loader import BatchLoader
from headstart.training.machine.recompute import recomputed
from headstart.training.machine.runtime import Runtime


@contextlib.contextmanager
def stage_loaders(
    data: TrainingData,
    arguments: TrainingArguments,
    runtime: Runtime,
    callback: Callback,
    *,
    stored: bool,
) -> Iterator[tuple[BatchLoader, BatchLoader]]:
    """Open the loaders of a stage's training and validation rows.

    Where the backbone stands still (``stored``) its output is stored; else they are those of
    ``data``.
    """
    train, validation, split = data.train, data.validation, data.split
    split.model.to(runtime.device)
    if stored:
        with frozen_features(split, [train, validation], runtime) as features:
            if features is not None:
                yield features[0], features[1]
                return
        callback.message("The frozen features cannot be kept; computed in every epoch.")
    # Layers in fewer steps; those that are computed twice stay as they are.
    twice = arguments.gradient_checkpointing or runtime.device.type != "cpu"
    fused: contextlib.AbstractContextManager[Any] = (
        contextlib.nullcontext() if twice else fused_layers(split.model)
    )
    with first_token_only(split, train), fused:
        yield train, validation


def activation_memory(
    data: TrainingData, arguments: TrainingArguments, runtime: Runtime, *, frozen: bool
) -> contextlib.AbstractContextManager[None]:
    """Return the context in which a stage trains: a frozen backbone keeps no activations.

    Nor do its running statistics move.
    """
    if frozen:
        return standing_statistics(data.split.model)
    if not arguments.gradient_checkpointing:
        return contextlib.nullcontext()
    return recomputed(data.split, runtime.device)
