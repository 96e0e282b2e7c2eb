"""Only some parameters are updated: others in each step, or the most important ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from headstart.kernels.masks import rounded_rate
from headstart.models.evaluating import evaluating
from headstart.plugins.cards import Card
from headstart.plugins.ranges import UP_TO_1, Range
from headstart.techniques._base import Needs, Technique, TechniqueContext
from headstart.techniques._masks import keep_masks, keep_part


def most_important(scores: Mapping[str, torch.Tensor], p: float) -> dict[str, torch.Tensor]:
    """Return masks of the share ``p`` with the highest scores over all parameters together.

    Scores are sums of squared gradients by name (Xu et al. 2021, arXiv 2109.05687, equation 5);
    with equal ones at the border there may be more.
    """
    flat = torch.cat([score.flatten() for score in scores.values()])
    count = max(1, round(p * len(flat)))
    border = torch.topk(flat, count, sorted=False).values.min()
    return {name: score >= border for name, score in scores.items()}


@dataclass
class ChildTuning(Technique):
    """Gradients of the encoder layers are masked (Xu et al. 2021, arXiv 2109.05687).

    ``mode=F`` draws a Bernoulli mask anew in every step, and divides by ``p`` to keep the mean.
    ``mode=D`` keeps one mask throughout: the share ``p`` of the parameters with the largest sum of
    squared gradients over one pass of the training rows, batch by batch, before training.

    Args:
        mode: ``F`` (task-free) or ``D`` (task-driven).
        p: Share of the parameters that is updated.
    """

    needs: ClassVar[Needs] = "layers"
    why: ClassVar[str] = "The head alone trains, and its gradients are not masked."
    ranges: ClassVar[Mapping[str, Range]] = {"p": UP_TO_1}
    mode: Literal["F", "D"] = "D"
    p: float = 0.3

    def beside_zero(self, trains: str) -> str:
        """Refuse mode D, which chooses by gradients before training."""
        if self.mode == "F":
            return ""
        return (
            f"Mode D chooses by gradients before training, and a part of {trains} has none then. "
            f"Write {trains}+child_tuning(mode=F)."
        )

    def begin(self, context: TechniqueContext) -> None:
        """Choose the parameters of mode D."""
        self._generator = context.generator
        self._masked = dict(_of_layers(context))
        self._masks: dict[str, torch.Tensor] = {}
        if self.mode == "D" and self._masked:
            chosen = most_important(_squared_gradients(context, self._masked), self.p)
            self._masks = {name: mask.to(torch.int8).neg_() for name, mask in chosen.items()}

    @torch.no_grad()
    def gradients(self, step: int) -> None:
        """Mask the gradients."""
        masks, scale = self._masks, 1.0
        if self.mode == "F" and self.p < 1:
            generator = self._generator("child_tuning", step)
            masks = keep_masks(self._masked, 1 - self.p, generator)
            scale = rounded_rate(1 - self.p)[1]
        for name, mask in masks.items():
            gradient = self._masked[name].grad
            if gradient is not None:
                keep_part(gradient, mask, scale)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the masks."""
        return dict(self._masks)

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on with the masks."""
        self._masks = {name: mask.to(self._masked[name].device) for name, mask in tensors.items()}


def _of_layers(context: TechniqueContext) -> Iterator[tuple[str, nn.Parameter]]:
    layers = tuple(lead for layer in context.split.layers() for lead in layer.leads())
    return (
        (name, parameter)
        for name, parameter in context.trained.items()
        if name.startswith(layers) and name not in context.split.head
    )


def _squared_gradients(
    context: TechniqueContext, masked: Mapping[str, nn.Parameter]
) -> dict[str, torch.Tensor]:
    """Sum the squared gradients of the batches' mean losses, without dropout."""
    model, parameters = context.split.model, list(masked.values())
    sums = {name: torch.zeros_like(parameter) for name, parameter in masked.items()}
    with evaluating(model):
        for batch in context.batches():
            total: dict[str, torch.Tensor] = {}
            for part in context.micro_batches(batch):
                loss = context.loss(part) / len(batch["labels"])
                found = torch.autograd.grad(loss, parameters, allow_unused=True)
                for name, gradient in zip(masked, found, strict=True):
                    if gradient is not None:
                        total[name] = total[name] + gradient if name in total else gradient
            for name, gradient in total.items():
                sums[name].addcmul_(gradient, gradient)
    return sums


TECHNIQUE = ChildTuning
CARD = Card(
    idea="Only a part of the encoder's parameters is updated, the child network. Mode D chooses it "
    "once, by squared gradients over the training rows, and mode F draws another in every step. "
    "The other gradients are set to zero.",
    equation="g' = m g    D: m_i = 1 for the share p with the largest sum of g_i^2;  F: m ~ "
    "Bernoulli(p) / p",
    helps="Few rows: fewer parameters can follow the noise, and mode D spends them where the task "
    "asks for change.",
    harms="Many rows, where every parameter can be learned. Mode D needs a pass over the training "
    "rows before the first step, and is refused beside tuners of which a part starts at zero, such "
    "as lora: another part has no gradient then to be chosen by. mode=F goes with them.",
    citation="Xu et al.: Raise a Child in Large Language Model (EMNLP 2021), arXiv 2109.05687.",
    sources={
        "mode": "the better one of the paper",
        "p": "within the paper's grid, 0.1 to 0.3; EH-FT's authors ran 0.1",
    },
    deviations="Squared gradients are those of a batch's mean loss, as in the authors' code, but "
    "without dropout and unclipped, where it has dropout and clips each tensor's. Mode F leaves "
    "head and embeddings whole, where it masks all that trains. AdamW's moments decay for masked "
    "parameters too, as there.",
)
