"""A parallel and a sequential low-rank branch at one linear map: Hydra."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from torch import nn
from torch.nn.functional import linear

from headstart.models.backbone import SplitModel
from headstart.plugins.cards import Card
from headstart.plugins.ranges import A_RATE, ABOVE_0, ONE_OR_MORE, Range
from headstart.tuners._beside import PART, BesideTuner
from headstart.tuners._places import find_places


@dataclass
class Hydra(BesideTuner):
    """Each chosen map gives ``y + s Bp Ap x + s Bs As y``, with ``y = W x + b`` standing still.

    Kim et al. 2023, arXiv 2309.06922. ``Bp`` and ``Bs`` start at zero, so training starts from the
    checkpoint's own output.

    Args:
        r_p: Rank of the branch that reads the map's input.
        r_s: Rank of the branch that reads the map's output.
        s: Scale of both.
        dropout: Dropout rate on what the branches read.
        targets: ``ffn`` for the second map of the feed-forward block, the paper's place for text;
            ``vision`` for attention's output map too, its places for images.
    """

    where: ClassVar[str] = (
        "at the second linear map of every feed-forward block; with targets=vision at the output "
        "map of every attention too"
    )
    formula: ClassVar[str] = "r_p · (inputs + outputs) + r_s · 2 · outputs for each map"
    serves: ClassVar[frozenset[str]] = frozenset({"text", "image", "audio"})
    part_at_zero: ClassVar[bool] = True
    lr: ClassVar[float] = 2e-3
    head_lr: ClassVar[float] = 1e-3
    ranges: ClassVar[Mapping[str, Range]] = {
        "r_p": ONE_OR_MORE,
        "r_s": ONE_OR_MORE,
        "s": ABOVE_0,
        "dropout": A_RATE,
    }
    r_p: int = 4
    r_s: int = 8
    s: float = 1.0
    dropout: float = 0.0
    targets: Literal["ffn", "vision"] = "ffn"

    def install(self, split: SplitModel) -> None:
        """Put both branches at every chosen map."""
        for host in self._maps(split):
            part = Branches(
                host.in_features, host.out_features, self.r_p, self.r_s, self.s, self.dropout
            )
            self.put(host, part, _change)

    def count(self, split: SplitModel) -> int:
        """Compute how many numbers will train beside the head."""
        return sum(
            self.r_p * (host.in_features + host.out_features) + 2 * self.r_s * host.out_features
            for host in self._maps(split)
        )

    def merge(self, split: SplitModel) -> None:
        """Write ``W + s (Bp Ap + Bs As W)`` and ``b + s Bs As b`` in place, and let go."""
        for host in self.hosts:
            cast(Any, getattr(host, PART)).merge_into(host)
        self.detach(split)

    def _maps(self, split: SplitModel) -> list[nn.Linear]:
        found = find_places(split)
        if self.targets == "ffn":
            return [places.second for places in found]
        return [each for places in found for each in (places.output, places.second)]


class Branches(nn.Module):
    """The two branches of one map.

    Args:
        inputs: Numbers that the map reads.
        outputs: Numbers that it gives.
        r_p: Rank of the parallel branch.
        r_s: Rank of the sequential branch.
        s: Scale of both.
        dropout: Dropout rate on what they read.
    """

    def __init__(
        self, inputs: int, outputs: int, r_p: int, r_s: int, s: float, dropout: float
    ) -> None:
        super().__init__()
        self.s, self.dropout = s, nn.Dropout(dropout)
        self.parallel_a = nn.Parameter(torch.empty(r_p, inputs))
        self.parallel_b = nn.Parameter(torch.zeros(outputs, r_p))
        self.sequential_a = nn.Parameter(torch.empty(r_s, outputs))
        self.sequential_b = nn.Parameter(torch.zeros(outputs, r_s))
        for narrow in (self.parallel_a, self.sequential_a):
            nn.init.kaiming_uniform_(narrow, a=math.sqrt(5))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return what the map gives with its branches, (…, outputs).

        It reads ``x``, (…, inputs), and gives ``y`` alone.
        """
        parallel = linear(linear(self.dropout(x), self.parallel_a), self.parallel_b)
        sequential = linear(linear(self.dropout(y), self.sequential_a), self.sequential_b)
        return y + self.s * (parallel + sequential)

    @torch.no_grad()
    def merge_into(self, host: nn.Linear) -> None:
        """Write both branches into the map."""
        # In fp64, so that what is rounded is the result alone.
        a_p, b_p, a_s, b_s, weight = (
            tensor.double() for tensor in (*(getattr(self, name) for name in _ORDER), host.weight)
        )
        host.weight.copy_(weight + self.s * (b_p @ a_p + b_s @ (a_s @ weight)))
        if host.bias is not None:
            bias = host.bias.double()
            host.bias.copy_(bias + self.s * (b_s @ (a_s @ bias)))


_ORDER = ("parallel_a", "parallel_b", "sequential_a", "sequential_b")


def _change(host: Any, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> Any:
    return getattr(host, PART)(args[0], output)


TUNER = Hydra
CARD = Card(
    idea="Two low-rank branches act at a linear map: one reads the map's input, the other its "
    "output. The first learns what the map does not hold, the second turns what it already gives. "
    "Neither has an activation, so in the end both can be written into the map, and nothing is "
    "left of them.",
    equation="y = W x + b,  out = y + s · Bp Ap x + s · Bs As y    Ap: r_p × inputs, Bp: outputs × "
    "r_p, As: r_s × outputs, Bs: outputs × r_s, Bp = Bs = 0 at first;  W' = W + s (Bp Ap + Bs As "
    "W), b' = b + s Bs As b",
    helps="Where LoRA would do, with the feed-forward block changed instead of attention; fewer "
    "numbers train than with LoRA on all maps. With `>>` it costs nothing after stage 1.",
    harms="Where the task asks for other attention: that stands still with the defaults.",
    citation="Kim, Lee, Kwon, Lee: Hydra: Multi-head Low-rank Adaptation for Parameter Efficient "
    "Fine-tuning (2023), arXiv 2309.06922.",
    sources={
        "r_p": "the paper's runs on text",
        "r_s": "the paper's runs on text",
        "s": "the paper's runs on text",
        "dropout": "ours; the paper's runs on images have 0.2",
        "targets": "the paper's place for text; its runs on images (vision) have r_p = r_s = 2",
    },
    notes="The learning rate was chosen on training rows of the small demo encoder, where 1e-3 "
    "hardly leaves chance in 120 steps; the paper reports 4e-4 to 8e-4 for larger models.",
)
