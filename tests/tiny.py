"""Tiny random models of every supported family, their batches, and a tokenizer that fits them.

Families of text are ``FAMILIES``; those of pictures and sound are listed apart.

One vocabulary serves all: it reads any lower-case English text (by letters where a word is
unknown) and keeps the padding at 1, where RoBERTa and MPNet expect it.
"""

from __future__ import annotations

import string
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForAudioClassification,
    AutoModelForImageClassification,
    AutoModelForMultipleChoice,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

FAMILIES: tuple[str, ...] = (
    "bert",
    "roberta",
    "distilbert",
    "electra",
    "mpnet",
    "deberta-v2",
    "modernbert",
    "albert",
    "xlm-roberta",
    "camembert",
)
IMAGE, AUDIO = ("vit",), ("audio-spectrogram-transformer",)
"""Families that read pictures and sound; they have no tokenizer."""
WITH_SEGMENTS = ("bert", "electra", "albert", "deberta-v2")
"""Families whose second text has token type 1."""
SPECIAL = {
    "roberta": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
    "other": ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"),
}
PAD = 1
_TEXT = """
the a an and or not is was it this that of in to very film movie plot story acting good great fine
wonderful brilliant moving funny bad awful dull poor boring terrible weak sad yes no one two
"""
WORDS = _TEXT.split()
PIECES = [*string.ascii_lowercase, *string.digits, *string.punctuation]
PIECES += [f"##{c}" for c in string.ascii_lowercase + string.digits]
VOCABULARY = 5 + len(WORDS) + len(PIECES)

_BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 160,
}
_SEEING = {name: value for name, value in _BERT.items() if name != "max_position_embeddings"} | {
    "patch_size": 4, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
}  # fmt: skip
_SETTINGS: dict[str, dict[str, Any]] = {
    "bert": _BERT,
    "roberta": _BERT | {"type_vocab_size": 1},
    "distilbert": {
        "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 160,
    },
    "electra": _BERT | {"embedding_size": 16},
    "mpnet": _BERT,
    "deberta-v2": _BERT | {
        "relative_attention": True, "position_buckets": 8, "max_relative_positions": 16,
        "pos_att_type": ["p2c", "c2p"], "share_att_key": True, "norm_rel_ebd": "layer_norm",
        "position_biased_input": False, "type_vocab_size": 2,
    },
    # Layers 1 and 2 see a window of 4 tokens to each side only.
    "modernbert": _BERT | {
        "num_hidden_layers": 3, "global_attn_every_n_layers": 3, "local_attention": 8,
    },
    "albert": _BERT | {"embedding_size": 16},
    "xlm-roberta": _BERT | {"type_vocab_size": 1},
    "camembert": _BERT | {"type_vocab_size": 1},
    "vit": _SEEING | {"image_size": 8},
    "audio-spectrogram-transformer": _SEEING | {
        "max_length": 16, "num_mel_bins": 8, "frequency_stride": 4, "time_stride": 4,
    },
}  # fmt: skip


def build(
    family: str, num_labels: int = 2, kind: str = "sequence", seed: int = 0, **settings: Any
) -> nn.Module:
    """Build a classifier whose every parameter, biases and norms included, is far from trivial.

    The family is one of ``FAMILIES``, ``IMAGE`` or ``AUDIO``; settings go over its configuration.
    ``num_labels`` is without effect for multiple choice. The model is in evaluation mode, and the
    global generator is left as it was.
    """
    own: dict[str, Any] = {"num_labels": num_labels}
    if family in FAMILIES:
        own |= {"vocab_size": VOCABULARY, "pad_token_id": PAD, "bos_token_id": 0}
        own |= {"cls_token_id": 0, "eos_token_id": 2, "sep_token_id": 2}
    config = AutoConfig.for_model(family, **_SETTINGS[family] | own | settings)
    auto = AutoModelForMultipleChoice if kind == "choice" else auto_class(family)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = auto.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def auto_class(family: str) -> Any:
    """Return the class that loads a family's classifier."""
    if family in IMAGE:
        return AutoModelForImageClassification
    return (
        AutoModelForAudioClassification if family in AUDIO else AutoModelForSequenceClassification
    )


def kind_of(family: str) -> str:
    """Return what a family reads: ``text``, ``image`` or ``audio``."""
    return "image" if family in IMAGE else "audio" if family in AUDIO else "text"


def batch_for(family: str, n: int = 4, seed: int = 0) -> dict[str, torch.Tensor]:
    """Make random inputs for a family, with padding where it can have some."""
    generator = torch.Generator().manual_seed(seed)
    if family in IMAGE:
        return {"pixel_values": torch.randn(n, 3, 8, 8, generator=generator)}
    if family in AUDIO:
        return {"input_values": torch.randn(n, 16, 8, generator=generator)}
    return batch(n, seed=seed)


def batch(n: int = 4, length: int = 12, seed: int = 0, choices: int = 0) -> dict[str, torch.Tensor]:
    """Make random inputs, the first of full length and the others shorter, with real padding.

    They are (n, length), or (n, choices, length) for multiple choice.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = n * max(1, choices)
    ids = torch.randint(5, VOCABULARY, (rows, length), generator=generator)
    lengths = torch.randint(length // 2, length, (rows,), generator=generator)
    lengths[0] = length
    mask = (torch.arange(length) < lengths[:, None]).long()
    ids[:, 0] = 0
    inputs = {"input_ids": ids * mask + PAD * (1 - mask), "attention_mask": mask}
    shape = (n, choices, length) if choices else (n, length)
    return {name: tensor.view(shape) for name, tensor in inputs.items()}


def tokenizer(family: str = "bert") -> PreTrainedTokenizerFast:
    """Build a WordPiece tokenizer with the family's own special tokens and pair form.

    Its ids fit the models of ``build``.
    """
    like_roberta = family in ("roberta", "xlm-roberta", "camembert", "mpnet")
    special = SPECIAL["roberta" if like_roberta else "other"]
    cls, padding, sep, unknown, mask = special
    vocabulary = {token: i for i, token in enumerate((*special, *WORDS, *PIECES))}
    core = Tokenizer(WordPiece(vocabulary, unk_token=unknown))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    second = 1 if family in WITH_SEGMENTS else 0
    middle = f"{sep} {sep}" if like_roberta else sep
    core.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {middle} $B:{second} {sep}:{second}",
        special_tokens=[(cls, 0), (sep, 2)],
    )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        cls_token=cls,
        pad_token=padding,
        sep_token=sep,
        unk_token=unknown,
        mask_token=mask,
        model_max_length=128,
        model_input_names=names if family in WITH_SEGMENTS else [names[0], names[2]],
    )


def save_pretrained(family: str, folder: Path | str, *, head: bool = False, seed: int = 0) -> Path:
    """Write a checkpoint with its tokenizer, as a user would have it.

    With ``head`` it holds a sequence-classification head. Weights are those of ``build`` with the
    seed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in _files(family, head, seed).items():
        (folder / name).write_bytes(content)
    return folder


@cache
def _files(family: str, head: bool, seed: int) -> dict[str, bytes]:
    """Return the files of a checkpoint; to make them once saves a tenth of a tiny run."""
    model: Any = build(family, seed=seed)
    saved = model if head else getattr(model, model.base_model_prefix)
    with tempfile.TemporaryDirectory() as made:
        saved.save_pretrained(made)
        tokenizer(family).save_pretrained(made)
        return {path.name: path.read_bytes() for path in Path(made).iterdir()}
