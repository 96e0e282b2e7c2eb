"""How much every parameter of the backbone changes in training, by place and kind."""

from __future__ import annotations

from typing import Any

import torch

from headstart.models.backbone import SplitModel
from headstart.observers._places import ABOVE, BELOW
from headstart.steps.callback import Observer
from headstart.steps.types import TrainingPlan


class Change(Observer):
    """Compares the backbone at the end of training with the pretrained one, tensor by tensor."""

    def begin(self, plan: TrainingPlan) -> None:
        """Remember the pretrained backbone.

        Raises ``ModelError`` if the model keeps its layers in no module list.
        """
        super().begin(plan)
        backbone = plan.model.backbone
        plan.model.layers()
        self.before = {n: p.detach().to("cpu", copy=True) for n, p in backbone.items()}

    def end(self) -> dict[str, Any]:
        """Return what has changed.

        Returns:
            ``tensors``: for each of the backbone its ``part`` and ``kind`` (see ``place``), whether
            it is a ``bias``, its ``size``, the mean absolute ``change`` and the mean absolute value
            ``before``. A tensor that a tuner has added was 0 before.
        """
        split = self.plan.model
        tensors = []
        for name, parameter in split.backbone.items():
            after = parameter.detach().cpu()
            change, before = mean_change(self.before.get(name, torch.zeros_like(after)), after)
            part, kind = place(split, name)
            tensors.append({
                "part": part, "kind": kind, "bias": name.endswith("bias"),
                "size": after.numel(), "change": change, "before": before,
            })  # fmt: skip
        return {"tensors": tensors}


def mean_change(before: torch.Tensor, after: torch.Tensor) -> tuple[float, float]:
    """Return the mean absolute change of a tensor, and what it is relative to.

    The relative change is the first divided by the second, mean |after - before| / mean |before|;
    of a tensor that was 0 there is none. Both have one shape; returned are the means of |after -
    before| and of |before| over all elements.
    """
    old = before.double()
    return float((after.double() - old).abs().mean()), float(old.abs().mean())


def place(split: SplitModel, name: str) -> tuple[str, str]:
    """Return where in the backbone a parameter lies, and of which kind it is.

    The part: ``layer 0`` and so on, ``above`` for what comes after the layers, ``embeddings`` for
    all else; and the kind: the module's own name within its layer, or within the base model,
    without ``.weight`` and ``.bias``. The same kind lies in every layer.
    """
    part = ABOVE if split.is_above_layers(name) else BELOW
    within = name.removeprefix(f"{split.prefix}.")
    for number, layer in enumerate(split.layers()):
        if layer.holds(name):
            part, within = f"layer {number}", layer.within(name)
    return part, within.removesuffix(".weight").removesuffix(".bias")


OBSERVER = Change
