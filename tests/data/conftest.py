"""A small WordPiece tokenizer, made here and now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = ("a", "b", "c", "d", "e", "good", "bad", "play", "##ing", "##ed", "*", "#", ".", ",")


@pytest.fixture
def make_tokenizer() -> Callable[..., Any]:
    """Return a maker of tokenizers; its settings are those of ``PreTrainedTokenizerFast``."""

    def make(**settings: Any) -> Any:
        vocabulary = {word: i for i, word in enumerate((*SPECIAL, *WORDS))}
        core = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106  no secret
        core.normalizer = normalizers.BertNormalizer()
        core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        core.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
        )
        given = {
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "model_max_length": 64,
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
            **settings,
        }
        return PreTrainedTokenizerFast(tokenizer_object=core, **given)

    return make


@pytest.fixture
def tokenizer(make_tokenizer: Callable[..., Any]) -> Any:
    return make_tokenizer()
