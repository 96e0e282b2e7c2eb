"""Frozen features: the backbone's output computed once and replayed to the head.

While nothing but the head trains, the backbone gives the same output for a row in every epoch.
The base model is then replaced by a stand-in that returns the stored output, so the model's own
forward (pooling, dropout, activation) runs unchanged on top of it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from headstart.data.batching import budget_batches
from headstart.data.ragged import places
from headstart.models.backbone import SplitModel
from headstart.models.evaluating import evaluating
from headstart.models.heads import REDUCES, mask_of_states, mean_of_tokens
from headstart.training.frozen.first_token import first_token_only
from headstart.training.frozen.reading import (
    Kept,
    OutputClass,
    listening,
    pooler_can_be_replayed,
    reading,
)
from headstart.training.loader import BatchLoader, send
from headstart.training.machine.runtime import Runtime

Indices = npt.NDArray[np.int64]
LARGEST_STORE = 2 * 2**30
"""Bytes of features up to which they are kept; beyond, they are computed anew each time."""
TOKENS_PER_BATCH = {"cpu": 2048}
"""Tokens that go through the base model at once; a processor keeps what these give in its cache."""


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
        seconds: float,
    ) -> None:
        self.setup_seconds = seconds
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
        """Return whether anything in the batch of some rows is filled up."""
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

    Yields the loaders to use instead; ``None`` where the features are too many to keep, rows are
    padded on the left, the head reaches into the base model at another place than its pooler, or
    reads more of its output than states and what is pooled of them. The backbone must not change
    inside the block.
    """
    model, base = split.model, split.base
    if any(loader.left_padded for loader in loaders):
        yield None
        return
    inside = {n for n in split.head if n.startswith(f"{split.prefix}.")}
    live_pooler = bool(inside)
    if inside and not pooler_can_be_replayed(split, inside, loaders[0]):
        yield None
        return
    layers_read = getattr(model.config, "use_weighted_layer_sum", False)
    read = None if layers_read else reading(split, loaders[0], live_pooler)
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
) -> tuple[list[torch.Tensor], torch.Tensor | None, float]:
    """Run every row through the base model once, without dropout.

    For each row its states, (choices, L, D), or (choices, 1, D), or of words (1, words, D); the
    pooled outputs, (n, choices, D), if any; and the seconds that it took.
    """
    began = time.perf_counter()
    states: list[torch.Tensor] = [torch.empty(0)] * len(loader.lengths)
    pooled: list[torch.Tensor] = [torch.empty(0)] * len(loader.lengths)
    tokens = TOKENS_PER_BATCH.get(runtime.device.type, 8192)
    for rows in budget_batches(loader.lengths, tokens, 256, loader.apart):
        batch = loader.batch(rows)
        batch.pop("labels", None)
        with evaluating(split.model), listening(split.base) as outputs, runtime.autocast():
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
    found_pooled = torch.stack(pooled) if has_pooled else None
    return states, found_pooled, time.perf_counter() - began
