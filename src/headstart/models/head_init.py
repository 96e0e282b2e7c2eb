"""Initialisation of a head's last linear map: drawn, zero, or from the label names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn

from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.model_config import is_decoder
from headstart.models.evaluating import evaluating
from headstart.models.head_choice import Target
from headstart.models.rescale import require_divisible

_NO_WORD = re.compile(r"LABEL_\d+|[\W\d_]+")
"""A label that says nothing: a number, signs, or the name that transformers gives."""
_NORMAL = "Use --head-init normal or zero."


@torch.no_grad()
def initialise_head(split: SplitModel, init: str, target: Target, tokenizer: Any) -> None:
    """Set where the last linear map of a freshly drawn head starts.

    ``zero`` gives every class the same probability. ``labels`` makes a row of the weights from the
    name of each class: the vector that the backbone, its pooling and the head's own hidden layers
    give the name as a text. Each row gets the norm that the drawn rows have on average, so that the
    logits start at the usual scale: that norm times the length of a text's vector times the cosine
    of the two. Biases start at zero. ``init`` is ``normal`` (the head stays as drawn), ``zero`` or
    ``labels``, which alone asks for the tokenizer. Raises ``ModelError`` if the head does not end
    in a linear map, or the labels cannot be read as text.
    """
    if init == "normal":
        return
    last = require_divisible(split, target.outputs, _NORMAL)
    if init == "labels" and tokenizer is None:
        raise ModelError(
            "a model that reads text, for --head-init labels",
            f"{type(split.model).__name__}, to which no label name can be given",
            _NORMAL,
        )
    if init == "zero":
        last.weight.zero_()
    else:
        last.weight.copy_(_of_labels(split, last, target, tokenizer))
    if last.bias is not None:
        last.bias.zero_()


def label_texts(names: Sequence[str]) -> list[str]:
    """Return class names as they stand in a text: ``not_entailment`` as ``not entailment``."""
    return [" ".join(re.split(r"[\s_]+", name.strip("_ "))) for name in names]


def _of_labels(split: SplitModel, last: nn.Linear, target: Target, tokenizer: Any) -> torch.Tensor:
    _require_words(target)
    if is_decoder(split.model.config):
        raise _no_vector(split)
    vectors = _vectors(split, last, label_texts(target.labels), tokenizer)
    units = nn.functional.normalize(vectors.float())
    _require_apart(units, target.labels)
    norm = torch.linalg.vector_norm(last.weight, dim=1).mean()
    if last.out_features == 1:  # two classes share a logit, the second's minus the first's
        units = units[1:] - units[:1]
    rows: torch.Tensor = units * norm
    return rows


def _require_words(target: Target) -> None:
    expected = "classes with names, for --head-init labels"
    if not target.labels:
        raise ModelError(expected, "a number to predict", _NORMAL)
    if target.kind == "choice":
        found = "multiple choice, whose head has one logit for whichever text is the candidate"
        raise ModelError(expected, found, _NORMAL)
    if target.kind == "tokens":
        found = "tags of words, whose names are no words of the text"
        raise ModelError(expected, found, _NORMAL)
    if target.spans:
        found = "a head that reads target spans, which the name of a label does not have"
        raise ModelError(expected, found, f"Let the task mark the spans in the text. {_NORMAL}")
    if numbers := [name for name in target.labels if _NO_WORD.fullmatch(name.strip())]:
        raise ModelError(
            "label names that are words, for --head-init labels",
            f"{', '.join(map(repr, numbers[:5]))}, which say nothing of the classes",
            "Name the classes: write words into the label column, or `labels:` into a task file. "
            f"{_NORMAL}",
        )


def _require_apart(units: torch.Tensor, labels: Sequence[str]) -> None:
    """Refuse classes with the same vector, between which the head could not choose."""
    same = (torch.cdist(units, units) < SAME).triu(1).nonzero()
    if len(same):
        first, second = (labels[i] for i in same[0].tolist())
        raise ModelError(
            "label names that the model tells apart, for --head-init labels",
            f"{first!r} and {second!r} with the same vector",
            f"Use other names, in words that the tokenizer knows. {_NORMAL}",
        )


SAME = 1e-5
"""Distance of unit vectors below which two are the same."""


def _vectors(split: SplitModel, last: nn.Linear, texts: list[str], tokenizer: Any) -> torch.Tensor:
    """Return what the last map is given for some texts, without dropout, (n, width)."""
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    with evaluating(split.model), _heard(last) as seen:
        split.model(**inputs.to(last.weight.device))
    if len(seen) != 1 or seen[0].ndim != 2 or len(seen[0]) != len(texts):
        raise _no_vector(split)
    return seen[0]


def _no_vector(split: SplitModel) -> ModelError:
    return ModelError(
        "a head whose last map reads one vector of each text, for --head-init labels",
        f"{type(split.model).__name__}, whose last map reads something else",
        f"Use an encoder. {_NORMAL}",
    )


@contextmanager
def _heard(last: nn.Linear) -> Iterator[list[torch.Tensor]]:
    seen: list[torch.Tensor] = []
    hear = cast(Callable[..., None], lambda _, args: seen.append(args[0]))
    with last.register_forward_pre_hook(hear):
        yield seen
