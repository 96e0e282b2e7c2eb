"""The outputs shall not change when the embeddings do a little: R3F."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from headstart.plugins.cards import Card
from headstart.plugins.ranges import ABOVE_0, NOT_NEGATIVE, Range
from headstart.techniques._base import Batch
from headstart.techniques._noise import SecondPass, noise_as, symmetric_kl


@dataclass
class R3f(SecondPass):
    """Symmetric divergence between the outputs on clean and on noised embeddings.

    Aghajanyan et al. 2020, arXiv 2008.03156, equation 5, as in the authors' code: no gradient goes
    through the noised embeddings into the table, and each pass has a dropout of its own.

    Args:
        weight: The paper's lambda: what the divergence is multiplied by.
        eps: Size of the noise; 0 adds nothing.
        noise: ``uniform`` in [-eps, eps], or ``normal`` with the standard deviation eps.
    """

    rivals: ClassVar[tuple[str, ...]] = ("smart",)
    ranges: ClassVar[Mapping[str, Range]] = {"weight": ABOVE_0, "eps": NOT_NEGATIVE}
    targets: ClassVar[tuple[str, ...]] = ("classes", "tags")
    weight: float = 0.7
    eps: float = 1e-5
    noise: Literal["uniform", "normal"] = "uniform"

    def extra_loss(self, batch: Batch, logits: torch.Tensor, step: int) -> torch.Tensor | None:
        """Compare with the outputs on noised embeddings."""
        del step
        if not self.eps:
            return None
        return self.weight * symmetric_kl(logits, self._outputs(batch, self._noised))

    def _noised(self, states: torch.Tensor) -> torch.Tensor:
        return states.detach() + noise_as(states, self.noise, self.eps, self._random)


TECHNIQUE = R3f
CARD = Card(
    idea="Every batch is computed a second time with a little noise on its embeddings. The "
    "divergence between both outputs, taken both ways, is added to the loss. Representations then "
    "stay smooth, and keep more of what pretraining gave.",
    equation="loss + weight (KL(p || q) + KL(q || p))    p = f(x), q = f(x + z), z ~ U(-eps, eps) "
    "or N(0, eps^2)",
    helps="Few rows and large encoders: the paper finds higher and steadier scores than "
    "adversarial regularisers at less cost.",
    harms="Where time counts: a step takes up to twice as long. With an eps this small and bf16 "
    "most of the difference comes from dropout, which the two passes do not share; with "
    "`--dropout 0` little is left of it.",
    citation="Aghajanyan et al.: Better Fine-Tuning by Reducing Representational Collapse (ICLR "
    "2021), arXiv 2008.03156.",
    sources={
        "weight": "the authors' example for RTE",
        "eps": "the paper's and the authors' code's",
        "noise": "the authors' code's; the paper uses both",
    },
    deviations="None from the authors' code: no gradient goes through the noised embeddings into "
    "their table, and both passes have their own dropout. With eps 0 there is no second pass at "
    "all.",
)
