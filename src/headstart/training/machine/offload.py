"""AdamW in the processor's memory, for a model that trains on a GPU.

On the GPU, AdamW needs two moments for each parameter, twice the model's own size. Here they stay
in the processor's memory, together with a copy of the parameters; in each step the gradients go
there and the new parameters come back (ZeRO-Offload, Ren et al. 2021, without its delayed update).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch.optim.adamw import adamw


class _Copy(NamedTuple):
    """What the processor has of a parameter, both fp32."""

    value: torch.Tensor
    grad: torch.Tensor


class OffloadedAdamW(torch.optim.AdamW):
    """AdamW whose moments and arithmetic are the processor's, wherever the parameters are.

    ``param_groups`` and the keys of ``state`` are the model's own parameters, so whoever sets
    rates, clips, scales fp16 gradients or saves moments need not know of it. A parameter's value is
    read when it is first updated and after ``load_state_dict``; in between only this writes it.

    Args:
        groups: Parameters with rate and decay, as for ``torch.optim.AdamW``.
        betas: Decay rates of the moments.
        eps: Term in the denominator.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], betas: tuple[float, float], eps: float
    ) -> None:
        # Fused: what divides the gradient, clipping or fp16's scale, is then left as an attribute.
        super().__init__(groups, betas=betas, eps=eps, fused=True)
        self._copies: dict[torch.Tensor, _Copy] = {}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient.

        Raises ``ValueError`` if there is a closure.
        """
        if closure is not None:
            raise ValueError("OffloadedAdamW computes no loss: closure must be None")
        groups = [
            (group, [p for p in group["params"] if p.grad is not None])
            for group in self.param_groups
        ]
        self._fetch([p for _, parameters in groups for p in parameters])
        for group, parameters in groups:
            self._update(group, parameters)
            for parameter in parameters:
                # The next forward pass is behind this in the device's queue, and the next update
                # of the copy waits for the gradients, which are behind it too.
                value = self._copies[parameter].value
                parameter.copy_(value, non_blocking=value.is_pinned())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take moments over, into the processor's memory."""
        super().load_state_dict(state_dict)
        for moments in self.state.values():
            moments.update({key: value.cpu() for key, value in moments.items()})
        self._copies.clear()

    def _fetch(self, parameters: list[torch.Tensor]) -> None:
        """Bring gradients into the processor's memory, all of them at once."""
        for parameter in parameters:
            if parameter not in self._copies:
                self._copies[parameter] = _copy(parameter)
            grad, own = parameter.grad, self._copies[parameter].grad
            own.copy_(grad, non_blocking=own.is_pinned())  # type: ignore[arg-type]
        for device in {p.device for p in parameters if p.device.type == "cuda"}:
            torch.cuda.current_stream(device).synchronize()

    def _update(self, group: dict[str, Any], parameters: list[torch.Tensor]) -> None:
        copies = [self._copies[parameter] for parameter in parameters]
        moments = [self._moments(parameter) for parameter in parameters]
        scale, infinite = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        adamw(
            [copy.value for copy in copies],
            [copy.grad for copy in copies],
            [each["exp_avg"] for each in moments],
            [each["exp_avg_sq"] for each in moments],
            [],
            [each["step"] for each in moments],
            fused=True,
            grad_scale=None if scale is None else scale.cpu(),
            found_inf=None if infinite is None else infinite.cpu(),
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    def _moments(self, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        moments: dict[str, torch.Tensor] = self.state[parameter]
        if not moments:
            moments["step"] = torch.zeros(())
            moments["exp_avg"] = torch.zeros(parameter.shape)
            moments["exp_avg_sq"] = torch.zeros(parameter.shape)
        return moments


def _copy(parameter: torch.Tensor) -> _Copy:
    # Page-locked memory is what a GPU can read and write while the processor goes on.
    pinned = parameter.device.type == "cuda"
    value, grad = (torch.empty(parameter.shape, pin_memory=pinned) for _ in range(2))
    return _Copy(value.copy_(parameter), grad)
