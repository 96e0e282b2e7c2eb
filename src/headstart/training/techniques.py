"""The techniques of a stage, called by the loop as if they were one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence

import torch

from headstart.targets._base import TargetKind
from headstart.techniques._base import Batch, Technique, Updated
from headstart.training.checkpoint import under


class Techniques:
    """Calls every technique of a stage in the order of the strategy line."""

    def __init__(self, parts: Sequence[Technique], kind: TargetKind) -> None:
        self._parts, self._kind = tuple(parts), kind

    @property
    def whole(self) -> bool:
        """Whether one of them needs every parameter as the model holds it."""
        return any(part.whole for part in self._parts)

    def rate(self, name: str) -> float:
        """Return what a parameter's learning rate is multiplied by."""
        return math.prod(part.rate(name) for part in self._parts)

    def optimizer(self, optimizer: torch.optim.Optimizer, updated: Mapping[str, Updated]) -> None:
        """Pass on the stage's optimizer."""
        for part in self._parts:
            part.optimizer(optimizer, updated)

    def before_step(self, step: int) -> None:
        """Prepare a step."""
        for part in self._parts:
            part.before_step(step)

    def losses(
        self, batch: Batch, logits: torch.Tensor, labels: torch.Tensor, step: int
    ) -> torch.Tensor:
        """Compute each row's loss.

        Logits are (b, outputs), labels (b,) or (b, labels); losses are (b,), in fp32.
        """
        losses = self._kind.row_losses(logits, labels)
        for part in self._parts:
            losses = part.row_losses(losses, logits, labels)
        for part in self._parts:
            extra = part.extra_loss(batch, logits, step)
            losses = losses if extra is None else losses + extra
        return losses

    def gradients(self, step: int) -> None:
        """Change the gradients; what was last prepared is the first to be undone."""
        for part in reversed(self._parts):
            part.gradients(step)

    def after_step(self, step: int) -> None:
        """Pass on that the parameters have been updated."""
        for part in self._parts:
            part.after_step(step)

    @contextlib.contextmanager
    def evaluated(self) -> Iterator[None]:
        """Hold the model that is to be evaluated."""
        with contextlib.ExitStack() as stack:
            for part in self._parts:
                stack.enter_context(part.evaluated())
            yield

    def end(self) -> None:
        """Leave the stage's result in the model."""
        for part in self._parts:
            part.end()

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return what a checkpoint must hold."""
        return {
            f"technique/{place}/{name}": tensor
            for place, part in enumerate(self._parts)
            for name, tensor in part.tensors().items()
        }

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from a checkpoint."""
        for place, part in enumerate(self._parts):
            part.restore(under(f"technique/{place}", tensors))
