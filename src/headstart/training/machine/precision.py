"""Whether a model's own code computes in the chosen precision; where it does not, fp32 is taken.

Under autocast matrix products give bf16, and some families' code then mixes it with fp32 or fills
in numbers that bf16 does not have. No list of families says which: it depends on the release of
transformers and on the length of the rows. So a batch is tried before training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from headstart.models.backbone import BufferSnapshot, SplitModel
from headstart.models.checkpoints.source import short
from headstart.models.evaluating import evaluating
from headstart.training.loader import BatchLoader
from headstart.training.machine.runtime import Runtime

_FAULTS = (RuntimeError, ValueError, TypeError)
"""What torch and model code raise for numbers of types that do not go together."""


def settle_precision(
    split: SplitModel, loaders: Sequence[BatchLoader], runtime: Runtime, *, training: bool = True
) -> str:
    """Switch a runtime to fp32 if the model cannot compute in its precision.

    The longest of all rows and the shortest beside it go through the model and, where it will be
    trained, back. Neither the model nor random numbers tell that this was tried. The runtime is
    changed in place. Returns why fp32 was taken, as a sentence; empty if the precision stays.
    """
    if runtime.precision == "fp32":
        return ""
    loader = max(loaders, key=lambda one: one.lengths.max(initial=0))
    rows = np.unique([loader.lengths.argmax(), loader.lengths.argmin()])
    model, asked = split.model, runtime.precision
    device, buffers = next(model.parameters()).device, BufferSnapshot(split)
    model.to(runtime.device)
    try:
        finite = _try(model, loader.batch(rows), runtime, training=training)
        fault = "" if finite else "its output is no finite number"
    except torch.OutOfMemoryError:
        fault = ""  # is told where it happens in training, with what to do about it
    except _FAULTS as error:
        fault = short(error)
    finally:
        model.to(device)
        buffers.restore()
    if not fault:
        return ""
    reason = f"the code of {type(split.base).__name__} fails in {asked}: {fault}"
    runtime.use_fp32(reason)
    return f"Computed in fp32, not in {asked}: {reason}."


def _try(
    model: nn.Module, batch: dict[str, torch.Tensor], runtime: Runtime, *, training: bool
) -> bool:
    """Compute a batch and maybe its gradients; tell whether the logits are finite."""
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    with runtime.own_randomness(), runtime.autocast():
        if not training:
            with torch.inference_mode(), evaluating(model):
                return bool(model(**inputs).logits.isfinite().all())
        logits = model(**inputs).logits
    trained = [p for p in model.parameters() if p.requires_grad]
    # Biases and norms lie in every layer; gradients of the large matrices would take memory.
    small = [p for p in trained if p.ndim < 2] or trained
    if small and logits.requires_grad:
        torch.autograd.grad(logits.float().sum(), small, allow_unused=True)
    return bool(logits.detach().isfinite().all())
