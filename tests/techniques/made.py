"""A setting for techniques without a run around it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

import tiny
from headstart.models.backbone import SplitModel
from headstart.targets.classes import Classes
from headstart.techniques._base import TechniqueContext


def setting(
    split: SplitModel, *, steps: int = 10, trained: Mapping[str, nn.Parameter] | None = None
) -> TechniqueContext:
    """Make one around a model of two classes.

    What trains beside the head is the whole backbone if not told. Batches have four rows.
    """
    batch = {**tiny.batch(), "labels": torch.tensor([0, 1, 1, 0])}

    def loss(given: dict[str, torch.Tensor]) -> torch.Tensor:
        inputs = {name: tensor for name, tensor in given.items() if name != "labels"}
        return Classes(("a", "b")).row_losses(split.model(**inputs).logits, given["labels"]).sum()

    inner = split.backbone if trained is None else trained
    return TechniqueContext(
        split, {**inner, **split.head}, steps, 2, [2, 2],
        lambda name, step: torch.Generator().manual_seed(1000 * len(name) + step),
        lambda: iter([batch]), loss,
    )  # fmt: skip
