"""Logits for every row, in order, and the metrics on them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from headstart.data.batching import budget_batches
from headstart.data.labels import Labels
from headstart.data.windows import mean_of_windows
from headstart.models.evaluating import evaluating
from headstart.targets._base import Floats, TargetKind
from headstart.tasks.metrics import compute, is_share, score
from headstart.training.loader import BatchLoader
from headstart.training.runtime import Runtime

TOKENS_PER_BATCH = 4096
ROWS_PER_BATCH = 256


@torch.inference_mode()
def predict_logits(model: nn.Module, loader: BatchLoader, runtime: Runtime, outputs: int) -> Floats:
    """Compute the logits of all rows.

    Args:
        model: The unwrapped classifier; put into evaluation mode and back.
        loader: The rows.
        runtime: Device and precision; processes share the rows.
        outputs: Logits per row.

    Returns:
        Logits in the rows' own order, (n, outputs); of rows in windows the mean over those of each.
    """
    logits = torch.zeros(len(loader.lengths), outputs)
    batches = budget_batches(loader.lengths, TOKENS_PER_BATCH, ROWS_PER_BATCH, loader.apart)
    # Weights are cast once for all batches: autocast keeps what it casts until it is left.
    with evaluating(model), runtime.autocast():
        for rows in batches[runtime.rank :: runtime.world]:
            batch = loader.batch(rows)
            batch.pop("labels", None)
            logits[torch.from_numpy(rows)] = model(**batch).logits.float().cpu()
    if runtime.world > 1:
        logits = runtime.sum(logits.to(runtime.device)).cpu()
    found: Floats = logits.numpy()
    return found if loader.row_of is None else mean_of_windows(found, loader.row_of)


@dataclass(frozen=True)
class Judge:
    """Turns logits into metrics.

    Args:
        kind: Of the labels.
        labels: Gold labels in the units of training, (n,) or (n, labels).
        metrics: Names from ``headstart.tasks.metrics``.
    """

    kind: TargetKind
    labels: Labels
    metrics: tuple[str, ...]

    def __call__(self, logits: Floats) -> dict[str, float]:
        """Compute the metrics, their mean as ``score`` (errors negative), and the mean ``loss``.

        Args:
            logits: (n, outputs).

        Returns:
            Values by name; the loss is in the units of training.
        """
        gold = torch.from_numpy(self.labels)
        loss = float(self.kind.row_losses(torch.from_numpy(logits), gold).mean())
        if not math.isfinite(loss):
            return {"score": 0.0 if is_share(self.metrics) else -math.inf, "loss": loss}
        guesses, truth = self.kind.predict(logits), self.kind.restore(self.labels)
        values = compute(self.metrics, guesses, truth, logits)
        return {**values, "score": score(self.metrics, values), "loss": loss}
