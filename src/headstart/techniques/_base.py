"""The contract of every technique: hooks of the training loop.

::

    begin                    the tuner is attached, nothing has trained; weights may change
    rate                     for the learning rate of each parameter
    optimizer                it has been built; its own update may be listened at
    for each step:
        before_step          weights may change for the step
        row_losses               what becomes of each row's loss
        extra_loss           added to the loss of each micro-batch
        gradients            after the backward pass of all micro-batches, before clipping
        after_step           after the update
    evaluated                a context around every evaluation
    end                      the last step is done; leaves the result in the model
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from headstart.data.tokens.encode_words import split_batch
from headstart.models.backbone import SplitModel
from headstart.plugins.ranges import Range

Batch = dict[str, torch.Tensor]
Needs = Literal["nothing", "layers", "full"]


@dataclass(frozen=True)
class TechniqueContext:
    """Arguments passed to a technique at the start of a stage.

    Args:
        split: The model, with the tuner attached.
        trained: What trains, by name; the head is among it where it trains.
        steps: Steps of the stage, or their upper bound.
        labels: Number of labels; 1 for numbers.
        counts: Training rows of each class, (classes,); empty where rows have no single class.
        generator: Gives a generator for a name and a step, the same in every repetition of the run.
        batches: Gives the training batches once, in order, for a pass before training.
        loss: Computes the summed loss of a batch with the model as it is.
        micro_batch_size: Rows of which a gradient is computed at once; all of a batch if ``None``.
    """

    split: SplitModel
    trained: Mapping[str, nn.Parameter]
    steps: int
    labels: int
    counts: Sequence[int]
    generator: Callable[[str, int], torch.Generator]
    batches: Callable[[], Iterator[Batch]]
    loss: Callable[[Batch], torch.Tensor]
    micro_batch_size: int | None = None

    def micro_batches(self, batch: Batch) -> Iterator[Batch]:
        """Split a batch into what fits into memory with its gradient."""
        yield from split_batch(batch, self.micro_batch_size)


@dataclass(frozen=True)
class Updated:
    """The tensor that the optimizer updates for a parameter.

    Args:
        parameter: The parameter itself, or a table of some of its rows.
        rows: Which rows those are; ``None`` for the parameter itself. The others get no gradient,
            and are decayed when the model is looked at.
    """

    parameter: nn.Parameter
    rows: torch.Tensor | None = None


class Technique:
    """Something that acts inside a stage; see the module for when each method is called.

    A concrete technique is a dataclass whose fields are its knobs. One object serves one stage.
    """

    ranges: ClassVar[Mapping[str, Range]] = {}
    """What a strategy line may give for a knob, where its type does not say it all."""
    whole: ClassVar[bool] = False
    """Whether it needs every parameter that trains as the model holds it: the embedding rows that
    occur then do not train apart."""

    targets: ClassVar[tuple[str, ...]] = ("classes", "multilabel", "number", "tags")
    """Kinds of target for which it has a meaning."""
    needs: ClassVar[Needs] = "nothing"
    """What has to train for it to act: ``layers`` of the backbone, or the ``full`` one."""
    why: ClassVar[str] = ""
    """Why it needs that, as a sentence."""
    rivals: ClassVar[tuple[str, ...]] = ()
    """Techniques that do the same by other means."""
    live: ClassVar[bool] = False
    """Whether it looks at what goes on inside the backbone: features are then not computed once."""

    updates: ClassVar[bool] = False
    """Whether it changes parameters inside the update, which then has to happen where they are."""

    @property
    def trains_head(self) -> bool:
        """Whether the head trains beside it. Where it does not, a further stage has to train it."""
        return True

    def refuses(self, trains: str, others: Sequence[str]) -> str:
        """Return why it cannot act beside a tuner and the techniques before it; empty where it can.

        The reason says what would work.
        """
        for other in others:
            if other in self.rivals:
                return f"It does what {other} does already; write one of the two."
        if self.needs == "full" and trains != "full":
            return f"{self.why} Write it behind full, as in full+{own_name(self)}."
        if self.needs == "layers" and trains == "head":
            return f"{self.why} Write it behind full, as in full+{own_name(self)}, or a tuner."
        return ""

    def beside_zero(self, trains: str) -> str:  # noqa: ARG002
        """Return why it cannot act beside a tuner of which one part begins at zero.

        The reason says what would work; empty where it can.
        """
        return ""

    def check(self, split: SplitModel) -> None:
        """Refuse a model that it cannot act on by ``ModelError``, before anything trains."""

    def begin(self, context: TechniqueContext) -> None:
        """Begin; weights may be changed here."""

    def rate(self, name: str) -> float:  # noqa: ARG002
        """Return what a parameter's learning rate is multiplied by, a factor of at least 0."""
        return 1.0

    def optimizer(self, optimizer: torch.optim.Optimizer, updated: Mapping[str, Updated]) -> None:
        """Handle the optimizer that has been built; ``updated`` is by the name of what trains."""

    def before_step(self, step: int) -> None:
        """Prepare a step, counted from 0."""

    def row_losses(
        self,
        losses: torch.Tensor,
        logits: torch.Tensor,  # noqa: ARG002
        labels: torch.Tensor,  # noqa: ARG002
    ) -> torch.Tensor:
        """Change each row's loss, (b,), in fp32: the plain one, or that of the techniques before.

        Logits are (b, outputs), labels (b,).
        """
        return losses

    def extra_loss(
        self,
        batch: Batch,  # noqa: ARG002
        logits: torch.Tensor,  # noqa: ARG002
        step: int,  # noqa: ARG002
    ) -> torch.Tensor | None:
        """Compute what is added to each row's loss, (b,); ``None`` for nothing.

        Logits, (b, classes), are what the model has made of the batch; steps are counted from 0.
        """
        return None

    def gradients(self, step: int) -> None:
        """Change the gradients of a step, counted from 0."""

    def after_step(self, step: int) -> None:
        """Handle the end of an update, counted from 0."""

    @contextlib.contextmanager
    def evaluated(self) -> Iterator[None]:
        """Provide the weights to evaluate, within a context."""
        yield

    def end(self) -> None:
        """End; the model then holds what the stage leaves."""

    def close(self) -> None:
        """Undo ``begin``; called after ``end``, and after an error."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return what a checkpoint must hold for the stage to go on."""
        return {}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from a checkpoint's ``tensors``; ``begin`` has been called before."""


def own_name(technique: Technique) -> str:
    """Return a technique's name in a strategy line: that of its module."""
    return type(technique).__module__.rpartition(".")[2]


def trains_head(techniques: Iterable[Technique]) -> bool:
    """Return whether the head trains in a stage with these techniques."""
    return all(technique.trains_head for technique in techniques)
