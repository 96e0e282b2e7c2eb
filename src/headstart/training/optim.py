"""AdamW over head and tuner with a rate each, and the learning rate along a stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from headstart.training.machine.offload import OffloadedAdamW


@dataclass(frozen=True)
class OptimizerSettings:
    """Settings of the optimizer of a stage.

    Args:
        lr: Peak learning rate of the tuner's parameters.
        head_lr: Peak learning rate of the head.
        weight_decay: Decoupled decay; none for biases and norms.
        betas: Decay rates of the moments.
        eps: Term in the denominator.
        clip: Largest gradient norm; 0 for none.
        warmup: Share of the steps over which the rate rises.
        offload: Whether moments and update are the processor's if the model trains elsewhere. A
            model that trains on the processor has them there already: nothing changes, and the same
            settings serve both machines.
    """

    lr: float
    head_lr: float
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    clip: float = 1.0
    warmup: float = 0.1
    offload: bool = False


def build_optimizer(
    head: Mapping[str, nn.Parameter],
    tuner: Mapping[str, nn.Parameter],
    settings: OptimizerSettings,
    factor: Callable[[str], float] = lambda _: 1.0,
) -> torch.optim.AdamW:
    """Build a fresh AdamW; vectors (biases, norms) are not decayed.

    ``factor`` is what a parameter's rate is multiplied by, by its name; each group carries its peak
    rate as ``peak``.
    """
    # Head and tuner in groups of their own, even at equal rates: a technique may tell them apart.
    chosen: dict[tuple[bool, float, float], list[nn.Parameter]] = defaultdict(list)
    for parameters, rate in ((tuner, settings.lr), (head, settings.head_lr)):
        for name, parameter in parameters.items():
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            chosen[name in head, rate * factor(name), decay].append(parameter)
    groups = [
        {"params": found, "lr": rate, "peak": rate, "weight_decay": decay}
        for (_, rate, decay), found in chosen.items()
    ]
    device = next(iter((*tuner.values(), *head.values()))).device.type
    if settings.offload and device != "cpu":
        return OffloadedAdamW(groups, settings.betas, settings.eps)
    return torch.optim.AdamW(
        groups, betas=settings.betas, eps=settings.eps, fused=device in {"cpu", "cuda"}
    )


def rate_factor(step: int, steps: int, warmup: int, hold_until: int | None = None) -> float:
    """Return what the peak learning rate is multiplied by at a step.

    The rate rises linearly over the warm-up, then falls linearly to 0 at the end. Where the end is
    not known beforehand it holds the peak until ``hold_until`` and falls from there. Steps are
    counted from 0; the fall begins right after the warm-up if ``hold_until`` is ``None``. The
    factor is in [0, 1].
    """
    fall_from = warmup if hold_until is None else hold_until
    rise = (step + 1) / (warmup + 1)
    fall = (steps - step) / max(1, steps - fall_from)
    return max(0.0, min(1.0, rise, fall))  # the fall may begin before the rise has ended


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to its peak times a factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
