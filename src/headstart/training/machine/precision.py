"""What computes in the chosen precision: the base model, where its own code can; else fp32.

Under autocast matrix products give bf16, and some families' code then mixes it with fp32 or fills
in numbers that bf16 does not have. No list of families says which: it depends on the release of
transformers and on the length of the rows. So a batch is tried before training.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

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
_APART = 0.1
"""Relative distance from fp32 above which a result is wrong, and not rounded."""


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
        fault = _wrong_convolution(model, runtime)
        if not fault and not _try(model, loader.batch(rows), runtime, training=training):
            fault = "its output is no finite number"
    except torch.OutOfMemoryError:
        fault = ""  # is told where it happens in training, with what to do about it
    except _FAULTS as error:
        fault = short(error)
    finally:
        model.to(device)
        buffers.restore()
    if not fault:
        return ""
    reason = f"{type(split.base).__name__} fails in {asked}: {fault}"
    runtime.use_fp32(reason)
    return f"Computed in fp32, not in {asked}: {reason}."


def _wrong_convolution(model: nn.Module, runtime: Runtime) -> str:
    """Say which convolution in groups gives something else than in fp32; empty if none does.

    oneDNN (torch 2.13, processors with AMX) gives noise for groups of 2 to 12 channels and long
    kernels, and sometimes NaN, without complaint. Numbers of one rounding are 0.003 apart.
    """
    for name, part in model.named_modules():
        if not isinstance(part, nn.Conv1d | nn.Conv2d) or part.groups == 1:
            continue
        sizes = [4 * size for size in part.kernel_size]
        with runtime.own_randomness(), torch.inference_mode():
            rows = torch.randn(2, part.in_channels, *sizes, device=part.weight.device)
            exact = part(rows)
            with runtime.autocast():
                found = part(rows).float()
        if not (found - exact).norm() <= _APART * exact.norm():
            return f"{name} is computed wrongly there"
    return ""


def _try(
    model: nn.Module, batch: dict[str, torch.Tensor], runtime: Runtime, *, training: bool
) -> bool:
    """Compute a batch and maybe its gradients; tell whether the logits are finite."""
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    with (
        runtime.own_randomness(), runtime.autocast(), torch.inference_mode(),
        evaluating(model), head_in_fp32(model, runtime),
    ):  # fmt: skip
        finite = bool(model(**inputs).logits.isfinite().all())
    if not training or not finite:
        return finite
    with runtime.own_randomness(), runtime.autocast():
        logits = model(**inputs).logits
    trained = [p for p in model.parameters() if p.requires_grad]
    # Biases and norms lie in every layer; gradients of the large matrices would take memory.
    small = [p for p in trained if p.ndim < 2] or trained
    if small and logits.requires_grad:
        torch.autograd.grad(logits.float().sum(), small, allow_unused=True)
    return bool(logits.detach().isfinite().all())


@contextlib.contextmanager
def head_in_fp32(model: nn.Module, runtime: Runtime) -> Iterator[None]:
    """Compute what lies outside the base model without autocast.

    It is next to nothing of the arithmetic. In bf16 its last map would round logits to three
    digits: a third of some rows' probabilities were equal to another row's, and a number in the
    user's units would lose what lies behind its third digit.
    """
    base = getattr(model, str(getattr(model, "base_model_prefix", "")), None)
    parts = [] if base is None or runtime.precision == "fp32" else _called(model, base)
    for part in parts:
        vars(part)["forward"] = _in_fp32(part.forward, runtime.device.type)
    try:
        yield
    finally:
        for part in parts:
            del vars(part)["forward"]


def _called(model: nn.Module, base: Any) -> list[nn.Module]:
    """List the modules with parameters beside the base model; of mere containers their items."""
    found: list[nn.Module] = []
    for part in model.children():
        if part is base or not any(True for _ in part.parameters()):
            continue
        container = isinstance(part, nn.ModuleList | nn.ModuleDict)
        found += _called(part, base) if container else [part]
    return [part for part in found if "forward" not in vars(part)]


def _in_fp32(forward: Callable[..., Any], device: str) -> Callable[..., Any]:
    def plain(value: Any) -> Any:
        is_float = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.float() if is_float else value

    def called(*values: Any, **named: Any) -> Any:
        with torch.autocast(device, enabled=False):
            return forward(*map(plain, values), **{name: plain(v) for name, v in named.items()})

    return called
