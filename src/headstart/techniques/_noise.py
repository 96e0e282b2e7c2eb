"""The base of techniques that disturb a model's states."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal

import torch

from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.techniques._base import Batch, Needs, Technique, TechniqueContext, own_name

Kind = Literal["uniform", "normal"]
Change = Callable[[torch.Tensor], torch.Tensor]


FROZEN = "The head alone trains, on features that are computed once."
"""Why noise inside a backbone that stands still makes no sense."""


def noise_as(
    states: torch.Tensor, kind: Kind, scale: float, generator: torch.Generator
) -> torch.Tensor:
    """Draw noise of the shape, type and device of some states.

    ``uniform`` is in [-scale, scale], ``normal`` has the standard deviation ``scale``; the
    generator is on the processor.
    """
    noise = torch.empty(states.shape, dtype=torch.float32)
    if kind == "uniform":
        noise.uniform_(-scale, scale, generator=generator)
    else:
        noise.normal_(0.0, scale, generator=generator)
    return noise.to(states)


def symmetric_kl(logits: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return ``KL(p || q) + KL(q || p)`` of the distributions of two sets of logits.

    Logits are (b, classes); the result is (b,), in fp32.
    """
    left, right = logits.float().log_softmax(1), others.float().log_softmax(1)
    return ((left.exp() - right.exp()) * (left - right)).sum(1)


class Embeddings:
    """Changes what the model's input embeddings give, for as long as it is asked to.

    Raises ``ModelError`` if it tells no input embeddings.
    """

    def __init__(self, split: SplitModel) -> None:
        base: Any = split.base
        try:
            module = base.get_input_embeddings()
        except (AttributeError, NotImplementedError):
            raise ModelError(
                "a model that tells its input embeddings",
                type(base).__name__,
                "Use hype, whose noise goes to the encoder layers.",
            ) from None
        self._change: Change | None = None
        self._handle = module.register_forward_hook(self._changed)

    def _changed(self, _: Any, __: Any, states: torch.Tensor) -> torch.Tensor:
        return self._change(states) if self._change else states

    @contextlib.contextmanager
    def changed(self, change: Change) -> Iterator[None]:
        """Change them in all forward passes of a block. The change keeps the shape."""
        self._change = change
        try:
            yield
        finally:
            self._change = None

    def close(self) -> None:
        """Leave the model as it was."""
        self._handle.remove()


class SecondPass(Technique):
    """Compares the outputs on clean embeddings with those of further passes on disturbed ones."""

    needs: ClassVar[Needs] = "layers"
    why: ClassVar[str] = FROZEN
    live: ClassVar[bool] = True
    _embeddings: Embeddings | None = None
    _random: torch.Generator

    def check(self, split: SplitModel) -> None:
        """Refuse a model that tells no input embeddings."""
        Embeddings(split).close()

    def begin(self, context: TechniqueContext) -> None:
        """Find the embeddings."""
        self._model, self._generator = context.split.model, context.generator
        self._embeddings = Embeddings(context.split)

    def before_step(self, step: int) -> None:
        """Begin the step's stream of noise; its micro-batches go on in it."""
        self._random = self._generator(own_name(self), step)

    def _outputs(self, batch: Batch, change: Change) -> torch.Tensor:
        """Return the logits with other embeddings, (b, outputs)."""
        if self._embeddings is None:
            raise RuntimeError("extra_loss() needs begin()")
        with self._embeddings.changed(change):
            logits: torch.Tensor = self._model(**batch).logits
        return logits

    def close(self) -> None:
        """Leave the model as it was."""
        if self._embeddings is not None:
            self._embeddings.close()
