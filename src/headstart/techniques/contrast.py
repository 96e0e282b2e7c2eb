"""Rows of one class come together and those of others go apart, before a head is fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import normalize

from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.model_config import is_decoder
from headstart.plugins.cards import Card
from headstart.plugins.ranges import A_SHARE, Range
from headstart.techniques._base import Batch, Needs, Technique, TechniqueContext

LEAST = 5
"""The fewest steps for which compared rows are kept. An epoch of few rows is a single step, and to
compute them anew for each would add a third to its time."""


def pair_losses(
    states: torch.Tensor, labels: torch.Tensor, others: torch.Tensor, classes: torch.Tensor
) -> torch.Tensor:
    """Return how far the cosines of rows are from 1 in their class and from 0 outside of it.

    Both kinds of pairs weigh the same, however many there are: the mean squared distance over the
    row's own class and over the other ones, summed, (b,). ``states`` are what the head reads,
    (b, d); ``others`` are of length 1, (n, d). Source: Tunstall et al. 2022, section 3.
    """
    cosines = normalize(states.float(), dim=1) @ others.T
    alike = (labels[:, None] == classes[None]).float()
    near = ((cosines - 1).square() * alike).sum(1) / alike.sum(1).clamp(min=1)
    far = (cosines.square() * (1 - alike)).sum(1) / (1 - alike).sum(1).clamp(min=1)
    return near + far


@dataclass
class Contrast(Technique):
    """Each row is compared with all training rows, as they were up to an epoch or 5 steps ago.

    The loss of pairs is that of SetFit (Tunstall et al. 2022, arXiv 2209.11055): the squared
    distance of the cosine from 1 for two rows of a class, from 0 for others. What is compared is
    the input of the head's first linear map that reads one state a row.

    Args:
        weight: Share of the loss that the pairs have; the rest is the plain loss.
    """

    needs: ClassVar[Needs] = "layers"
    why: ClassVar[str] = "The head alone trains, on features that stand still."
    ranges: ClassVar[Mapping[str, Range]] = {"weight": A_SHARE}
    targets: ClassVar[tuple[str, ...]] = ("classes",)
    live: ClassVar[bool] = True
    weight: float = 1.0

    @property
    def trains_head(self) -> bool:
        """Whether some of the plain loss is left to train it."""
        return self.weight < 1

    def check(self, split: SplitModel) -> None:
        """Refuse a head that does not map one state a row to an output for each class."""
        maps, config = _maps(split), getattr(split.model, "config", None)
        if not maps or maps[-1].out_features == 1 or is_decoder(config):
            raise _unfit(split)

    def begin(self, context: TechniqueContext) -> None:
        """Listen to what the head reads."""
        self._context = context
        self._heard: torch.Tensor | None = None
        self._listening = False
        self._handles = [m.register_forward_pre_hook(self._hear) for m in _maps(context.split)]
        self._bank: dict[str, torch.Tensor] = {}
        self._every = max(sum(1 for _ in context.batches()), LEAST)

    def _hear(self, _: nn.Module, inputs: Sequence[torch.Tensor]) -> None:
        if self._listening and self._heard is None and inputs[0].ndim == 2:
            self._heard = inputs[0]

    def _taken(self) -> torch.Tensor:
        """Return what the head has just read, (b, d), and forget it."""
        states, self._heard = self._heard, None
        if states is None:
            raise _unfit(self._context.split)
        return states

    def before_step(self, step: int) -> None:
        """Compute all rows anew where they have been kept long enough, without dropout."""
        self._listening = True
        if step % self._every == 0 or not self._bank:
            self._bank = self._all_rows()

    def row_losses(
        self, losses: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """Return the loss of the pairs, mixed with the plain one."""
        del logits
        pairs = pair_losses(self._taken(), labels, self._bank["states"], self._bank["classes"])
        return (1 - self.weight) * losses + self.weight * pairs

    def after_step(self, step: int) -> None:
        """Listen no more: rows may be judged now."""
        del step
        self._listening = False

    @torch.no_grad()
    def _all_rows(self) -> dict[str, torch.Tensor]:
        context = self._context
        model = context.split.model
        states, classes = [], []
        was = model.training
        model.eval()
        try:
            for batch in context.batches():
                for part in context.micro_batches(batch):
                    states.append(self._states(part))
                    classes.append(part["labels"])
        finally:
            model.train(was)
        return {"states": torch.cat(states), "classes": torch.cat(classes)}

    def _states(self, batch: Batch) -> torch.Tensor:
        self._context.loss(batch)
        return normalize(self._taken().float(), dim=1)

    def close(self) -> None:
        """Listen no more."""
        for handle in getattr(self, "_handles", ()):
            handle.remove()

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all rows as they are compared."""
        return dict(self._bank)

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on with them."""
        device = next(iter(self._context.trained.values())).device
        self._bank = {name: tensor.to(device) for name, tensor in tensors.items()}


def _maps(split: SplitModel) -> list[nn.Linear]:
    """Return the head's linear maps."""
    return [
        module
        for name, module in split.model.named_modules()
        if isinstance(module, nn.Linear) and f"{name}.weight" in split.head
    ]


def _unfit(split: SplitModel) -> ModelError:
    return ModelError(
        "a head that maps one state a row to an output for each class, for contrast to compare",
        type(split.model).__name__,
        "Leave contrast out for this model.",
    )


TECHNIQUE = Contrast
CARD = Card(
    idea="Rows of one class are drawn together and rows of different classes are pushed apart, in "
    "what the head reads. Every row is compared with all training rows, so that few rows give "
    "many pairs; they are computed anew after each epoch, or each 5 steps where that is longer. "
    "With weight 1 the head itself does not train: a stage behind it fits the head.",
    equation="loss = (1 - weight) loss + weight (mean_same (1 - cos)^2 + mean_other cos^2)",
    helps="A few rows a class, with an encoder that was made for sentence vectors: the alias "
    "`few`, 10 epochs and 80 steps at most between two fits of the head.",
    harms="Some tens of steps fit one batch of rows to death: on one set of 24 rows 60 were 11 "
    "points below 20. Rates of 3e-3 and more: what is compared is up to 5 steps old, and a tiny "
    "model drew nothing together. With 128 rows of a class: behind fine-tuning on two sets of "
    "three (one seed).",
    citation="Tunstall et al.: Efficient Few-Shot Learning Without Prompts (2022), arXiv "
    "2209.11055.",
    sources={"weight": "SetFit trains on pairs alone"},
    deviations="SetFit draws pairs and computes both rows of each. Here one row of a pair is taken "
    "as it was up to an epoch or 5 steps ago, without a gradient, and all pairs of a row count.",
)
