"""The outputs shall not change under the worst small change of the embeddings: SMART."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from headstart.plugins.cards import Card
from headstart.plugins.ranges import ABOVE_0, Range
from headstart.techniques._base import Batch
from headstart.techniques._noise import SecondPass, noise_as, symmetric_kl

TINY = 1e-6
"""What the authors add to a gradient's largest entry before they divide by it."""


def ascended(noise: torch.Tensor, gradient: torch.Tensor, size: float) -> torch.Tensor:
    """Take the ascent step: each token goes along its gradient, whose largest entry becomes 1.

    Tensors are (…, D); ``size`` is the length of the step in the largest entry.
    """
    largest = gradient.abs().amax(-1, keepdim=True)
    return noise + size * gradient / (largest + TINY)


@dataclass
class Smart(SecondPass):
    """Smoothness-inducing regularisation of SMART: one step of ascent finds the disturbance.

    Jiang et al. 2019, arXiv 1911.03437, section 3.1. The divergence is symmetric for classes, and
    the squared difference for numbers.

    Args:
        weight: What the divergence is multiplied by.
        sigma: Standard deviation of the noise that the ascent begins from.
        step: Size of the ascent step: the largest change of a token's entries.
    """

    targets: ClassVar[tuple[str, ...]] = ("classes", "number", "tags")
    rivals: ClassVar[tuple[str, ...]] = ("r3f",)
    ranges: ClassVar[Mapping[str, Range]] = {"weight": ABOVE_0, "sigma": ABOVE_0, "step": ABOVE_0}
    weight: float = 1.0
    sigma: float = 1e-5
    step: float = 1e-3

    def extra_loss(self, batch: Batch, logits: torch.Tensor, step: int) -> torch.Tensor | None:
        """Find the disturbance, and compare with the outputs under it."""
        del step
        seen: list[torch.Tensor] = []
        start: list[torch.Tensor] = []

        def begun(states: torch.Tensor) -> torch.Tensor:
            seen.append(states.detach())
            start.append(noise_as(states, "normal", self.sigma, self._random).requires_grad_())
            return seen[0] + start[0]

        found = self._outputs(batch, begun)
        # A sum, so that a row's gradient beside TINY is the same in micro-batches of any size.
        rise = one_sided(found, logits.detach()).sum()
        (gradient,) = torch.autograd.grad(rise, start)
        worst = seen[0] + ascended(start[0].detach(), gradient, self.step)
        return self.weight * divergence(logits, self._outputs(batch, lambda _: worst))


def one_sided(found: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Return what the ascent raises: ``KL(clean || found)``, or the squared difference of numbers.

    Both are (b, outputs), ``clean`` without a gradient; the result is (b,), in fp32.
    """
    if clean.shape[1] == 1:
        return divergence(found, clean)
    target, reached = clean.float().log_softmax(1), found.float().log_softmax(1)
    return (target.exp() * (target - reached)).sum(1)


def divergence(logits: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return the symmetric divergence of classes, or the squared difference of numbers.

    Both are (b, outputs); the result is (b,), in fp32.
    """
    if logits.shape[1] == 1:
        return (logits.float() - others.float()).square()[:, 0]
    return symmetric_kl(logits, others)


TECHNIQUE = Smart
CARD = Card(
    idea="Noise on the embeddings takes one step of gradient ascent, to where the outputs change "
    "most. The divergence between the outputs there and the clean ones is added to the loss. It "
    "asks for smoothness where it is hardest to have.",
    equation="loss + weight (KL(p || q) + KL(q || p))    q = f(x + d), d = z + step · g / max|g|, "
    "g = ∂KL(p || f(x + z))/∂z, z ~ N(0, sigma^2)",
    helps="Few rows and large encoders, as r3f, and inputs that differ a little from the training "
    "rows.",
    harms="Where time counts: a step has three forward passes and two backward ones.",
    citation="Jiang et al.: SMART: Robust and Efficient Fine-Tuning for Pre-trained Natural "
    "Language Models (ACL 2020), arXiv 1911.03437.",
    sources={
        "weight": "the authors' code's; the paper searches 1, 3 and 5",
        "sigma": "the paper's",
        "step": "the paper's",
    },
    deviations="The Bregman part (a penalty on leaving the last iterate) is left out. The "
    "disturbance is not projected onto a ball, as in the authors' code. Each token's gradient is "
    "divided by its own largest entry, so that the step has the paper's size; their code divides "
    "noise and step together, which makes a disturbance of about 1. Padding needs no "
    "mask: no token attends to it.",
)
