"""The top layers begin anew, for they are the most tied to pretraining."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.plugins.cards import Card
from headstart.plugins.ranges import ONE_OR_MORE, Range
from headstart.techniques._base import Needs, Technique, TechniqueContext


@dataclass
class Reinit(Technique):
    """The top ``k`` layers and a pretrained pooler get the initialisation of the model class.

    Zhang et al. 2021, arXiv 2006.05987, section 4.

    Args:
        k: How many layers.
    """

    needs: ClassVar[Needs] = "full"
    why: ClassVar[str] = "The layers that begin anew have to train."
    ranges: ClassVar[Mapping[str, Range]] = {"k": ONE_OR_MORE}
    k: int = 1

    def check(self, split: SplitModel) -> None:
        """Refuse a model of fewer layers. Raises ``ModelError`` if it has fewer."""
        layers = split.layers()
        if self.k > len(layers):
            raise ModelError(
                f"a model of at least {self.k} layers for reinit(k={self.k})",
                f"{len(layers)} layers", f"Write reinit(k={len(layers)}) or less.",
            )  # fmt: skip

    def begin(self, context: TechniqueContext) -> None:
        """Initialise the layers."""
        split = context.split
        layers = split.layers()
        model: Any = split.model
        above = {name.rsplit(".", 1)[0] for name in split.above_layers()}
        chosen: list[Any] = [module for _, layer in layers[-self.k :] for module in layer.modules()]
        chosen += [model.get_submodule(name) for name in sorted(above)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.generator("reinit", 0).initial_seed())
            for module in chosen:
                for parameter in module.parameters(recurse=False):
                    parameter._is_hf_initialized = False
                module._is_hf_initialized = False
                model._init_weights(module)


TECHNIQUE = Reinit
CARD = Card(
    idea="The top layers and a pretrained pooler begin from the model class's random "
    "initialisation. They are the most tied to the pretraining task. The layers below keep what "
    "they have learned.",
    equation="w_l ~ the model class's initialisation    for the top k layers l",
    helps="Few rows and a deep encoder: the paper's runs scatter less and score higher on small "
    "GLUE tasks.",
    harms="Stage 2 behind a trained head, which was fitted to the layers that are thrown away. "
    "Encoders of a few layers.",
    citation="Zhang et al.: Revisiting Few-sample BERT Fine-tuning (ICLR 2021), arXiv 2006.05987.",
    sources={
        "k": "ours: the mildest; the paper searches 1 to 6 of 12 and 24 layers",
    },
    deviations="All that lies above the layers begins anew, a final norm (ModernBERT) too, and not "
    "the pooler alone.",
)
