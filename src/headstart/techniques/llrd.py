"""Lower layers learn more slowly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from headstart.plugins.cards import Card
from headstart.plugins.ranges import UP_TO_1, Range
from headstart.techniques._base import Needs, Technique, TechniqueContext
from headstart.techniques._layers import Layers


@dataclass
class Llrd(Technique):
    """Layer-wise learning-rate decay: each layer has ``factor`` times the rate of the one above.

    Howard and Ruder 2018 (arXiv 1801.06146, section 3.2), whose factor is 1/2.6; 0.9 to 0.95 is
    usual for fine-tuning (Zhang et al. 2021, arXiv 2006.05987). The top layer and all that is above
    it have the stage's rate, the embeddings that of one layer more. The head keeps its own.

    Args:
        factor: From one layer to the next below.
    """

    needs: ClassVar[Needs] = "layers"
    why: ClassVar[str] = "The head alone trains, and keeps its own rate."
    ranges: ClassVar[Mapping[str, Range]] = {"factor": UP_TO_1}
    factor: float = 0.95

    def begin(self, context: TechniqueContext) -> None:
        """Find the layers."""
        self._layers = Layers(context.split)

    def rate(self, name: str) -> float:
        """Return the factor of a parameter."""
        return float(self.factor ** max(0, self._layers.group(name) - 1))


TECHNIQUE = Llrd
CARD = Card(
    idea="Each layer has a learning rate that is a factor times that of the layer above. Low "
    "layers hold general features and move little. The head keeps its own rate.",
    equation="lr_l = lr · factor^(L - 1 - l)    l from 0 at the bottom to L - 1, the embeddings L",
    helps="Deep encoders and few rows.",
    harms="A small factor with many layers freezes the lowest in all but name.",
    citation="Howard, Ruder: Universal Language Model Fine-tuning for Text Classification (ACL "
    "2018), arXiv 1801.06146.",
    sources={
        "factor": "0.9 to 0.95 is usual for fine-tuning (Zhang et al. 2021, arXiv 2006.05987); "
        "the paper's is 1/2.6",
    },
    deviations="What is above the layers (a pooler) has the stage's rate.",
)
