"""The base of techniques that average weights along a stage."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch

from headstart.techniques._base import Technique, TechniqueContext, Updated


class Averaging(Technique):
    """Keeps a mean of what is updated; evaluations and the result are of that mean.

    Rows of the embedding table that no training row holds have no mean: weight decay alone moves
    them, and they stay as they are.
    """

    _mean: dict[str, torch.Tensor]

    def begin(self, context: TechniqueContext) -> None:
        """Take note of what trains."""
        self._trained = dict(context.trained)
        self._mean = {}

    def optimizer(
        self,
        optimizer: torch.optim.Optimizer,  # noqa: ARG002
        updated: Mapping[str, Updated],
    ) -> None:
        """Take note of what is updated."""
        self._updated = dict(updated)

    def _copies(self) -> dict[str, torch.Tensor]:
        return {name: u.parameter.detach().clone() for name, u in self._updated.items()}

    @torch.no_grad()
    def _move(self, share: float) -> None:
        """Let the mean go some way to the present weights."""
        names = list(self._mean)
        now = [self._updated[name].parameter.detach() for name in names]
        torch._foreach_lerp_([self._mean[name] for name in names], now, share)

    @contextlib.contextmanager
    def evaluated(self) -> Iterator[None]:
        """Hold the mean for an evaluation."""
        held = {name: self._trained[name].detach().clone() for name in self._mean}
        self._put()
        yield
        for name, tensor in held.items():
            self._trained[name].data.copy_(tensor)

    def end(self) -> None:
        """Leave the mean in the model."""
        self._put()

    @torch.no_grad()
    def _put(self) -> None:
        for name, tensor in self._mean.items():
            rows = self._updated[name].rows
            if rows is None:
                self._trained[name].copy_(tensor)
            else:
                self._trained[name].index_copy_(0, rows, tensor)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the mean."""
        return dict(self._mean)

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on with a mean."""
        self._mean = {
            name: tensors[name].to(u.parameter.device)
            for name, u in self._updated.items()
            if name in tensors
        }
