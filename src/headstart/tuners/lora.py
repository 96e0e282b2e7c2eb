"""Low-rank changes of the attention's linear maps: LoRA."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from headstart.cards import Card
from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.tuners._base import A_RATE, ABOVE_0, ONE_OR_MORE, Range, Tuner


@dataclass
class Lora(Tuner):
    """Each chosen linear map ``W`` acts as ``W + alpha / r * B A`` with trainable ``A`` and ``B``.

    Hu et al. 2021, arXiv 2106.09685. ``B`` starts at zero, so training starts from the checkpoint's
    own output. The layers are those of ``peft``, put into the base model in place.

    Args:
        r: Rank: rows of ``A`` and columns of ``B``.
        alpha: Scale of the change, which is multiplied by ``alpha / r``.
        dropout: Dropout rate on the input of ``A``.
        targets: ``attention`` for the linear maps of the attention blocks (queries, keys, values
            and output), ``all`` for those of the feed-forward blocks too.
    """

    where: ClassVar[str] = (
        "beside the linear maps of the attention of every layer; with targets=all beside "
        "those of the feed-forward block too"
    )
    formula: ClassVar[str] = "r · (inputs + outputs) for each map"
    serves: ClassVar[frozenset[str]] = frozenset({"text", "image", "audio"})
    lr: ClassVar[float] = 1e-3
    head_lr: ClassVar[float] = 1e-3
    ranges: ClassVar[Mapping[str, Range]] = {
        "r": ONE_OR_MORE,
        "alpha": ABOVE_0,
        "dropout": A_RATE,
    }
    r: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: Literal["attention", "all"] = "attention"

    def attach(self, split: SplitModel, *, reversible: bool = True) -> dict[str, nn.Parameter]:  # noqa: ARG002
        """Wrap the chosen linear maps.

        Args:
            split: The model.
            reversible: Without effect: the wrapped weights stand still in any case.

        Returns:
            The parameters of every ``A`` and ``B``, by name.

        Raises:
            ModelError: If the model has no linear map of the wanted kind.
        """
        chosen = _linears(split, self.targets)
        base: Any = split.base
        config = LoraConfig(
            r=self.r,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=[name.removeprefix(f"{split.prefix}.") for name in chosen],
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in chosen.values()),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            inject_adapter_in_model(config, base)
        del base.peft_config
        for layer in _wrapped(split).values():
            layer.train(layer.get_base_layer().training)
        known = {id(p) for p in (*split.backbone.values(), *split.head.values())}
        return {n: p for n, p in split.model.named_parameters() if id(p) not in known}

    def detach(self, split: SplitModel) -> None:
        """Put the wrapped linear maps, which nothing has touched, back in place.

        Args:
            split: The model.
        """
        for name, layer in _wrapped(split).items():
            split.model.set_submodule(name, layer.get_base_layer())

    def merge(self, split: SplitModel) -> None:
        """Add ``alpha / r * B A`` to each weight, and unwrap.

        Args:
            split: The model.
        """
        for layer in _wrapped(split).values():
            layer.merge()
        self.detach(split)

    def count(self, split: SplitModel) -> int:
        """Compute how many numbers will train beside the head.

        Args:
            split: The model.

        Returns:
            The count.
        """
        maps = _linears(split, self.targets).values()
        return sum(self.r * sum(module.weight.shape) for module in cast(Any, maps))


def _linears(split: SplitModel, targets: str) -> dict[str, nn.Module]:
    """Return the linear maps inside the encoder layers by their name in the whole model.

    An attention block is what a layer keeps under a name with ``attn`` or ``attention`` in it.
    """
    chosen = {
        f"{layer}.{name}": module
        for layer, body in split.layers()
        for name, module in body.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and (targets == "all" or "attn" in name or "attention" in name)
    }
    if not chosen:
        raise ModelError(
            "linear maps inside the attention blocks of the encoder layers",
            f"{type(split.base).__name__}, which has none",
            "Write lora(targets=all), or use another tuner such as 'bitfit'.",
        )
    return chosen


def _wrapped(split: SplitModel) -> dict[str, Any]:
    return {n: m for n, m in split.model.named_modules() if isinstance(m, LoraLayer)}


TUNER = Lora
CARD = Card(
    idea="Beside each chosen linear map acts the product of two thin matrices, which train; "
    "the map "
    "itself stands still. The product starts at zero, so training starts from the checkpoint's own "
    "output. In the end it can be added to the map, and nothing is left of it.",
    equation="y = W x + alpha / r · B A x    A: r × inputs, B: outputs × r, B = 0 at first",
    helps="As stage 1 it reaches a higher training score than biases in the same number of steps. "
    "The paper finds no difference between ranks 8 and 1024 there.",
    harms="Its head is fitted to features that are gone in stage 2 more than with biases; the "
    "score "
    "at step 0 of stage 2 drops accordingly.",
    citation="Hu et al.: LoRA (2021), arXiv 2106.09685.",
    sources={
        "r": "EH-FT, appendix (arXiv 2210.16771)",
        "alpha": "EH-FT, appendix",
        "dropout": "EH-FT, appendix",
        "targets": "EH-FT, appendix: queries, keys, values and output",
    },
    notes="Merged, the map is `W' = W + alpha / r · B A`, exact up to rounding. The layers are "
    "those of `peft`, put in place and taken out by headstart, so that the backbone's "
    "parameters stay the same objects and nothing is left behind.",
)
