"""A trainable histogram of the tokens beside every self-attention: HPT."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any, ClassVar, Literal, cast

import torch
from torch import nn
from torch.nn.functional import linear

from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.models.heads import mask_of_states
from headstart.plugins.cards import Card
from headstart.plugins.ranges import ONE_OR_MORE, Range
from headstart.tuners._beside import PART, BesideTuner
from headstart.tuners._places import Places, find_places


@dataclass
class Histogram(BesideTuner):
    """What attention gives is raised, at every token, by a histogram of what it reads.

    Mohammadi et al. 2025, histogram-based parameter-efficient tuning. Each token falls softly into
    ``bins`` bins; the shares are averaged over the tokens, padding left out, into as many positions
    as give one number for each feature.

    Args:
        bins: Bins; they must divide the hidden size.
        start: ``zero``: the histogram is multiplied by a gain that starts at zero, so that training
            starts from the checkpoint's own output; ``paper``: it is not, so that it changes the
            output from the first step.
    """

    where: ClassVar[str] = "beside the self-attention of every layer, added to its output map"
    formula: ClassVar[str] = "bins · (hidden size + 2) for each layer, and 1 more with start=zero"
    serves: ClassVar[frozenset[str]] = frozenset({"text", "image", "audio"})
    part_at_zero: ClassVar[bool] = True
    lr: ClassVar[float] = 2e-2
    head_lr: ClassVar[float] = 5e-3
    no_merge: ClassVar[str] = (
        "A histogram of the tokens is no linear map of them, so no weights of the backbone compute "
        "the same."
    )
    ranges: ClassVar[Mapping[str, Range]] = {"bins": ONE_OR_MORE}
    bins: int = 16
    start: Literal["zero", "paper"] = "zero"

    def install(self, split: SplitModel) -> None:
        """Put a histogram beside every self-attention."""
        padding = Padding()
        self.listen(split.base, padding.hear)
        for places in self._places(split):
            part = Bins(places.first.in_features, self.bins, padding, gain=self.start == "zero")
            self.put(places.output, part, _raise)
            self.listen(places.attention, partial(_read, part))

    def count(self, split: SplitModel) -> int:
        """Compute how many numbers will train beside the head."""
        gain = 1 if self.start == "zero" else 0
        sizes = [places.first.in_features for places in self._places(split)]
        return sum(self.bins * (size + 2) + gain for size in sizes)

    def _places(self, split: SplitModel) -> list[Places]:
        found = find_places(split)
        size = found[0].first.in_features
        if size % self.bins:
            fitting = [n for n in range(2, 65) if size % n == 0]
            shown = min(fitting, key=lambda n: abs(n - self.bins), default=1)
            raise ModelError(
                f"a number of bins that divides the hidden size, {size}",
                f"bins = {self.bins}",
                f"Write for example histogram(bins={shown}).",
            )
        return found


class Padding:
    """The real tokens of the batch at hand, and the weights of their average."""

    def __init__(self) -> None:
        self._mask: torch.Tensor | None = None
        self._base: Any = None
        self._pooling: torch.Tensor | None = None

    def hear(self, base: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note the attention mask that the base model is given."""
        given = dict(zip(signature(base.forward).parameters, args, strict=False)) | kwargs
        self._mask, self._pooling, self._base = given.get("attention_mask"), None, base

    def pooling(self, states: torch.Tensor, positions: int) -> torch.Tensor:
        """Return the weights of the average of states, (b, L, D): (b, P, L), as all layers have."""
        if self._pooling is None:
            mask = self._mask
            if mask is None:  # images and spectrograms have no padding
                mask = torch.ones(states.shape[:2], dtype=torch.long, device=states.device)
            mask = cast(torch.Tensor, mask_of_states(self._base, states, mask))
            self._pooling = pooling_weights(mask, positions)
        return self._pooling


def pooling_weights(mask: torch.Tensor, positions: int) -> torch.Tensor:
    """Return what adaptive average pooling over the real tokens of each row multiplies them by.

    Position p of P takes the n real tokens from ⌊p n / P⌋ up to but not including ⌈(p + 1) n / P⌉.
    ``mask`` is 1 at real tokens, 0 at padding, (b, L); the weights are (b, P, L), and each row of a
    position sums to 1.
    """
    real = mask.bool()
    place, n = real.cumsum(1) - 1, real.sum(1, keepdim=True)
    index = torch.arange(positions, device=mask.device)
    first, end = index * n // positions, ((index + 1) * n + positions - 1) // positions
    inside = (place[:, None] >= first[..., None]) & (place[:, None] < end[..., None])
    taken = (inside & real[:, None]).float()
    return taken / taken.sum(-1, keepdim=True).clamp(min=1)


class Bins(nn.Module):
    """The histogram layer of one self-attention.

    Args:
        size: Width of the states, D.
        bins: B.
        padding: Knows which tokens are real.
        gain: Whether the histogram is multiplied by a gain that starts at zero.
    """

    def __init__(self, size: int, bins: int, padding: Padding, *, gain: bool) -> None:
        super().__init__()
        bound = 1 / math.sqrt(size)
        self.weight = nn.Parameter(torch.empty(bins, size).uniform_(-bound, bound))
        self.centres = nn.Parameter(torch.empty(bins).uniform_(-bound, bound))
        self.widths = nn.Parameter(torch.empty(bins).uniform_(-1, 1))
        self.register_parameter("gain", nn.Parameter(torch.zeros(1)) if gain else None)
        self.positions, self.padding = size // bins, padding
        self.read: torch.Tensor | None = None

    def shares(self, states: torch.Tensor) -> torch.Tensor:
        """Return how much of each token, (b, L, D), falls into each bin, (b, L, B).

        The shares of a token sum to a little less than 1.
        """
        near = self.widths * linear(states, self.weight, self.centres).float()
        found = torch.exp(-near.square())
        return found / (found.sum(-1, keepdim=True) + 1e-5)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return what is added at every token, (b, 1, D), of what attention reads, (b, L, D).

        It is the bins of the first position, those of the second, and so on.
        """
        pooling = self.padding.pooling(states, self.positions)
        found = torch.bmm(pooling, self.shares(states)).flatten(1)[:, None]
        gain: torch.Tensor | None = self._parameters["gain"]
        return found if gain is None else gain * found


def _read(part: Bins, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    part.read = args[0] if args else kwargs["hidden_states"]


def _raise(host: Any, _: Any, output: torch.Tensor) -> torch.Tensor:
    part = getattr(host, PART)
    added: torch.Tensor = part(part.read)
    part.read = None
    return output + added.to(output.dtype)


TUNER = Histogram
CARD = Card(
    idea="A small trainable layer beside each self-attention counts into which bins the tokens "
    "fall. The counts, averaged over the text, the picture or the sound, are added to what "
    "attention gives at every token. They tell each token how the features of the whole input are "
    "distributed, which attention alone does not.",
    equation="Z = X Wᵀ + μ,  R = exp(-(γ Z)²),  R̂ = R / (Σ_b R + 1e-5),  h = average of R̂ over "
    "the real tokens into D / bins positions, flattened by position;  out = attention(X) + g · 1 "
    "hᵀ    g = 0 at first; in the paper's form g = 1 throughout",
    helps="On sound, for which it was made; with few numbers to train.",
    harms="On short texts, whose tokens fill a histogram badly. It cannot be merged, and it makes "
    "the layers leave the fast path on a processor.",
    citation="Mohammadi et al.: Histogram-based Parameter-efficient Tuning for Passive Sonar "
    "Classification (2025), arXiv 2504.15214.",
    sources={
        "bins": "the paper",
        "start": "ours, so that step 0 is the checkpoint; start=paper is the paper's",
    },
    deviations="The gain that starts at zero is ours, and so is the rate: at the paper's 1e-3 a "
    "gain moves by no more than that in a step. In encoders whose norm comes after the residual "
    "(BERT) attention reads states that the layer below has normed. Padding is left out of the "
    "averages, which sound does not have.",
)
