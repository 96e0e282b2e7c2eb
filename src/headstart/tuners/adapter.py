"""Small bottleneck networks behind or beside the blocks of every layer: adapters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import nn
from torch.nn.functional import gelu, relu

from headstart.models.backbone import SplitModel
from headstart.plugins.cards import Card
from headstart.plugins.ranges import ABOVE_0, ONE_OR_MORE, Range
from headstart.tuners._beside import PART, BesideTuner
from headstart.tuners._places import find_places


@dataclass
class Adapter(BesideTuner):
    """A network ``scale · (U f(D x + d) + u)`` of ``width`` hidden units is added to a block.

    Houlsby et al. 2019, arXiv 1902.00751; Pfeiffer et al. 2021, arXiv 2005.00247; He et al. 2022,
    arXiv 2110.04366. ``U`` and ``u`` start at zero, so training starts from the checkpoint's own
    output.

    Args:
        width: Hidden units of the bottleneck.
        kind: ``houlsby``: it reads what attention's output map and the second feed-forward map
            give, and is added to it before residual and norm; ``pfeiffer``: behind the feed-forward
            block only; ``parallel``: it reads what the feed-forward block reads, and is added to
            what the block gives.
        activation: What acts between its two maps.
        scale: What its output is multiplied by.
    """

    where: ClassVar[str] = (
        "behind attention's output map and the second feed-forward map of every layer, before "
        "residual and norm; with kind=pfeiffer behind the latter only; with kind=parallel beside "
        "the feed-forward block"
    )
    formula: ClassVar[str] = "2 · width · hidden size + width + hidden size for each adapter"
    serves: ClassVar[frozenset[str]] = frozenset({"text", "image", "audio"})
    part_at_zero: ClassVar[bool] = True
    lr: ClassVar[float] = 1e-3
    head_lr: ClassVar[float] = 1e-3
    no_merge: ClassVar[str] = (
        "An adapter has an activation between its two maps, so no weights of the backbone compute "
        "the same."
    )
    ranges: ClassVar[Mapping[str, Range]] = {"width": ONE_OR_MORE, "scale": ABOVE_0}
    width: int = 64
    kind: Literal["houlsby", "pfeiffer", "parallel"] = "houlsby"
    activation: Literal["gelu", "relu"] = "gelu"
    scale: float = 1.0

    def install(self, split: SplitModel) -> None:
        """Put an adapter at every place."""
        for places in find_places(split):
            if self.kind == "houlsby":
                self.put(places.output, self._make(places.output), _behind)
            part = self._make(places.second)
            self.put(places.second, part, _beside if self.kind == "parallel" else _behind)
            if self.kind == "parallel":
                self.listen(places.first, partial(_read, part))

    def count(self, split: SplitModel) -> int:
        """Compute how many numbers will train beside the head."""
        sizes = [places.second.out_features for places in find_places(split)]
        each = sum(2 * self.width * size + self.width + size for size in sizes)
        return each * (2 if self.kind == "houlsby" else 1)

    def _make(self, host: nn.Linear) -> Bottleneck:
        return Bottleneck(host.out_features, self.width, self.activation, self.scale)


class Bottleneck(nn.Module):
    """One adapter, without its residual.

    Args:
        size: Numbers that it reads and gives.
        width: Hidden units.
        activation: ``gelu`` or ``relu``.
        scale: What its output is multiplied by.
    """

    def __init__(self, size: int, width: int, activation: str, scale: float) -> None:
        super().__init__()
        self.down = nn.Linear(size, width)
        self.up = nn.Linear(width, size)
        self.relu, self.scale = activation == "relu", scale
        self.read: torch.Tensor | None = None
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for start in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(start)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what is to be added, (…, size)."""
        hidden = self.down(x)
        found: torch.Tensor = self.up(relu(hidden) if self.relu else gelu(hidden))
        return found * self.scale


def _behind(host: Any, _: Any, output: torch.Tensor) -> torch.Tensor:
    added: torch.Tensor = getattr(host, PART)(output)
    return output + added


def _beside(host: Any, _: Any, output: torch.Tensor) -> torch.Tensor:
    part = getattr(host, PART)
    added: torch.Tensor = part(part.read)
    part.read = None
    return output + added


def _read(part: Bottleneck, _: Any, args: tuple[Any, ...], __: Any) -> None:
    part.read = args[0]


TUNER = Adapter
CARD = Card(
    idea="A small network with a narrow middle is added to what a block of each layer gives; the "
    "block itself stands still. Its second map starts at zero, so training starts from the "
    "checkpoint's own output. It stays beside the weights for good, since it has an activation.",
    equation="h ← h + scale · (U f(D x + d) + u)    D: width × hidden size, U: hidden size × "
    "width, U = u = 0 at first; x = h behind a block (houlsby, pfeiffer), x = what the block "
    "reads (parallel)",
    helps="As stage 1 where a low-rank change is too little: it can bend what a layer gives. He et "
    "al. find the parallel form the better one, with kind=parallel, activation=relu, scale=4.",
    harms="It cannot be merged, so it serves only before `>`; it adds two products to every block "
    "it is put behind.",
    citation="Houlsby et al.: Parameter-Efficient Transfer Learning for NLP (2019), arXiv "
    "1902.00751; Pfeiffer et al.: AdapterFusion (2021), arXiv 2005.00247; He et al.: Towards a "
    "Unified View of Parameter-Efficient Transfer Learning (2022), arXiv 2110.04366.",
    sources={
        "width": "Houlsby et al.'s code; their runs try 8, 64 and 256",
        "kind": "Houlsby et al.",
        "activation": "Houlsby et al.'s code; ReLU in He et al.'s",
        "scale": "Houlsby et al. have none; 4 in He et al.'s best runs",
    },
    deviations="The second map starts at exactly zero and the first Kaiming-uniform (as in He et "
    "al.), where Houlsby et al. draw both with a standard deviation of 0.001. An adapter behind a "
    "block acts before the block's dropout, which not every family has as a module. The norms "
    "stand still, and Pfeiffer's form has no norms of its own.",
    notes="Families: those whose maps are known by place and shape, which are BERT, RoBERTa, "
    "XLM-RoBERTa, CamemBERT, ELECTRA, DistilBERT, MPNet, DeBERTa-v2, ModernBERT, ALBERT, ViT and "
    "the audio spectrogram transformer.",
)
