"""What a head reads of the base model's output, found out by trying: so much has to be stored."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

from headstart.models.backbone import SplitModel
from headstart.models.evaluating import evaluating
from headstart.models.heads import EncoderClassifier
from headstart.training.loader import BatchLoader

Kept = Literal["first", "mean", "words", "all"]
"""What is stored of a row's states: the first one, their mean, those of its words, or all."""
OutputClass = Callable[..., Any]
"""Makes what a base model returns."""
_KEPT_PARTS = {f.name for f in fields(BaseModelOutputWithPoolingAndCrossAttentions)}


def pooler_can_be_replayed(split: SplitModel, inside: set[str], loader: BatchLoader) -> bool:
    """Whether the head's part of the base model is the pooler, and that is all behind the states.

    ALBERT, for one, puts an activation of its own behind its pooler.
    """
    if not all(name.startswith(f"{split.prefix}.pooler.") for name in inside):
        return False
    with listening(split.base) as outputs, torch.no_grad():
        _run_longest(split, loader)
        pooled = cast(Any, split.base).pooler(outputs[0].last_hidden_state)
    wanted = outputs[0].pooler_output
    return pooled.shape == wanted.shape and torch.allclose(pooled, wanted, atol=1e-5)


def reading(
    split: SplitModel, loader: BatchLoader, live_pooler: bool
) -> tuple[Kept, int, OutputClass] | None:
    """Return what the head reads of the final states, texts per row, and the output's class.

    Told by the gradient: what the head does not read gets none. A mean is known only of a head of
    ours. ``None`` where the head reads parts of the output that are not kept, or all of a map of
    places. ``live_pooler`` says that the head's pooler is inside the base model.
    """
    pooler = cast(Any, split.base).pooler if live_pooler else None
    parts: set[str] = set()
    hear = split.base.register_forward_hook(lambda _, __, output: parts.update(output.keys()))
    leaves = listening(split.base, leaves=True, pooler=pooler)
    try:
        with hear, leaves as outputs, torch.enable_grad():
            logits = _run_longest(split, loader)
            torch.autograd.backward(logits.square().sum())
    except (AttributeError, KeyError, TypeError):  # it asks for a part that is not there
        if parts <= _KEPT_PARTS:
            raise
        return None
    split.model.zero_grad(set_to_none=True)
    if not parts <= _KEPT_PARTS:  # without the others the head has to give the same
        with torch.no_grad():
            if not torch.equal(_run_longest(split, loader), logits):
                return None
    states = outputs[0].last_hidden_state
    choices, output = len(states) // min(2, len(loader.lengths)), type(outputs[0])
    # A map of places, as convolutions give, of which the head reads all.
    if states.ndim != 3 and states.grad is not None:
        return None
    return _kept(split, loader, output, states.grad), choices, output


def _kept(
    split: SplitModel, loader: BatchLoader, output: OutputClass, grad: torch.Tensor | None
) -> Kept:
    """Return what has to be stored of the states, by the gradient that they get."""
    if grad is None:
        return "first"
    if loader.units is not None:
        return "words" if _reads_words_alone(split, loader) else "all"
    spans = _reads_spans(loader)
    if isinstance(split.model, EncoderClassifier) and not spans:
        pooling = split.model.head.spec.pooling
        return "all" if pooling == "attention" else cast(Kept, pooling)
    seen = (grad != 0).flatten(2).any(dim=2).any(dim=0)
    # No gradient at the first token either tells nothing: the head may begin with zeros.
    if bool(seen[0]) and not bool(seen[1:].any()) and not spans:
        return "first"
    return "mean" if _reads_mean(split, loader, output) else "all"


@torch.no_grad()
def _reads_words_alone(split: SplitModel, loader: BatchLoader) -> bool:
    """Whether the head gives a word's state the same logits without the others beside it."""
    batch = longest_rows(loader)
    words = batch.pop("word_places")

    def alone(_: nn.Module, __: Any, output: Any) -> Any:
        states = output.last_hidden_state.flatten(0, 1)[words].unsqueeze(1)
        return _output_class(output)(last_hidden_state=states)

    with evaluating(split.model):
        whole: Any = split.model(**batch, word_places=words).logits
        with split.base.register_forward_hook(alone):
            found: Any = split.model(**batch).logits
    found = found.flatten(0, -2)
    return found.shape == whole.shape and torch.allclose(found, whole, atol=1e-4)


@torch.no_grad()
def _reads_mean(split: SplitModel, loader: BatchLoader, output: OutputClass) -> bool:
    """Whether a head gives the same for the mean of the states, as where it maps and then averages.

    Found out only for models that read no tokens: their heads average over all places.
    """
    rows = np.argsort(-loader.lengths, kind="stable")[:1]
    batch = {name: tensor for name, tensor in loader.batch(rows).items() if name != "labels"}
    if "input_ids" in batch:
        return False
    with evaluating(split.model), listening(split.base) as outputs:
        wanted = cast(torch.Tensor, split.model(**batch).logits)
        states = outputs[0].last_hidden_state
        mean = output(last_hidden_state=states.mean(1, keepdim=True), pooler_output=None)
        batch.pop("attention_mask", None)
        with split.base.register_forward_hook(lambda *_: mean):
            found = cast(torch.Tensor, split.model(**batch).logits)
    return torch.allclose(found, wanted, rtol=1e-3, atol=1e-5)


def _output_class(output: Any) -> OutputClass:
    """Return the class of an output that holds states and what is pooled of them.

    It is the base model's own where that has a place for both: its classifier may ask for further
    parts by name, as Longformer's does, though they are empty.
    """
    own = {f.name for f in fields(output)} >= {"last_hidden_state", "pooler_output"}
    return type(output) if own else BaseModelOutputWithPoolingAndCrossAttentions


def _reads_spans(loader: BatchLoader) -> bool:
    """Whether the head is told of target spans, of which the longest rows may have lost theirs."""
    return "span_masks" in loader.batch(np.zeros(1, np.int64))


def longest_rows(loader: BatchLoader) -> dict[str, torch.Tensor]:
    """Return the two longest rows as a batch without labels."""
    batch = loader.batch(np.argsort(-loader.lengths, kind="stable")[:2])
    batch.pop("labels", None)
    return batch


def _run_longest(split: SplitModel, loader: BatchLoader) -> torch.Tensor:
    """Return the logits of the two longest rows, without dropout."""
    batch = longest_rows(loader)
    with evaluating(split.model):
        return cast(torch.Tensor, split.model(**batch).logits).float()


@contextlib.contextmanager
def listening(
    base: nn.Module, *, leaves: bool = False, pooler: nn.Module | None = None
) -> Iterator[list[Any]]:
    """Collect the base model's outputs; with ``leaves``, such that the states get gradients.

    ``pooler`` pools the cut-off states anew; otherwise what was pooled is a constant. The list
    grows by one output with each call.
    """
    outputs: list[Any] = []

    def hear(_: nn.Module, __: Any, output: Any) -> Any:
        if leaves:
            states = output.last_hidden_state.detach().requires_grad_()
            pooled = output.get("pooler_output")
            pooled = pooled.detach() if pooled is not None else None
            pooled = pooler(states) if pooler is not None else pooled
            output = _output_class(output)(last_hidden_state=states, pooler_output=pooled)
        outputs.append(output)
        return output

    with base.register_forward_hook(hear):
        yield outputs
