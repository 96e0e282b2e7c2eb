"""One layer more trains at a time, from the top."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import distributed as dist

from headstart.plugins.cards import Card
from headstart.plugins.ranges import UP_TO_1, Range
from headstart.techniques._base import Needs, Technique, TechniqueContext
from headstart.techniques._layers import Layers


def unfrozen(step: int, steps: int, groups: int, share: float) -> int:
    """Return how many groups train beside the head at a step, counted from 0.

    0 in the first of ``groups`` equal parts of that ``share`` of the steps, 1 in the second, and so
    on; the groups are from the top layer to the embeddings.
    """
    part = share * steps / groups
    return min(groups, math.floor(step / part + 1e-9))


@dataclass
class GradualUnfreezing(Technique):
    """The head trains alone at first, then the top layer too, then the one below, and so on.

    Howard and Ruder 2018, arXiv 1801.06146, section 3.3. The embeddings come last, and what is
    above the layers comes with the top one. What stands still costs no backward pass.

    Args:
        share: Share of the stage's steps after which everything trains; of the upper bound where
            the stage may end early.
    """

    needs: ClassVar[Needs] = "layers"
    why: ClassVar[str] = "The head alone trains, and no layer can join it."
    ranges: ClassVar[Mapping[str, Range]] = {"share": UP_TO_1}
    whole: ClassVar[bool] = True
    share: float = 0.5

    def begin(self, context: TechniqueContext) -> None:
        """Find the layers."""
        layers, self._steps = Layers(context.split), context.steps
        self._groups = layers.groups
        # Processes that exchange gradients wait for every one that they know of.
        self._together = dist.is_available() and dist.is_initialized()
        self._trained = [(p, layers.group(n)) for n, p in context.trained.items()]

    def before_step(self, step: int) -> None:
        """Let those train whose turn has come."""
        count = unfrozen(step, self._steps, self._groups, self.share)
        for parameter, group in self._trained:
            parameter.requires_grad_(self._together or group <= count)

    def gradients(self, step: int) -> None:
        """Drop the gradients that several processes compute all the same."""
        count = unfrozen(step, self._steps, self._groups, self.share)
        for parameter, group in self._trained:
            if group > count:
                parameter.grad = None

    def close(self) -> None:
        """Let everything train again."""
        for parameter, _ in getattr(self, "_trained", ()):
            parameter.requires_grad_(True)


TECHNIQUE = GradualUnfreezing
CARD = Card(
    idea="The head trains alone at first. Then the top layer joins it, then the one below, down to "
    "the embeddings. Upper layers have learned something before lower ones begin to change.",
    equation="at step t the top floor(t / (share · T / (L + 1))) of L layers and the embeddings "
    "train, T steps in all",
    helps="Few rows, and a random head, whose first gradients then reach no layer. The first steps "
    "are cheap.",
    harms="Short stages: the lower layers get few steps, at a learning rate that falls already.",
    citation="Howard, Ruder: Universal Language Model Fine-tuning for Text Classification (ACL "
    "2018), arXiv 1801.06146.",
    sources={
        "share": "ours: half of the stage is left for all layers together",
    },
    deviations="A layer joins after equal parts of the stage instead of epochs, for encoders have "
    "more layers than stages have epochs. The schedule of the rate is the stage's own.",
)
