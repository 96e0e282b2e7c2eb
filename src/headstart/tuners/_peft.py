"""Layers of ``peft``, put around linear maps of the base model in place and taken away again."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from peft import LoraConfig, PeftConfig
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from headstart.errors import ModelError
from headstart.models.backbone import Snapshot, SplitModel
from headstart.plugins.ranges import A_RATE, ABOVE_0, ONE_OR_MORE, Range
from headstart.tuners._base import Tuner, added


class PeftTuner(Tuner):
    """A method of ``peft`` at chosen linear maps, without its wrapper around the model.

    The backbone's own parameters stay the same objects, so that taking the method away leaves no
    trace.
    """

    serves: ClassVar[frozenset[str]] = frozenset({"text", "image", "audio"})
    targets: str
    """``attention`` or ``all``, of a tuner that leaves the choice."""
    _before: Snapshot | None = None

    def maps(self, split: SplitModel) -> dict[str, nn.Module]:
        """Choose the linear maps, those of the encoder layers if no other ones are named.

        They are by their name in the whole model.
        """
        return linears(split, self.targets, _own_name(self))

    @abstractmethod
    def config(self, names: list[str]) -> PeftConfig:
        """Write the method's settings as ``peft`` has them; maps are by name in the base model."""

    def attach(self, split: SplitModel, *, reversible: bool = True) -> dict[str, nn.Parameter]:
        """Wrap the chosen linear maps.

        Some methods keep a copy if ``detach`` will be called. Raises ``ModelError`` if the model
        has no linear map of the wanted kind, or one that the method cannot wrap.
        """
        chosen, base = self.maps(split), split.base
        if self.changes_weights and reversible:
            self._before = Snapshot(
                {f"{n}.{k}": p for n, m in chosen.items() for k, p in m.named_parameters()}
            )
        names = [name.removeprefix(f"{split.prefix}.") for name in chosen]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                config: Any = self.config(names)
                if hasattr(config, "fan_in_fan_out"):
                    config.fan_in_fan_out = any(isinstance(m, Conv1D) for m in chosen.values())
                PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](base, config, "default")
            except (ValueError, TypeError, NotImplementedError) as error:
                self.detach(split)
                raise ModelError(
                    f"linear maps that {_own_name(self)} can be put around",
                    f"{type(base).__name__}, at which peft says: {error}",
                    "Change the method's settings, or use another tuner such as 'lora'.",
                ) from error
            finally:
                vars(base).pop("peft_config", None)
        for layer in wrapped(split).values():
            layer.train(layer.get_base_layer().training)
        return added(split)

    def detach(self, split: SplitModel) -> None:
        """Put the wrapped linear maps back in place, with the bits that they had."""
        for name, layer in wrapped(split).items():
            split.model.set_submodule(name, layer.get_base_layer())
        if self._before is not None:
            self._before.restore()
            self._before = None

    def merge(self, split: SplitModel) -> None:
        """Write the change into each map, and unwrap."""
        self.require_merge(split)
        self._before = None
        for layer in wrapped(split).values():
            layer.merge()
        self.detach(split)


@dataclass
class LowRankTuner(PeftTuner):
    """LoRA and its kin: a product of two thin matrices beside each map.

    Args:
        r: Rank: rows of ``A`` and columns of ``B``.
        alpha: Scale of the change.
        dropout: Dropout rate on the input of ``A``.
        targets: ``attention`` for the linear maps of the attention blocks (queries, keys, values
            and output), ``all`` for those of the feed-forward blocks too.
    """

    part_at_zero: ClassVar[bool] = True
    lr: ClassVar[float] = 1e-3
    head_lr: ClassVar[float] = 1e-3
    where: ClassVar[str] = (
        "beside the linear maps of the attention of every layer; with targets=all beside "
        "those of the feed-forward block too"
    )
    formula: ClassVar[str] = "r · (inputs + outputs) for each map"
    ranges: ClassVar[Mapping[str, Range]] = {
        "r": ONE_OR_MORE,
        "alpha": ABOVE_0,
        "dropout": A_RATE,
    }
    options: ClassVar[Mapping[str, Any]] = {}
    """What ``LoraConfig`` is given beside the knobs."""
    r: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: Literal["attention", "all"] = "attention"

    def maps(self, split: SplitModel) -> dict[str, nn.Module]:
        """Choose the linear maps of the encoder layers.

        Raises ``ModelError`` if there are none, or the rank is above what they can have.
        """
        chosen = super().maps(split)
        most = min(min(sizes(module)) for module in chosen.values())
        if self.r > most:
            name = _own_name(self)
            raise ModelError(
                f"{name}(r=…) of at most {most}, the width of the narrowest map",
                f"{name}(r={self.r})",
                "Lower it: a higher rank adds nothing to what the maps can do.",
            )
        return chosen

    def config(self, names: list[str]) -> PeftConfig:
        """Write the settings as ``peft`` has them."""
        alpha: Any = self.alpha
        return LoraConfig(
            r=self.r,
            lora_alpha=alpha,
            lora_dropout=self.dropout,
            target_modules=names,
            **self.options,
        )

    def count(self, split: SplitModel) -> int:
        """Compute how many numbers will train beside the head."""
        return sum(self.r * (i + o) for i, o in map(sizes, self.maps(split).values()))


def linears(split: SplitModel, targets: str, name: str) -> dict[str, nn.Module]:
    """Return the linear maps inside the encoder layers by their name in the whole model.

    An attention block is what a layer keeps under a name with ``attn`` or ``attention`` in it.
    ``targets`` is ``attention`` or ``all``; ``name`` is the tuner's, for the message. Raises
    ``ModelError`` if there is none.
    """
    chosen = {
        name: module
        for layer in split.layers()
        for name, inner, module in layer.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and (targets == "all" or "attn" in inner or "attention" in inner)
    }
    if not chosen:
        where, other = "inside the attention blocks of", f"Write {name}(targets=all), or use"
        raise ModelError(
            f"linear maps {'in' if targets == 'all' else where} the encoder layers",
            f"{type(split.base).__name__}, which has none",
            f"{'Use' if targets == 'all' else other} another tuner such as 'bitfit'.",
        )
    return chosen


_KEYS = {"key", "key_proj", "k_proj", "k_lin", "k"}
_VALUES = {"value", "value_proj", "v_proj", "v_lin", "v"}


def keys_and_values(split: SplitModel, name: str, *, keys: bool) -> dict[str, nn.Module]:
    """Return the maps that make values, and those that make keys if they are asked for.

    They are by their name in the whole model. Raises ``ModelError`` if there are none by
    themselves.
    """
    wanted = _VALUES | (_KEYS if keys else set())
    chosen = {
        place: module
        for place, module in linears(split, "all", name).items()
        if place.rpartition(".")[2] in wanted
    }
    if not chosen:
        raise ModelError(
            "attention with keys and values from linear maps of their own",
            f"{type(split.base).__name__}, which makes them in one map with the queries",
            "Use another tuner, such as 'lora'.",
        )
    return chosen


def sizes(module: nn.Module) -> tuple[int, int]:
    """Return how many inputs and outputs a ``Linear`` or a ``Conv1D`` has."""
    weight = cast(torch.Tensor, module.weight)
    first, second = weight.shape
    return (first, second) if isinstance(module, Conv1D) else (second, first)


def wrapped(split: SplitModel) -> dict[str, Any]:
    """Return the layers of ``peft`` in a model, by name.

    Those around maps; not what lies inside them.
    """
    return {n: m for n, m in split.model.named_modules() if isinstance(m, BaseTunerLayer)}


def _own_name(tuner: Tuner) -> str:
    return type(tuner).__name__.lower()
