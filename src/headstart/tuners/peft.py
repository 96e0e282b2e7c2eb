"""Any other method of the library peft, by its name there and with its own options."""

from __future__ import annotations

import copy
import dataclasses
import functools
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, ClassVar, Literal

from peft import PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

from headstart.errors import ConfigError, did_you_mean
from headstart.models.backbone import SplitModel
from headstart.plugins.cards import Card
from headstart.tuners._base import Tuner
from headstart.tuners._peft import PeftTuner

_NOT_HERE = {
    "ADALORA": "moves ranks between maps while it trains, which needs a hook in every step",
    "FROD": "does not fit into a model that has no wrapper of peft",
    "OSF": "splits the weights themselves, and trains them in parts",
    "POLY": "is made for many tasks at once",
    "SHADOW": "is a model beside the model",
    "TRAINABLE_TOKENS": "trains rows of the embedding table, not maps",
    "XLORA": "mixes adapters that were trained before",
}
_OURS = frozenset({
    "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path",
    "revision", "inference_mode", "modules_to_save", "target_modules", "exclude_modules",
    "fan_in_fan_out", "layers_pattern", "feedforward_modules", "bias",
})  # fmt: skip
"""Fields of ``peft``'s settings that are no knobs: what they say follows from the stage."""


Kind = type[Tuner]


@dataclass
class Peft(PeftTuner):
    """A method that has no name of its own here, at the chosen linear maps.

    Args:
        type: The method as ``peft`` names it, in small letters, for example ``loha``. An unknown
            one is answered with all there are, ``headstart explain "peft(type=loha)"`` with the
            options of one.
        targets: ``attention`` for the linear maps of the attention blocks (queries, keys, values
            and output), ``all`` for those of the feed-forward blocks too.
    """

    part_at_zero: ClassVar[bool] = True
    lr: ClassVar[float] = 1e-2
    head_lr: ClassVar[float] = 1e-3
    where: ClassVar[str] = (
        "at the linear maps of the attention of every layer; with targets=all at those of the "
        "feed-forward block too"
    )
    formula: ClassVar[str] = "as the method has it; counted on a copy of the model"
    changes_weights: ClassVar[bool] = True
    type: str = "loha"
    targets: Literal["attention", "all"] = "attention"

    @classmethod
    def chosen(cls, knobs: Mapping[str, Any]) -> Kind:
        """Return a class with the method's own options as knobs; ``type`` names the method.

        Raises ``ConfigError`` if ``peft`` has no such method, or it cannot be used here.
        """
        own, config = typing.cast(
            "tuple[Any, Any]", (cls, _config(str(knobs.get("type", cls.type))))
        )
        return _with_options(own, config)

    def config(self, names: list[str]) -> PeftConfig:
        """Write the settings as ``peft`` has them."""
        config = _config(self.type)
        known = {field.name for field in dataclasses.fields(config)}
        own = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name in known and field.init
        }
        return config(target_modules=names, **own)

    def count(self, split: SplitModel) -> int:
        """Count on a copy of the model how many numbers will train beside the head."""
        twin = SplitModel(copy.deepcopy(split.model), split.head)
        tuned = type(self)(**{f.name: getattr(self, f.name) for f in dataclasses.fields(self)})
        return sum(p.numel() for p in tuned.attach(twin).values())


@functools.cache
def _with_options(cls: Kind, config: type[PeftConfig]) -> Kind:
    """Make a class whose knobs are a method's options too."""
    kinds = typing.get_type_hints(config)
    fields = [
        (field.name, kinds[field.name], field.default)
        for field in dataclasses.fields(config)
        if field.name not in _OURS and _is_scalar(kinds[field.name], field.default)
    ]
    made = dataclasses.make_dataclass(
        cls.__name__, [(n, k, dataclasses.field(default=d)) for n, k, d in fields],
        bases=(cls,), namespace={"__module__": cls.__module__, "no_merge": _no_merge(config)},
    )  # fmt: skip
    return typing.cast("type[Peft]", made)


def _no_merge(config: type[PeftConfig]) -> str:
    """Say why a method cannot be written into the weights; empty where it can."""
    shared = config.__name__ == "LilyConfig"
    return "Lily's maps share their parts, which cannot be written into each." if shared else ""


def _config(name: str) -> type[PeftConfig]:
    """Return the class of a method's settings."""
    usable = {
        kind.value: PEFT_TYPE_TO_CONFIG_MAPPING[kind]
        for kind, method in PEFT_TYPE_TO_TUNER_MAPPING.items()
        if getattr(method, "tuner_layer_cls", None) is not None and kind.value not in _NOT_HERE
    }
    if name.upper() in usable:
        return typing.cast("type[PeftConfig]", usable[name.upper()])
    names = sorted(each.lower() for each in usable)
    known = name.upper() in {kind.value for kind in PEFT_TYPE_TO_CONFIG_MAPPING}
    why = _NOT_HERE.get(name.upper(), "puts tokens before the text, for which there is 'prefix'")
    raise ConfigError(
        f"peft(type=…) with one of: {', '.join(names)}",
        f"{name!r}, which {why}" if known else repr(name),
        "Choose one of them." if known else did_you_mean(name, names),
    )


def _is_scalar(kind: Any, default: object) -> bool:
    """Return whether a field may be given in a strategy line."""
    if default is dataclasses.MISSING:
        return False
    if typing.get_origin(kind) is Literal:
        return True
    kinds = typing.get_args(kind) or (kind,)
    return all(each in (int, float, bool, str, NoneType) for each in kinds)


TUNER = Peft
CARD = Card(
    idea="A door to every method of the library peft that changes linear maps and has no name of "
    "its own here. Its options are those of peft, by their names there. What was wrapped is put "
    "back bit for bit, as for every tuner.",
    equation="as the method has it, for example LoHa: y = W x + (B₁A₁ ⊙ B₂A₂) x",
    helps="To compare a method with the others under one protocol.",
    harms="Its learning rate suits LoHa and LoKr; HRA and BOFT were not seen to learn much at 1e-3 "
    "to 3e-3 either: give lr.",
    citation="Mangrulkar et al.: PEFT (2022), github.com/huggingface/peft; for each method the "
    "paper that peft's documentation names. LoHa: Hyeon-Woo et al. (2022), arXiv 2108.06098.",
    sources={"type": "ours", "targets": "as for lora"},
)
