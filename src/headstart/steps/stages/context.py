"""The context that techniques are given when their stage begins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn

from headstart.data.batching import BatchOrder
from headstart.data.tokens.windows import of_rows
from headstart.steps.stages.types import TrainingArguments, TrainingData
from headstart.strategies.plan import Length
from headstart.techniques._base import Batch, Technique, TechniqueContext
from headstart.training.loader import BatchLoader
from headstart.training.machine.runtime import Runtime
from headstart.training.seeds import stream


@contextlib.contextmanager
def closing(techniques: Iterable[Technique]) -> Iterator[None]:
    """Close techniques after a block."""
    try:
        yield
    finally:
        for technique in techniques:
            technique.close()


def technique_context(
    data: TrainingData,
    arguments: TrainingArguments,
    runtime: Runtime,
    trained: Mapping[str, nn.Parameter],
    train: BatchLoader,
    length: Length,
) -> TechniqueContext:
    """Gather what the techniques of a stage are told; ``trained`` is what trains, by name."""
    split, kind = data.split, data.kind

    def generator(name: str, step: int) -> torch.Generator:
        return torch.Generator().manual_seed(stream(arguments.seed, "technique", name, step))

    def batches() -> Iterator[Batch]:
        order = BatchOrder(train.lengths, arguments.batch_size, stream(arguments.seed, "order"))
        for rows in order.epoch(0):
            yield train.batch(rows)

    def loss(batch: Batch) -> torch.Tensor:
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        with runtime.autocast():
            logits = split.model(**inputs).logits
        return kind.row_losses(logits, batch["labels"]).sum()

    counts = kind.class_counts(of_rows(data.train_labels, train.row_of))
    return TechniqueContext(
        split, trained, length.steps, data.outputs, counts,
        generator, batches, loss, arguments.micro_batch_size,
    )  # fmt: skip
