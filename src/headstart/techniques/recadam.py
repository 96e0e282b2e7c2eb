"""A pull back to the pretrained weights inside the optimizer, let go along the stage: RecAdam."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from headstart.plugins.cards import Card
from headstart.plugins.ranges import ABOVE_0, NOT_NEGATIVE, Range
from headstart.techniques._base import Technique, TechniqueContext, Updated


def annealed(step: int, k: float, t0: float) -> float:
    """Return the weight of the task, ``1 / (1 + exp(-k (t - t0)))``; the pull has the rest.

    ``step`` is the paper's t, counted from 1; the weight is from 0 to 1, one half at ``t0``.
    """
    return 1 / (1 + math.exp(min(700.0, -k * (step - t0))))


@dataclass
class RecAdam(Technique):
    """AdamW with a quadratic pull to the weights at the beginning of the stage.

    Chen et al. 2020, arXiv 2004.12651, equation 9 and algorithm 1. For the backbone's parameters
    the update is that of the authors' code::

        w <- w - lr sqrt(1 - b2^t) / (1 - b1^t) * a(t) * m / (sqrt(v) + eps)
        w <- w - lr (1 - a(t)) coefficient (w - w0)
        w <- w - lr decay w

    so the pull touches neither moment. The head has plain AdamW. Along a step the pull goes at most
    all the way to ``w0``, which the authors' settings never reach.

    Args:
        coefficient: Strength of the pull.
        k: How fast the task takes over, per step.
        t0: When task and pull weigh the same: a share of the stage's steps if it is below 1, else
            a step.
    """

    ranges: ClassVar[Mapping[str, Range]] = {
        "coefficient": ABOVE_0, "k": ABOVE_0, "t0": NOT_NEGATIVE,
    }  # fmt: skip
    updates: ClassVar[bool] = True
    coefficient: float = 5000.0
    k: float = 0.1
    t0: float = 0.25

    def refuses(self, trains: str, others: Sequence[str]) -> str:
        """Refuse tuners without pretrained weights that train, and a second pull to them."""
        if "mixout" in others:
            return "mixout pulls the weights to the pretrained ones already; write one of the two."
        return (
            ""
            if trains in {"full", "top"}
            else "It pulls weights back to pretrained ones; write full+recadam."
        )

    def begin(self, context: TechniqueContext) -> None:
        """Take note of the head, and of the length."""
        self._head = set(context.split.head)
        self._middle = self.t0 * context.steps if self.t0 < 1 else self.t0
        self._step = 0
        self._handles: list[RemovableHandle] = []

    def optimizer(self, optimizer: torch.optim.Optimizer, updated: Mapping[str, Updated]) -> None:
        """Remember the weights, and listen at their update."""
        inside = [u.parameter for name, u in updated.items() if name not in self._head]
        anchors = {parameter: parameter.detach().clone() for parameter in inside}
        self._handles = [
            optimizer.register_step_pre_hook(lambda used, *_: self._prepare(used, anchors)),
            optimizer.register_step_post_hook(lambda used, *_: self._pull(used, anchors)),
        ]

    def before_step(self, step: int) -> None:
        """Take note of the step."""
        self._step = step + 1

    def _prepare(
        self, optimizer: torch.optim.Optimizer, anchors: Mapping[nn.Parameter, torch.Tensor]
    ) -> None:
        """Weigh the task, and leave the decay to what follows the update."""
        task = annealed(self._step, self.k, self._middle)
        for group in _of(optimizer, anchors):
            group["held"] = {key: group[key] for key in ("lr", "eps", "weight_decay")}
            # The authors add eps to the second moment's root before its bias is corrected.
            correction = math.sqrt(1 - group["betas"][1] ** self._step)
            changed = {"lr": group["lr"] * task, "eps": group["eps"] / correction}
            group.update(changed, weight_decay=0.0)

    @torch.no_grad()
    def _pull(
        self, optimizer: torch.optim.Optimizer, anchors: Mapping[nn.Parameter, torch.Tensor]
    ) -> None:
        rest = 1 - annealed(self._step, self.k, self._middle)
        for group in _of(optimizer, anchors):
            group.update(group.pop("held"))
            weights = [p for p in group["params"] if p.grad is not None]
            share = min(1.0, group["lr"] * rest * self.coefficient)
            torch._foreach_lerp_(weights, [anchors[p] for p in weights], share)
            if group["weight_decay"]:
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])

    def close(self) -> None:
        """Leave the optimizer as it was."""
        for handle in getattr(self, "_handles", ()):
            handle.remove()


def _of(
    optimizer: torch.optim.Optimizer, anchors: Mapping[nn.Parameter, torch.Tensor]
) -> Iterator[dict[str, Any]]:
    """Return the groups of parameters that are pulled: a group is either the head's or not."""
    return (group for group in optimizer.param_groups if group["params"][0] in anchors)


TECHNIQUE = RecAdam
CARD = Card(
    idea="The optimizer pulls the backbone's weights back to where they were at the beginning of "
    "the stage. In its first steps the pull has most of the weight, later the task has all of it. "
    "The pull goes past Adam's moments, so that its strength is the same for every weight.",
    equation="w <- w - lr a(t) Adam(g) - lr (1 - a(t)) coefficient (w - w0)    a(t) = 1 / (1 + "
    "exp(-k (t - t0)))",
    helps="Few rows and long training, where fine-tuning forgets what pretraining gave.",
    harms="Short stages with a late t0: the backbone then hardly moves at all. A learning rate "
    "above 1 / coefficient, which holds the weights fast until the task takes over.",
    citation="Chen et al.: Recall and Learn: Fine-tuning Deep Pretrained Language Models with Less "
    "Forgetting (EMNLP 2020), arXiv 2004.12651.",
    sources={
        "coefficient": "the paper's",
        "k": "within the paper's grid, 0.05 to 1",
        "t0": "ours, a share: the paper's 100 to 1000 steps are longer than a stage of few rows",
    },
    deviations="In one step the pull goes at most all the way back. Vectors (biases, norms) are "
    "pulled but not decayed, as in the authors' example. `w0` is where the stage begins, which "
    "behind `>>` is not the checkpoint.",
)
