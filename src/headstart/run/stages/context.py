"""What techniques find when their stage begins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from torch import nn

from headstart.data.batching import BatchOrder
from headstart.run.stages.types import Materials, Options
from headstart.strategies.plan import Length
from headstart.techniques._base import Batch, Setting, Technique
from headstart.training.loader import Feed, row_losses
from headstart.training.runtime import Runtime
from headstart.training.seeds import stream


@contextlib.contextmanager
def closing(techniques: Iterable[Technique]) -> Iterator[None]:
    """Take away in the end what techniques have put in.

    Args:
        techniques: A stage's.

    Yields:
        Nothing.
    """
    try:
        yield
    finally:
        for technique in techniques:
            technique.close()


def setting(
    materials: Materials,
    trained: Mapping[str, nn.Parameter],
    train: Feed,
    length: Length,
    options: Options,
    runtime: Runtime,
) -> Setting:
    """Put it together.

    Args:
        materials: Model and data.
        trained: What trains beside the head, by name.
        train: The training rows as the stage reads them.
        length: The stage's.
        options: Settings of all stages.
        runtime: Device and precision.

    Returns:
        The setting.
    """
    labels, split = materials.train_labels, materials.split
    numbers = bool(np.issubdtype(labels.dtype, np.floating))

    def generator(name: str, step: int) -> torch.Generator:
        return torch.Generator().manual_seed(stream(options.seed, "technique", name, step))

    def batches() -> Iterator[Batch]:
        order = BatchOrder(train.lengths, options.batch_size, stream(options.seed, "order"))
        for rows in order.epoch(0):
            yield train.batch(rows)

    def loss(batch: Batch) -> torch.Tensor:
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        with runtime.autocast():
            logits = split.model(**inputs).logits
        return row_losses(logits, batch["labels"]).sum()

    counts = [] if numbers else np.bincount(labels, minlength=materials.outputs).tolist()
    return Setting(
        split, {**trained, **split.head}, length.steps, materials.outputs, counts,
        generator, batches, loss, options.micro_batch_size,
    )  # fmt: skip
