"""The attention and feed-forward maps of every encoder layer.

A family's layers keep them under names that a table knows; that they are what the names promise is
seen from their shapes. Anything else is refused rather than guessed.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from torch import nn

from headstart.errors import ModelError
from headstart.models.backbone import SplitModel


class Places(NamedTuple):
    """The parts of one encoder layer."""

    attention: nn.Module
    """The self-attention module, which is given the layer's states."""
    output: nn.Linear
    """The map behind attention: the last before dropout, residual and norm."""
    first: nn.Linear
    """The map into the feed-forward block."""
    second: nn.Linear
    """The map out of it."""


_BERT = ("attention.self", "attention.output.dense", "intermediate.dense", "output.dense")
_ALBERT = ("attention", "attention.dense", "ffn", "ffn_output")
_DISTILBERT = ("attention", "attention.out_lin", "ffn.lin1", "ffn.lin2")
_MODERNBERT = ("attn", "attn.Wo", "mlp.Wi", "mlp.Wo")
_MPNET = ("attention.attn", "attention.attn.o", "intermediate.dense", "output.dense")
_VISION = ("attention", "attention.o_proj", "mlp.fc1", "mlp.fc2")
_VISION_BEFORE = (
    "attention.attention", "attention.output.dense", "intermediate.dense", "output.dense",
)  # fmt: skip
_WAV2VEC2 = (
    "attention", "attention.out_proj", "feed_forward.intermediate_dense",
    "feed_forward.output_dense",
)  # fmt: skip
_WHISPER = ("self_attn", "self_attn.out_proj", "fc1", "fc2")
FAMILIES: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "albert": (_ALBERT,),
    "audio-spectrogram-transformer": (_VISION, _VISION_BEFORE),
    "beit": (_VISION, _VISION_BEFORE),
    "bert": (_BERT,),
    "camembert": (_BERT,),
    "deberta-v2": (_BERT,),
    "deit": (_VISION, _VISION_BEFORE),
    "dinov2": (_VISION,),
    "data2vec-audio": (_WAV2VEC2,),
    "distilbert": (_DISTILBERT,),
    "electra": (_BERT,),
    "hubert": (_WAV2VEC2,),
    "modernbert": (_MODERNBERT,),
    "mpnet": (_MPNET,),
    "roberta": (_BERT,),
    "unispeech": (_WAV2VEC2,),
    "unispeech-sat": (_WAV2VEC2,),
    "wav2vec2": (_WAV2VEC2,),
    "wavlm": (_WAV2VEC2,),
    "whisper": (_WHISPER,),
    "vit": (_VISION, _VISION_BEFORE),
    "xlm-roberta": (_BERT,),
}
"""By model type: names inside a layer, in the order of ``Places``; some differ by release."""


def find_places(split: SplitModel) -> list[Places]:
    """Find the parts of every encoder layer, from bottom to top.

    Layers that share their weights (ALBERT) are one. Raises ``ModelError`` if the model's family is
    not known, or its layers are not what they should be.
    """
    kind = str(getattr(getattr(split.base, "config", None), "model_type", ""))
    if kind not in FAMILIES:
        raise _refusal(split, "it is none of them")
    found: list[Places] = []
    for name, layer in split.layers():
        for inner in getattr(layer, "albert_layers", [layer]):
            known = (_read(inner, names) for names in FAMILIES[kind])
            places = next((each for each in known if each), None)
            if places is None:
                raise _refusal(split, f"{name} is built otherwise")
            found.append(places)
    return found


def _read(layer: nn.Module, names: tuple[str, ...]) -> Places | None:
    """Return a layer's parts, or ``None`` where they are missing or their shapes do not fit."""
    try:
        parts = [layer.get_submodule(name) for name in names]
    except AttributeError:
        return None
    if not all(isinstance(part, nn.Linear) for part in parts[1:]):
        return None
    places = Places(*cast(Any, parts))
    width, inner = places.first.in_features, places.first.out_features
    # A gated block (ModernBERT) makes two halves and multiplies them.
    fits = (
        places.output.out_features == places.second.out_features == width
        and places.second.in_features in (inner, inner // 2)
    )
    return places if fits else None


def _refusal(split: SplitModel, why: str) -> ModelError:
    return ModelError(
        "an encoder whose attention output and feed-forward maps are known: "
        f"{', '.join(sorted(FAMILIES))}",
        f"{type(split.base).__name__}: {why}",
        "Use another tuner, such as 'bitfit' or 'lora', which work on any encoder.",
    )
