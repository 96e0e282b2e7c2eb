"""Activations computed twice instead of kept: less memory for about a third more time.

A layer's activations are dropped in the forward pass and computed anew in the backward pass (Chen
et al. 2016, "Training Deep Nets with Sublinear Memory Cost"), with the same dropout.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from headstart.errors import ModelError
from headstart.kernels.mode import twice_the_same
from headstart.models.backbone import SplitModel


def require_recomputable(split: SplitModel) -> None:
    """Refuse a model whose layers cannot be computed twice.

    Raises ``ModelError`` if its class does not support gradient checkpointing.
    """
    layers = any(isinstance(m, GradientCheckpointingLayer) for m in split.base.modules())
    if not layers or not getattr(split.base, "supports_gradient_checkpointing", False):
        raise ModelError(
            "a model that supports gradient checkpointing beside --gradient-checkpointing",
            f"{type(split.base).__name__}, which does not",
            "Drop it; a smaller --micro-batch-size or --max-length saves memory too.",
        )


@contextlib.contextmanager
def recomputed(split: SplitModel, device: torch.device) -> Iterator[None]:
    """Compute the encoder layers' activations anew in the backward pass.

    The model is one that ``require_recomputable`` accepts.
    """
    base: Any = split.base
    settings: dict[str, Any] = {"use_reentrant": False}
    if device.type == "cpu":
        settings["context_fn"] = twice_the_same
    caches = vars(base.config).get("use_cache")
    if caches:
        base.config.use_cache = False  # encoders cache nothing, and transformers would warn of it
    _switch(base, "enable")(settings)
    # Only the other variant needs embeddings with a gradient, which costs a frozen backbone time.
    base.disable_input_require_grads()
    try:
        yield
    finally:
        _switch(base, "disable")()
        if caches:
            base.config.use_cache = caches


def _switch(base: Any, what: str) -> Any:
    """Return a method of transformers by its present name, or the one before 5.24."""
    now, before = (f"{kind}_checkpointing_{what}" for kind in ("activation", "gradient"))
    return getattr(base, now, None) or getattr(base, before)
