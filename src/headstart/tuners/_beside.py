"""The contract of tuners that put small modules beside linear maps and change what these give."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from torch import nn

from headstart.models.backbone import SplitModel
from headstart.tuners._base import Tuner, added

PART = "tuner"
"""Name of the module that a linear map is given."""


class BesideTuner(Tuner):
    """A tuner whose modules hang at linear maps and act through hooks.

    The maps stay what they are, under their own names: to detach is to let go of the modules.
    """

    _hosts: list[nn.Linear] | None = None
    _handles: list[Any]

    @abstractmethod
    def install(self, split: SplitModel) -> None:
        """Add a module to every chosen map, by ``put`` and ``listen``."""

    def attach(self, split: SplitModel, *, reversible: bool = True) -> dict[str, nn.Parameter]:  # noqa: ARG002
        """Put the modules in."""
        self._hosts, self._handles = [], []
        self.install(split)
        return added(split)

    def detach(self, split: SplitModel) -> None:  # noqa: ARG002  the contract's signature
        """Let go of the modules; the backbone, which nothing has touched, stays.

        Raises ``RuntimeError`` if the tuner is not attached.
        """
        if self._hosts is None:
            raise RuntimeError("detach() needs attach()")
        for handle in self._handles:
            handle.remove()
        for host in self._hosts:
            delattr(host, PART)
        self._hosts, self._handles = None, []

    def put(self, host: nn.Linear, part: nn.Module, change: Callable[..., Any]) -> None:
        """Add a module to a map.

        ``part`` is made on the CPU, so that a seed gives the same values on every device.
        ``change`` is told the map, its positional arguments and what it gives; it returns what the
        map is to give instead.
        """
        weight = host.weight
        host.add_module(PART, part.to(weight.device, weight.dtype).train(host.training))
        self.hosts.append(host)
        self._handles.append(host.register_forward_hook(change))

    def listen(self, module: nn.Module, hear: Callable[..., None]) -> None:
        """Add a hook to the inputs of a module."""
        self._handles.append(module.register_forward_pre_hook(hear, with_kwargs=True))

    @property
    def hosts(self) -> list[nn.Linear]:
        """The maps that have a module, from bottom to top."""
        return self._hosts if self._hosts is not None else []
