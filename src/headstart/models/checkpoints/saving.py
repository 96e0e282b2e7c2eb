"""Saving a classifier as a checkpoint, and making sure that it reads back bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import nn

from headstart.errors import ModelError
from headstart.files.writing import whole_folder
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.encoders import is_loaded_whole
from headstart.models.checkpoints.loading import OWN_HEAD_FILE, OWN_HEAD_WEIGHTS, load_saved
from headstart.models.checkpoints.sentence import is_sentence_head, write_modules
from headstart.models.checkpoints.source import quiet
from headstart.models.head_choice import Target
from headstart.models.heads import EncoderClassifier


def save_classifier(
    split: SplitModel,
    target: Target,
    processor: Any,
    folder: Path,
    card: str,
    *,
    longest: int | None = None,
    trust_remote_code: bool = False,
) -> None:
    """Write a checkpoint with tokenizer and model card, then read it back and compare.

    With a native head the folder is a plain transformers checkpoint. With a head of ours it is a
    plain checkpoint of the backbone, the head standing beside it: in a form of ours and, where it
    is one linear map of a pooled vector, in that of sentence-transformers too. The folder is there
    only once all of it has been written and compared.

    Args:
        split: The trained model, without tuner modules.
        target: What it predicts.
        processor: Its tokenizer, image processor or feature extractor.
        folder: Where to; what stands there is replaced.
        card: Text of the model card.
        longest: Longest input in tokens, for sentence-transformers; 512 if not given.
        trust_remote_code: Whether code that comes with the model may run to read it back.

    Raises:
        ModelError: If what was written does not read back bit for bit.
    """
    with quiet(), whole_folder(folder) as new:
        _write(split, target, processor, new, card)
        if isinstance(split.model, EncoderClassifier) and has_sentence_form(split.model):
            write_modules(split.model.head, new, longest or 512)
        _compare(split.model, new, trust_remote_code)


def has_sentence_form(model: nn.Module) -> bool:
    """Return whether a classifier is saved in the form of sentence-transformers too.

    Its head then has such a form, and its backbone loads there.
    """
    own = isinstance(model, EncoderClassifier) and is_sentence_head(model.head)
    reads: Any = getattr(model, "backbone", model)
    text = getattr(reads, "main_input_name", "input_ids") == "input_ids"
    return own and text and is_loaded_whole(model.config)


def _write(split: SplitModel, target: Target, processor: Any, folder: Path, card: str) -> None:
    model = split.model
    own = isinstance(model, EncoderClassifier)
    plain = cast(Any, model.backbone if own else model)
    plain.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")
    if isinstance(model, EncoderClassifier):
        save_file(split.head_state(), folder / OWN_HEAD_WEIGHTS)
        record = {
            "labels": list(target.labels),
            "kind": target.kind,
            "multilabel": target.multilabel,
            "head": model.head.spec.to_dict(),
        }
        (folder / OWN_HEAD_FILE).write_text(json.dumps(record, indent=1), encoding="utf-8")


def _compare(model: nn.Module, folder: Path, trust: bool) -> None:
    again, _ = load_saved(str(folder), trust_remote_code=trust)
    written, read = model.state_dict(), again.model.state_dict()
    differ = sorted(
        name
        for name in {*written, *read}
        if name not in written
        or name not in read
        or not torch.equal(written[name].cpu(), read[name])
    )
    if differ:
        raise ModelError(
            "a checkpoint that reads back bit for bit",
            f"{len(differ)} tensors that differ, for example {differ[0]}",
            "Please report this with the name of the model.",
        )
