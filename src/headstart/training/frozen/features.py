"""Frozen features: the backbone's output computed once and replayed to the head.

While nothing but the head trains, the backbone gives the same output for a row in every epoch.
The base model is then replaced by a stand-in that returns the stored output, so the model's own
forward (pooling, dropout, activation) runs unchanged on top of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

from headstart.data.batching import budget_batches
from headstart.data.ragged import places
from headstart.models.backbone import SplitModel
from headstart.models.evaluating import evaluating
from headstart.models.heads import REDUCES, EncoderClassifier, mask_of_states, mean_of_tokens
from headstart.training.frozen.first_token import first_token_only
from headstart.training.loader import BatchLoader, send
from headstart.training.machine.runtime import Runtime

Indices = npt.NDArray[np.int64]
Kept = Literal["first", "mean", "words", "all"]
"""What is stored of a row's states: the first one, their mean, those of its words, or all."""
_KEPT_PARTS = {f.name for f in fields(BaseModelOutputWithPoolingAndCrossAttentions)}
LARGEST_STORE = 2 * 2**30
"""Bytes of features up to which they are kept; beyond, they are computed anew each time."""
TOKENS_PER_BATCH = {"cpu": 2048}
"""Tokens that go through the base model at once; a processor keeps what these give in its cache."""


OutputClass = Callable[..., Any]
"""Makes what a base model returns."""


class _MoreThanIsKept(Exception):  # noqa: N818  no error: it never leaves this file
    """The base model's output has parts that are not stored."""


class _StandIn(nn.Module):
    """Takes the base model's place and returns what is stored for the current rows."""

    def __init__(self, base: nn.Module, live_pooler: bool, output: OutputClass) -> None:
        super().__init__()
        self.output = output
        # Some heads live inside the base model: a pooler that the checkpoint lacks still trains.
        self.pooler = cast("nn.Module | None", base.pooler if live_pooler else None)
        vars(self)[REDUCES] = getattr(base, REDUCES, None)
        self.stored: tuple[torch.Tensor, torch.Tensor | None] | None = None

    def forward(self, *_: Any, **__: Any) -> Any:
        states, pooled = cast("tuple[torch.Tensor, torch.Tensor | None]", self.stored)
        if self.pooler is not None:
            pooled = self.pooler(states)
        return self.output(last_hidden_state=states, pooler_output=pooled)


class _FeatureLoader:
    """A loader that also tells the stand-in which rows come next."""

    def __init__(
        self,
        loader: BatchLoader,
        stand_in: _StandIn,
        kept: Kept,
        states: list[torch.Tensor],
        pooled: torch.Tensor | None,
    ) -> None:
        self._loader, self._stand_in, self._kept = loader, stand_in, kept
        self._states, self._pooled = states, pooled
        same = len({s.shape for s in states}) == 1 and kept != "words"
        self._table = torch.stack(states) if same else None
        self._words = torch.cat([s[0] for s in states]) if kept == "words" else None
        self.lengths, self.left_padded = loader.lengths, loader.left_padded
        self.row_of, self.units, self.apart = loader.row_of, loader.units, loader.apart
        self.data_row = loader.data_row

    def batch(self, rows: Indices, draw: int | None = None) -> dict[str, torch.Tensor]:  # noqa: ARG002
        """Return the inputs for some rows and hand their features to the stand-in."""
        batch = self._loader.replayed(rows)
        chosen = send(torch.from_numpy(rows), self._states[0].device)
        if self._words is not None and self.units is not None:
            begins = np.cumsum(self.units) - self.units
            own = send(torch.from_numpy(places(begins[rows], self.units[rows])), chosen.device)
            states = self._words[own].unsqueeze(1)
            batch["word_places"] = torch.arange(len(own), device=chosen.device)
            batch.pop("attention_mask", None)
        elif self._table is not None:
            states = self._table[chosen].flatten(0, 1)
        else:
            states = nn.utils.rnn.pad_sequence([s for i in rows for s in self._states[i]], True)
            # A batch may be wider than its longest row; masks are as wide as the batch.
            if "input_ids" in batch:
                missing = batch["input_ids"].shape[-1] - states.shape[1]
                states = nn.functional.pad(states, (0, 0, 0, missing))
        if self._kept == "mean":
            batch.pop("attention_mask", None)  # the one state that is left is no padding
        pooled = None if self._pooled is None else self._pooled[chosen].flatten(0, 1)
        self._stand_in.stored = (states, pooled)
        return batch

    replayed = batch

    def padded(self, rows: Indices) -> bool:
        """Tell whether anything in the batch of some rows is filled up."""
        return self._loader.padded(rows)

    def vocabulary(self) -> Indices | None:
        """Return nothing: the base model, which would read tokens, is not there."""
        return None

    def whole(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the logits of the data from those of the rows; see ``Examples.whole``."""
        return self._loader.whole(values)


@contextlib.contextmanager
def frozen_features(
    split: SplitModel, loaders: list[BatchLoader], runtime: Runtime
) -> Iterator[list[BatchLoader] | None]:
    """Replace the base model by its stored output while the head trains.

    Args:
        split: The model; its backbone must not change inside the block.
        loaders: The rows whose features are needed.
        runtime: Device and precision.

    Yields:
        The loaders to use instead; ``None`` where the features are too many to keep, rows are
        padded on the left, the head reaches into the base model at another place than its
        pooler, or reads more of its output than states and what is pooled of them.
    """
    model, base = split.model, split.base
    if any(loader.left_padded for loader in loaders):
        yield None
        return
    inside = {n for n in split.head if n.startswith(f"{split.prefix}.")}
    live_pooler = bool(inside)
    if inside and not _pooler_can_be_replayed(split, inside, loaders[0]):
        yield None
        return
    layers_read = getattr(model.config, "use_weighted_layer_sum", False)
    read = None if layers_read else _reading(split, loaders[0], live_pooler)
    if read is None:
        yield None
        return
    kept, choices, output = read
    tokens = choices * sum(_stored(loader, kept) for loader in loaders)
    width = int(getattr(model.config, "hidden_size", 0) or 0)
    if 4 * tokens * max(1, width) > LARGEST_STORE:
        yield None
        return
    stand_in = _StandIn(base, live_pooler, output)
    with first_token_only(split, loaders[0]):
        stored = [_compute(split, loader, runtime, kept) for loader in loaders]
    setattr(model, split.prefix, stand_in)
    try:
        yield [
            _FeatureLoader(loader, stand_in, kept, *found)
            for loader, found in zip(loaders, stored, strict=True)
        ]
    finally:
        setattr(model, split.prefix, base)


def _stored(loader: BatchLoader, kept: Kept) -> int:
    """Return how many states are stored."""
    if kept == "words" and loader.units is not None:
        return int(loader.units.sum())
    return int(loader.lengths.sum()) if kept == "all" else len(loader.lengths)


@torch.no_grad()
def _compute(
    split: SplitModel, loader: BatchLoader, runtime: Runtime, kept: Kept
) -> tuple[list[torch.Tensor], torch.Tensor | None]:
    """Run every row through the base model once, without dropout.

    Args:
        split: The model.
        loader: The rows.
        runtime: Device and precision.
        kept: What is stored.

    Returns:
        For each row its states, (choices, L, D), or (choices, 1, D), or of words (1, words, D); and
        the pooled outputs, (n, choices, D), if any.
    """
    states: list[torch.Tensor] = [torch.empty(0)] * len(loader.lengths)
    pooled: list[torch.Tensor] = [torch.empty(0)] * len(loader.lengths)
    tokens = TOKENS_PER_BATCH.get(runtime.device.type, 8192)
    for rows in budget_batches(loader.lengths, tokens, 256, loader.apart):
        batch = loader.batch(rows)
        batch.pop("labels", None)
        with evaluating(split.model), _listening(split.base) as outputs, runtime.autocast():
            split.model(**batch)
        output = outputs[0]
        found = output.last_hidden_state.float()
        if kept == "mean":
            mask = batch.get("attention_mask")
            flat = None if mask is None else mask.reshape(len(found), -1)
            own = mask_of_states(split.base, found, flat)
            found = mean_of_tokens(found, own).unsqueeze(1)
        if kept == "words" and loader.units is not None:
            words = found.flatten(0, 1)[batch["word_places"]].split(loader.units[rows].tolist())
            for row, part in zip(rows, words, strict=True):
                states[row] = part.clone().unsqueeze(0)
            continue
        found = found.unflatten(0, (len(rows), -1))
        extra = getattr(output, "pooler_output", None)
        for place, row in enumerate(rows):
            length = int(loader.lengths[row]) if kept == "all" else 1
            states[row] = found[place, :, :length].clone()
            if extra is not None:
                pooled[row] = extra.float().unflatten(0, (len(rows), -1))[place].clone()
    has_pooled = bool(len(pooled)) and pooled[0].numel() > 0
    return states, torch.stack(pooled) if has_pooled else None


def _pooler_can_be_replayed(split: SplitModel, inside: set[str], loader: BatchLoader) -> bool:
    """Whether the head's part of the base model is the pooler, and that is all behind the states.

    ALBERT, for one, puts an activation of its own behind its pooler.
    """
    if not all(name.startswith(f"{split.prefix}.pooler.") for name in inside):
        return False
    with _listening(split.base) as outputs, torch.no_grad():
        _run_longest(split, loader)
        pooled = cast(Any, split.base).pooler(outputs[0].last_hidden_state)
    wanted = outputs[0].pooler_output
    return pooled.shape == wanted.shape and torch.allclose(pooled, wanted, atol=1e-5)


def _reading(
    split: SplitModel, loader: BatchLoader, live_pooler: bool
) -> tuple[Kept, int, OutputClass] | None:
    """Return what the head reads of the final states, texts per row, and the output's class.

    Told by the gradient: what the head does not read gets none. A mean is known only of a head of
    ours. ``None`` where the base model's
    output has parts that are not kept, such as Longformer's, whose head reads them.
    """
    pooler = cast(Any, split.base).pooler if live_pooler else None
    try:
        with _listening(split.base, leaves=True, pooler=pooler) as outputs, torch.enable_grad():
            logits = _run_longest(split, loader)
            torch.autograd.backward(logits.square().sum())
    except _MoreThanIsKept:
        return None
    split.model.zero_grad(set_to_none=True)
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
    batch = loader.batch(np.argsort(-loader.lengths, kind="stable")[:2])
    batch.pop("labels", None)
    words = batch.pop("word_places")

    def alone(_: nn.Module, __: Any, output: Any) -> Any:
        states = output.last_hidden_state.flatten(0, 1)[words].unsqueeze(1)
        return _output_class(output)(last_hidden_state=states)

    with evaluating(split.model):
        whole: Any = split.model(**batch, word_places=words).logits
        handle = split.base.register_forward_hook(alone)
        try:
            found: Any = split.model(**batch).logits
        finally:
            handle.remove()
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
    with evaluating(split.model), _listening(split.base) as outputs:
        wanted = cast(torch.Tensor, split.model(**batch).logits)
        states = outputs[0].last_hidden_state
        mean = output(last_hidden_state=states.mean(1, keepdim=True), pooler_output=None)
        handle = split.base.register_forward_hook(lambda *_: mean)
        batch.pop("attention_mask", None)
        try:
            found = cast(torch.Tensor, split.model(**batch).logits)
        finally:
            handle.remove()
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


def _run_longest(split: SplitModel, loader: BatchLoader) -> torch.Tensor:
    """Return the logits of the two longest rows, without dropout."""
    batch = loader.batch(np.argsort(-loader.lengths, kind="stable")[:2])
    batch.pop("labels", None)
    with evaluating(split.model):
        return cast(torch.Tensor, split.model(**batch).logits).float()


@contextlib.contextmanager
def _listening(
    base: nn.Module, *, leaves: bool = False, pooler: nn.Module | None = None
) -> Iterator[list[Any]]:
    """Collect the base model's outputs; with ``leaves``, such that the states get gradients.

    Args:
        base: The base model.
        leaves: Whether to cut the states off from what computed them.
        pooler: Pools the cut-off states anew; otherwise what was pooled is a constant.

    Yields:
        A list that grows by one output with each call of the base model.
    """
    outputs: list[Any] = []

    def hear(_: nn.Module, __: Any, output: Any) -> Any:
        if leaves:
            if not output.keys() <= _KEPT_PARTS:
                raise _MoreThanIsKept
            states = output.last_hidden_state.detach().requires_grad_()
            pooled = output.get("pooler_output")
            pooled = pooled.detach() if pooled is not None else None
            pooled = pooler(states) if pooler is not None else pooled
            output = _output_class(output)(last_hidden_state=states, pooler_output=pooled)
        outputs.append(output)
        return output

    handle = base.register_forward_hook(hear)
    try:
        yield outputs
    finally:
        handle.remove()
