"""The encoder alone of families that have a decoder too, such as T5 and BART."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from headstart.models.checkpoints.source import quiet

_RENAMED = {
    r"^model\.encoder\.": "",
    r"^encoder\.": "",
    r"^model\.shared\.": "embed_tokens.",
    r"^shared\.": "embed_tokens.",
}
"""From the names in a whole checkpoint of BART or its kin to those in the encoder."""


def has_decoder(config: Any) -> bool:
    """Return whether a family has an encoder and a decoder, whichever of them a checkpoint holds.

    T5's encoder saved alone says of itself that it has none.
    """
    two = type(config) in transformers.AutoModelForSeq2SeqLM._model_mapping
    return bool(config.is_encoder_decoder) or two


def is_loaded_whole(config: Any) -> bool:
    """Return whether transformers' ``AutoModel`` loads what is saved of a backbone.

    Of BART it would make a model whose decoder is noise. Whoever knows T5 loads its encoder by
    ``AutoModelForTextEncoding``, as sentence-transformers does.
    """
    known = type(config) in transformers.AutoModelForTextEncoding._model_mapping
    return known or not has_decoder(config)


def encoder_loader(config: Any) -> tuple[Any, dict[str, str]] | None:
    """Return what loads the encoder of a family with a decoder, from a whole checkpoint or its own.

    An object with ``from_pretrained``, and how names in a whole checkpoint become the encoder's;
    ``None`` where transformers has no such class, or the family's configuration does not say how
    wide the encoder is.
    """
    if not isinstance(getattr(config, "hidden_size", None), int):
        return None
    if type(config) in transformers.AutoModelForTextEncoding._model_mapping:
        return transformers.AutoModelForTextEncoding, {}
    if type(config) not in transformers.AutoModel._model_mapping:
        return None
    try:
        with torch.device("meta"), quiet():
            return type(transformers.AutoModel.from_config(config).get_encoder()), _RENAMED
    except (AttributeError, NotImplementedError, ValueError):
        return None
