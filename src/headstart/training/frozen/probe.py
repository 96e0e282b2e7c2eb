"""Many heads at once on frozen features: every seed with every learning rate in one computation.

::

    for each step:
        each seed's rows: their stored features
        logits of all heads             one batched product instead of one for each head
        the sum of their losses         no head's gradient depends on another's
        AdamW                           each head with its own rate, its gradient clipped alone

Every head ends as if it had been trained alone, up to the order in which sums are rounded. Dropout
is off, for a mask shared among heads would tie them to one another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.func import functional_call, vmap

from headstart.data.batching import BatchOrder, budget_batches
from headstart.data.ragged import places
from headstart.data.tokens.windows import window_weights
from headstart.models.backbone import SplitModel
from headstart.models.evaluating import evaluating
from headstart.targets._base import Floats, TargetKind
from headstart.training.evaluate import ROWS_PER_BATCH, TOKENS_PER_BATCH
from headstart.training.loader import BatchLoader
from headstart.training.optim import OptimizerSettings, rate_factor
from headstart.training.seeds import stream

Weights = npt.NDArray[np.float64]
Heads = dict[str, torch.Tensor]
"""The tensors of all heads by name, (seeds, rates, *shape)."""


def train_heads(
    split: SplitModel,
    loader: BatchLoader,
    starts: Sequence[Mapping[str, torch.Tensor]],
    seeds: Sequence[int],
    rates: Sequence[float],
    kind: TargetKind,
    *,
    steps: int,
    batch_size: int,
    settings: OptimizerSettings,
) -> Heads:
    """Train a head for every seed and learning rate.

    ``split`` and ``loader`` are those inside ``frozen_features``. ``starts`` is the head of each
    seed to start from; ``rates`` are peak rates, those of ``settings`` are not looked at.
    """
    heads = {
        name: torch.stack([start[name] for start in starts])
        .to(parameter)
        .unsqueeze(1)
        .repeat(1, len(rates), *[1] * parameter.ndim)
        .requires_grad_()
        for name, parameter in split.head.items()
    }
    orders = [BatchOrder(loader.lengths, batch_size, stream(seed, "order")) for seed in seeds]
    adam = _Adam(heads, rates, settings)
    warmup, per_epoch = round(settings.warmup * steps), orders[0].per_epoch
    with evaluating(split.model):
        for step in range(steps):
            epoch, place = divmod(step, per_epoch)
            if place == 0:
                epochs = [order.epoch(epoch) for order in orders]
            loss = _losses(split, loader, heads, kind, [batches[place] for batches in epochs])
            gradients = torch.autograd.grad(loss, list(heads.values()))
            adam.step(gradients, rate_factor(step, steps, warmup))
    return {name: tensor.detach() for name, tensor in heads.items()}


@torch.no_grad()
def probe_logits(split: SplitModel, loader: BatchLoader, heads: Heads, outputs: int) -> Floats:
    """Compute the logits that every head gives every row, (seeds, rates, n, outputs).

    Where each word has a label, they are those of all words, (seeds, rates, words, outputs).
    ``split`` and ``loader`` are those inside ``frozen_features``.
    """
    shape = next(iter(heads.values())).shape[:2]
    counts = np.ones_like(loader.lengths) if loader.units is None else loader.units
    begins = np.cumsum(counts) - counts
    logits = torch.zeros(int(counts.sum()), *shape, outputs)
    with evaluating(split.model):
        for rows in budget_batches(loader.lengths, TOKENS_PER_BATCH, ROWS_PER_BATCH, loader.apart):
            found = _logits(split, heads, _inputs(split, loader, rows), None)
            own = torch.from_numpy(places(begins[rows], counts[rows]))
            logits[own] = found.float().cpu().movedim(2, 0)
    return np.moveaxis(loader.whole(logits.numpy()), 0, 2)


def _losses(
    split: SplitModel,
    loader: BatchLoader,
    heads: Heads,
    kind: TargetKind,
    batches: Sequence[npt.NDArray[np.int64]],
) -> torch.Tensor:
    """Return the sum over all heads of the mean loss on their seed's rows."""
    # The last batch of an epoch is smaller and comes at another step for every seed.
    size = max(map(len, batches))
    real = (np.arange(size) < np.array([[len(rows)] for rows in batches])).astype(np.float64)
    read = np.concatenate([np.resize(rows, size) for rows in batches])
    inputs = _inputs(split, loader, read)
    if loader.units is not None:
        real = _side_by_side(inputs, loader.units[read].reshape(real.shape), real)
    real /= real.sum(axis=1, keepdims=True).clip(min=1)
    if loader.row_of is not None:
        real *= window_weights(loader.row_of)[read].reshape(real.shape)
    labels = inputs.pop("labels")
    labels = labels.view(len(batches), 1, real.shape[1], *labels.shape[1:])
    by_seed = {n: t.view(len(batches), -1, *t.shape[1:]) for n, t in inputs.items()}
    logits = _logits(split, heads, by_seed, 0)
    weights = torch.from_numpy(real).to(logits).unsqueeze(1)
    told = labels.expand(*logits.shape[:3], *labels.shape[3:]).flatten(0, 2)
    losses = kind.row_losses(logits.flatten(0, 2), told).view(logits.shape[:3])
    return (losses * weights).sum()


def _side_by_side(
    inputs: dict[str, torch.Tensor], counts: npt.NDArray[np.int64], real: Weights
) -> Weights:
    """Give every seed as many words, and return what each word weighs, (seeds, words).

    The states and labels of the words in ``inputs`` are replaced. ``counts`` are the words of each
    row and ``real`` what it weighs, (seeds, rows); what is filled up weighs nothing.
    """
    totals = counts.sum(axis=1, keepdims=True)
    place, begins = np.arange(totals.max()), np.cumsum(totals)[:, None] - totals
    there = place < totals
    weights = np.zeros(there.shape)
    weights[there] = np.repeat(real.ravel(), counts.ravel())
    own = torch.from_numpy(np.where(there, begins + place, 0).ravel())
    for name in ("states", "labels"):
        inputs[name] = inputs[name][own.to(inputs[name].device)]
    inputs["word_places"] = torch.arange(len(place)).repeat(len(counts)).to(inputs["states"].device)
    return weights


def _inputs(
    split: SplitModel, loader: BatchLoader, rows: npt.NDArray[np.int64]
) -> dict[str, torch.Tensor]:
    """Return the model's inputs for some rows, their stored features among them."""
    batch = loader.batch(rows)
    states, pooled = cast(Any, split.base).stored
    batch["states"] = states
    if pooled is not None:
        batch["pooled"] = pooled
    return batch


def _logits(
    split: SplitModel, heads: Heads, inputs: dict[str, torch.Tensor], by_seed: int | None
) -> torch.Tensor:
    """Return the logits of all heads, (seeds, rates, b, outputs).

    The base model is the stand-in; ``by_seed`` is the dimension of the inputs that counts the
    seeds, ``None`` if all see the same.
    """
    inputs = {name: tensor for name, tensor in inputs.items() if name != "labels"}

    def one(head: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]) -> torch.Tensor:
        batch = dict(batch)
        cast(Any, split.base).stored = (batch.pop("states"), batch.pop("pooled", None))
        output: Any = functional_call(split.model, head, kwargs=batch)
        return cast(torch.Tensor, output.logits)

    return vmap(vmap(one, (0, None)), (0, by_seed))(heads, inputs)


class _Adam:
    """AdamW on stacked heads, each with its own learning rate and its gradient clipped alone.

    Heads are updated in place; peak rates are along the second dimension.
    """

    def __init__(self, heads: Heads, rates: Sequence[float], settings: OptimizerSettings) -> None:
        self._heads, self._settings = list(heads.values()), settings
        self._means = [torch.zeros_like(head) for head in self._heads]
        self._squares = [torch.zeros_like(head) for head in self._heads]
        self._rates = torch.tensor(rates, device=self._heads[0].device)
        self._steps = 0

    @torch.no_grad()
    def step(self, gradients: Sequence[torch.Tensor], factor: float) -> None:
        """Update every head once."""
        settings, (first, second) = self._settings, self._settings.betas
        self._steps += 1
        share = torch.ones_like(self._rates)
        if settings.clip:
            total = sum(g.flatten(2).square().sum(2) for g in gradients)
            share = ((cast(torch.Tensor, total).sqrt() + 1e-6) / settings.clip).clamp(min=1.0)
        fix, root = 1 - first**self._steps, (1 - second**self._steps) ** 0.5
        for head, gradient, mean, square in zip(
            self._heads, gradients, self._means, self._squares, strict=True
        ):
            flat = (-1, *[1] * (head.ndim - 2))
            rate = factor * self._rates.view(flat)
            clipped = gradient / share.view(*share.shape[:-1], *flat)
            if head.ndim > 3:  # vectors are not decayed
                head.mul_(1 - rate * settings.weight_decay)
            mean.lerp_(clipped, 1 - first)
            square.mul_(second).addcmul_(clipped, clipped, value=1 - second)
            head.sub_(rate / fix * mean / (square.sqrt() / root + settings.eps))
