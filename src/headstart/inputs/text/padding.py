"""How shorter rows are filled up, so that a row's logits do not depend on its batch."""

from __future__ import annotations

from typing import Any

import torch

from headstart.data.tokens.encode import padding_of
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.model_config import is_decoder
from headstart.models.evaluating import evaluating
from headstart.models.head_choice import Target

_ADDED = 3  # padding tokens that are tried
_TEXT = "a b c"


@torch.no_grad()
def settle_padding(split: SplitModel, tokenizer: Any, target: Target) -> None:
    """Tell a decoder the padding token, and pad on the right where the model allows it.

    A decoder's head reads the last token that is no padding. Tokenizers of decoders pad on the left
    for the sake of generation; a classifier does not need that, and where positions are counted
    from the first place of the batch, as in GPT-2, a row's logits would depend on the length of the
    others. XLNet, which reads the last place, stays as it is. Configuration and tokenizer are
    changed in place, the tokenizer is saved so with the model.
    """
    pad = padding_of(tokenizer).values
    config: Any = split.model.config
    if is_decoder(config):
        config.pad_token_id = pad["input_ids"]
    if tokenizer.pad_token_id is None:
        # Whoever loads what is saved may want batches too.
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad["input_ids"])
    # A head that reads target spans is told of their places, whatever the side.
    if tokenizer.padding_side != "left" or target.spans:
        return
    names = [n for n in ("input_ids", "token_type_ids") if n in tokenizer.model_input_names]
    told = tokenizer([_TEXT], return_attention_mask=False)
    alone = {name: torch.tensor(told[name]) for name in names}
    padded = {
        name: torch.nn.functional.pad(ids, (0, _ADDED), value=pad[name])
        for name, ids in alone.items()
    }
    if "attention_mask" in tokenizer.model_input_names:
        alone["attention_mask"] = torch.ones_like(alone["input_ids"])
        padded["attention_mask"] = torch.nn.functional.pad(alone["attention_mask"], (0, _ADDED))
    if target.kind == "choice":
        alone, padded = ({n: t[:, None] for n, t in batch.items()} for batch in (alone, padded))
    device = next(split.model.parameters()).device
    with evaluating(split.model):
        first, second = (
            split.model(**{name: t.to(device) for name, t in batch.items()}).logits.float()
            for batch in (alone, padded)
        )
    if torch.allclose(first, second, rtol=1e-3, atol=1e-5):
        tokenizer.padding_side = "right"
