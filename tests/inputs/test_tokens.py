"""Rows of words with the tokenizers of BERT, of RoBERTa and of sentencepiece."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, pipeline

import headstart as hs
import tiny
import tiny_tags
from headstart.data.rows import Rows
from headstart.data.tokens.words import Words
from headstart.inputs._base import InputSettings
from headstart.inputs.tokens import Tokens
from headstart.models.checkpoints.loading import load_classifier
from headstart.models.head_choice import Target

TEXTS = [" ".join(["", *row["tokens"]]) for row in tiny_tags.rows(40)]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
ENDS = processors.TemplateProcessing(
    single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
)


def byte_level(pieces: pre_tokenizers.PreTokenizer) -> Tokenizer:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pieces
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(TEXTS, trainer)
    core.decoder, core.post_processor = decoders.ByteLevel(), ENDS
    return core


def sentencepiece(scheme: str) -> Tokenizer:
    core = Tokenizer(models.Unigram())
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    own = {"special_tokens": SPECIAL, "unk_token": "<unk>", "show_progress": False}
    trainer = trainers.UnigramTrainer(vocab_size=60, **own)
    core.train_from_iterator(TEXTS, trainer)
    core.decoder, core.post_processor = decoders.Metaspace(), ENDS
    return core


TOKENIZERS: dict[str, tuple[Callable[[], Tokenizer], str]] = {
    "roberta": (lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False)), "Roberta"),
    "modernbert": (lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False)), ""),
    "in a sequence": (
        lambda: byte_level(pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ])), "",
    ),
    "with the space": (lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True)), ""),
    "xlm-roberta": (lambda: sentencepiece("always"), ""),
    "first": (lambda: sentencepiece("first"), ""),
    "never": (lambda: sentencepiece("never"), ""),
}  # fmt: skip
"""What makes each, and the class that it is saved as; the general one where none is said."""


def save(name: str, folder: Path) -> Path:
    """Write a tiny model with one of the tokenizers."""
    make, kind = TOKENIZERS[name]
    core = make()
    model: Any = tiny.build("roberta", vocab_size=core.get_vocab_size(), pad_token_id=1)
    model.base_model.save_pretrained(folder)
    names = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
    names |= {"pad_token": "<pad>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=64, **names)
    tokenizer.save_pretrained(folder)
    if kind:
        path = folder / "tokenizer_config.json"
        config = json.loads(path.read_text()) | {"tokenizer_class": f"{kind}Tokenizer"}
        path.write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("name", TOKENIZERS)
def test_words_are_the_tokens_that_they_are_in_a_text(name: str, tmp_path: Path) -> None:
    folder = save(name, tmp_path)
    split = load_classifier(str(folder), Target(tiny_tags.TAGS, "tokens"))
    settings = InputSettings(source=str(folder))
    preprocessor: Any = Tokens.for_training(split, Target(tiny_tags.TAGS, "tokens"), settings)
    words = ["the", "film", "acting", "story", "good"]
    examples = preprocessor.encode(Rows([Words.of_list(words)]))
    batch = examples.collate(np.arange(1))
    tokenizer, ids = preprocessor.tokenizer, batch["input_ids"][0].tolist()
    assert ids == tokenizer(" ".join(words))["input_ids"]
    places = batch["word_places"].tolist()
    for word, first, end in zip(words, places, [*places[1:], len(ids) - 1], strict=True):
        assert tokenizer.decode(ids[first:end]).strip() == word
        assert tokenizer.convert_ids_to_tokens(ids[first]).startswith(("\u0120", "\u2581"))


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
@pytest.mark.parametrize("name", ["roberta", "modernbert"])
def test_a_saved_model_reads_words_as_it_was_trained_on_them(name: str, tmp_path: Path) -> None:
    result = hs.fit(
        model=str(save(name, tmp_path / "model")), train=tiny_tags.frame(32),
        validation=tiny_tags.frame(8, 1), text="tokens", label="tags", batch_size=8, guard=False,
        strategy="full(epochs=6, lr=5e-3, head_lr=1e-2)", precision="fp32", out=tmp_path / "run",
    )  # fmt: skip
    assert result.last["entity_f1"] > 0.9
    rows = [row["tokens"] for row in tiny_tags.rows(4, 2)]
    texts = [" ".join(words) for words in rows]
    tag = pipeline(
        "token-classification", model=str(tmp_path / "run" / "model"), device="cpu",
        aggregation_strategy="first",
    )  # fmt: skip
    saved = hs.load(str(tmp_path / "run"))
    for own, by_text, theirs in zip(
        saved.predict(rows), saved.predict(texts), tag(texts), strict=True
    ):
        assert own == by_text
        assert len(own.label) > 2
        scores = [span["score"] for span in own.label]
        assert [span["entity_group"] for span in theirs] == [span["label"] for span in own.label]
        np.testing.assert_allclose([span["score"] for span in theirs], scores, atol=1e-4)
