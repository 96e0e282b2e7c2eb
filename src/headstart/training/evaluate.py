"""Logits for every row, in order, and the metrics on them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from headstart.data.batching import budget_batches
from headstart.data.windows import mean_of_windows
from headstart.tasks.metrics import compute, is_share, score
from headstart.training.loader import BatchLoader, row_losses
from headstart.training.runtime import Runtime

Floats = npt.NDArray[np.float32]
TOKENS_PER_BATCH = 4096
ROWS_PER_BATCH = 256


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and afterwards each module into the mode it had.

    Args:
        model: The model.

    Yields:
        Nothing.
    """
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in before.items():
            module.training = mode


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
    batches = budget_batches(loader.lengths, TOKENS_PER_BATCH, ROWS_PER_BATCH)
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
        labels: Gold labels: class indices, or numbers in the model's units, (n,).
        metrics: Names from ``headstart.tasks.metrics``.
        mean: What was taken off the numbers before training.
        scale: What they were divided by.
    """

    labels: npt.NDArray[np.generic]
    metrics: tuple[str, ...]
    mean: float = 0.0
    scale: float = 1.0

    def __call__(self, logits: Floats) -> dict[str, float]:
        """Compute the metrics, their mean as ``score`` (errors negative), and the mean ``loss``.

        Args:
            logits: (n, outputs).

        Returns:
            Values by name; the loss is in the units of training.
        """
        number = np.issubdtype(self.labels.dtype, np.floating)
        gold = torch.from_numpy(self.labels)
        loss = float(row_losses(torch.from_numpy(logits), gold.float() if number else gold).mean())
        guesses, truth = decide(logits, number=bool(number)), self.labels
        if number:
            guesses, truth = (
                v.astype(np.float64) * self.scale + self.mean for v in (guesses, truth)
            )
        if not math.isfinite(loss):
            return {"score": 0.0 if is_share(self.metrics) else -math.inf, "loss": loss}
        values = compute(self.metrics, guesses, truth, logits)
        return {**values, "score": score(self.metrics, values), "loss": loss}


def decide(logits: Floats, *, number: bool) -> npt.NDArray[np.generic]:
    """Return each row's prediction.

    Args:
        logits: (n, outputs).
        number: Whether the single output is the prediction itself.

    Returns:
        Class indices or numbers, (n,).
    """
    return logits[:, 0] if number else logits.argmax(axis=1)
