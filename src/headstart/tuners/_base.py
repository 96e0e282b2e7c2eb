"""The contract of every tuner: attach, then detach without a trace or merge."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from headstart.errors import ConfigError
from headstart.models.backbone import Snapshot, SplitModel
from headstart.plugins.ranges import Range

Batch = dict[str, torch.Tensor]


class Tuner(ABC):
    """Something that trains beside the head on an otherwise frozen backbone.

    A concrete tuner is a dataclass whose fields are its knobs, each with a default; they are
    what a strategy line may set, as in ``lora(r=16)``. One object serves one stage: ``attach``,
    training, then either ``detach`` or ``merge``. Random initialisation draws from torch's global
    generator, which the caller seeds.
    """

    lr: ClassVar[float]
    """Learning rate of the tuner's own parameters where the user gives none."""
    head_lr: ClassVar[float]
    """Learning rate of the head beside it where the user gives none."""
    frozen_features: ClassVar[bool] = False
    """Whether the backbone stays as it is while this trains, so that its output can be reused."""
    rate_follows_size: ClassVar[bool] = False
    """Whether it trains pretrained weights as they are, so that larger models need lower rates."""
    installs: ClassVar[bool] = True
    """Whether attaching adds or changes modules; otherwise it only chooses what trains."""
    where: ClassVar[str]
    """Where in the model it sits, in words."""
    formula: ClassVar[str]
    """How many numbers train beside the head, in words or letters; ``count`` computes it."""
    serves: ClassVar[frozenset[str]] = frozenset({"text"})
    """Kinds of model that it is made for: of ``text``, ``image`` and ``audio``."""
    ranges: ClassVar[Mapping[str, Range]] = {}
    """What a strategy line may give for a knob, where its type does not say it all."""
    changes_weights: ClassVar[bool] = False
    """Whether attaching changes weights that it does not train."""
    wants_rows: ClassVar[bool] = False
    """Whether ``prepare`` has to see training rows before training."""
    part_at_zero: ClassVar[bool] = False
    """Whether one part begins at zero, so that another has no gradient before training."""
    no_merge: ClassVar[str] = ""
    """Why the change cannot be written into the backbone; empty where it can."""

    @abstractmethod
    def attach(self, split: SplitModel, *, reversible: bool = True) -> dict[str, nn.Parameter]:
        """Install the tuner.

        What trains beside the head is returned by its present name in ``model.named_parameters()``;
        the head is not touched. A tuner that changes the backbone in place keeps a copy of what it
        changes if ``detach`` will be called (``reversible``).
        """

    @abstractmethod
    def detach(self, split: SplitModel) -> None:
        """Take the tuner away: the backbone is bit for bit what ``attach`` found."""

    def prepare(
        self,
        split: SplitModel,
        batches: Callable[[], Iterator[Batch]],
        run: Callable[[Batch], object],
    ) -> None:
        """Look at training rows before training, where ``wants_rows`` says so.

        ``batches`` gives the training rows in batches, ``run`` computes the model on one.
        """
        del split, batches, run

    @classmethod
    def chosen(cls, knobs: Mapping[str, Any]) -> type[Tuner]:  # noqa: ARG003
        """Return the class that a stage's knobs ask for.

        This one, unless one of the knobs decides which others there are.
        """
        return cls

    @abstractmethod
    def count(self, split: SplitModel) -> int:
        """Compute how many numbers train beside the head, by ``formula``, before ``attach``."""

    def require_merge(self, split: SplitModel) -> None:  # noqa: ARG002  the contract's signature
        """Refuse before any training what ``merge`` could not do after it.

        Raises ``ConfigError`` if this tuner's change has no form as plain weights of this model.
        """
        if self.no_merge:
            raise ConfigError(
                "a tuner that can be merged before '>>' or at the end of a strategy",
                type(self).__name__.lower(),
                f"{self.no_merge} Put '>' and another stage after it.",
            )

    def merge(self, split: SplitModel) -> None:
        """Write the learned change into the backbone and take the tuner's modules away.

        Raises ``ConfigError`` as ``require_merge``.
        """
        self.require_merge(split)
        raise NotImplementedError(f"{type(self).__name__} says neither how nor why not to merge")


class InPlaceTuner(Tuner):
    """A tuner that trains some of the backbone's own parameters."""

    _before: Snapshot | None = None

    @abstractmethod
    def select(self, split: SplitModel) -> dict[str, nn.Parameter]:
        """Choose the parameters of the backbone that train."""

    def count(self, split: SplitModel) -> int:
        """Compute how many numbers will train beside the head."""
        return sum(p.numel() for p in self.select(split).values())

    def attach(self, split: SplitModel, *, reversible: bool = True) -> dict[str, nn.Parameter]:
        """Choose the parameters, and remember their values if they are to be put back."""
        chosen = self.select(split)
        self._before = Snapshot(chosen) if reversible else None
        return chosen

    def detach(self, split: SplitModel) -> None:  # noqa: ARG002  the contract's signature
        """Put the remembered values back.

        Raises ``RuntimeError`` if the tuner was attached with ``reversible=False``.
        """
        if self._before is None:
            raise RuntimeError("detach() needs attach(reversible=True)")
        self._before.restore()
        self._before = None

    def merge(self, split: SplitModel) -> None:  # noqa: ARG002  the contract's signature
        """Keep the values as they are: they already are the backbone's own."""
        self._before = None


def added(split: SplitModel) -> dict[str, nn.Parameter]:
    """Return what trains and is neither the backbone's nor the head's own."""
    known = {id(p) for p in (*split.backbone.values(), *split.head.values())}
    named = split.model.named_parameters()
    return {n: p for n, p in named if id(p) not in known and p.requires_grad}
