"""Logits for every row, in order, and the metrics on them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from headstart.data.batching import budget_batches
from headstart.data.labels import Labels
from headstart.data.ragged import places
from headstart.models.evaluating import evaluating
from headstart.targets._base import Floats, TargetKind
from headstart.tasks.metrics import compute, is_share, score, undefined
from headstart.training.loader import BatchLoader
from headstart.training.machine.precision import head_in_fp32
from headstart.training.machine.runtime import Runtime

TOKENS_PER_BATCH = 4096
ROWS_PER_BATCH = 256


@torch.inference_mode()
def predict_logits(model: nn.Module, loader: BatchLoader, runtime: Runtime, outputs: int) -> Floats:
    """Compute the logits of all rows.

    The model is put into evaluation mode and back; processes share the rows. The base model
    computes in the runtime's precision, what lies on it in fp32. Logits are in the
    order of the data, (n, outputs); of rows in windows the mean over those of each; where each word
    has a label, those of all words, (words, outputs).
    """
    counts = np.ones_like(loader.lengths) if loader.units is None else loader.units
    begins = np.cumsum(counts) - counts
    logits = torch.zeros(int(counts.sum()), outputs)
    batches = budget_batches(loader.lengths, TOKENS_PER_BATCH, ROWS_PER_BATCH, loader.apart)
    # Weights are cast once for all batches: autocast keeps what it casts until it is left.
    with evaluating(model), runtime.autocast(), head_in_fp32(model, runtime):
        for rows in batches[runtime.rank :: runtime.world]:
            batch = loader.batch(rows)
            batch.pop("labels", None)
            own = torch.from_numpy(places(begins[rows], counts[rows]))
            logits[own] = model(**batch).logits.float().cpu()
    if runtime.world > 1:
        logits = runtime.sum(logits.to(runtime.device)).cpu()
    found: Floats = logits.numpy()
    return loader.whole(found)


@dataclass(frozen=True)
class Judge:
    """Turns logits into metrics.

    Args:
        kind: Of the labels.
        labels: Gold labels of the rows in the units of training.
        metrics: Names from ``headstart.tasks.metrics``.
        tune: Whether logits are judged at the threshold that is best for them, as a threshold will
            be chosen for the model that is kept.
    """

    kind: TargetKind
    labels: Labels
    metrics: tuple[str, ...]
    tune: bool = False

    def decided(self, logits: Floats) -> Judge:
        """Choose the threshold of the best score for logits, (n, outputs), where one is tuned.

        Of several it is the one nearest to 0.5.
        """
        kinds = self.kind.thresholds() if self.tune else {}
        judges = {t: replace(self, kind=kind, tune=False) for t, kind in kinds.items()}
        if not judges:
            return self
        return judges[max(judges, key=lambda t: (judges[t](logits)["score"], -abs(t - 0.5)))]

    def __call__(self, logits: Floats) -> dict[str, float]:
        """Compute the metrics, their mean as ``score`` (errors negative), and the mean ``loss``.

        Logits are (n, outputs); the loss is in the user's units, as the metrics are. What the
        labels do not define is NaN.
        """
        if (judge := self.decided(logits)) is not self:
            return judge(logits)
        labels = self.kind.flat(self.labels)
        losses = self.kind.row_losses(torch.from_numpy(logits), torch.from_numpy(labels))
        loss = float(losses.mean())
        if not math.isfinite(loss):
            return {"score": 0.0 if is_share(self.metrics) else -math.inf, "loss": loss}
        loss = self.kind.users_loss(loss)
        guesses, truth = self.kind.predict(logits), self.kind.restore(labels)
        tags = self.kind.tags(guesses, self.labels)
        values = compute(self.metrics, guesses, truth, logits, tags)
        return {**values, "score": score(self.metrics, values), "loss": loss}

    def remark(self, logits: Floats, tell: Callable[[str], None]) -> None:
        """Tell which metrics the labels do not define, or that one number is predicted for all."""
        if told := undefined(self.metrics, self.kind.restore(self.kind.flat(self.labels))):
            tell(f"The rows leave {told}.")
        elif not self.kind.names and (told := self.kind.collapsed(logits, self.labels)):
            tell(told)
