"""The inputs of a stage: its plan, the model and the data, and arguments that all stages share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import torch

from headstart.data.labels import Labels
from headstart.data.tokens.windows import of_rows
from headstart.models.backbone import ParameterCount, SplitModel
from headstart.results import StageResult
from headstart.strategies.plan import Length
from headstart.strategies.stages import Stage
from headstart.targets._base import TargetKind
from headstart.training.evaluate import Judge
from headstart.training.loader import BatchLoader
from headstart.training.optim import OptimizerSettings

Pristine = Callable[[], Mapping[str, torch.Tensor]]
"""Reads the checkpoint's backbone again: parameters and buffers by name."""


@dataclass(frozen=True)
class StagePlan:
    """One stage with everything decided: its steps and what ends it, rates and constants."""

    stage: Stage
    length: Length
    optimizer: OptimizerSettings

    def rates(self, count: ParameterCount) -> tuple[float | None, float | None]:
        """Return the peak rates of tuner and head; ``None`` for one of which nothing trains."""
        return (
            self.optimizer.lr if count.tuner else None,
            self.optimizer.head_lr if count.head else None,
        )

    def begin_record(self, attempt: int, count: ParameterCount) -> StageResult:
        """Begin the stage's record; ``count`` is what trains."""
        return StageResult(
            str(self.stage), self.stage.trains, attempt, self.length.steps, *self.rates(count),
            asdict(count), self.length.until,
        )  # fmt: skip


@dataclass(frozen=True)
class TrainingData:
    """The model, the rows and the metrics of the stages.

    ``train_labels`` have one for each window where rows are in windows; ``judge`` turns validation
    logits into metrics; ``pristine`` reads the checkpoint's backbone again, for going back to an
    earlier stage's model.
    """

    split: SplitModel
    train: BatchLoader
    validation: BatchLoader
    train_labels: Labels
    judge: Judge
    pristine: Pristine | None = None

    @property
    def kind(self) -> TargetKind:
        """The kind of target."""
        return self.judge.kind

    @property
    def outputs(self) -> int:
        """Logits of a row."""
        return self.kind.outputs

    @cached_property
    def chance(self) -> float:
        """Loss of the best constant guess on the training rows, in the user's units."""
        labels = of_rows(self.train_labels, self.train.row_of)
        return self.kind.users_loss(self.kind.chance_loss(labels))


@dataclass(frozen=True)
class TrainingArguments:
    """Settings that hold for every stage.

    ``eval_every`` is by default an epoch, or more where validation rows are many or epochs short.
    ``guard`` holds a head back that has not learned. ``budget`` are the steps of all stages
    together, where that was asked for: the last stage takes what those that handed something on
    have left. ``select`` is ``last`` or ``best`` of the last stage, or ``auto``: the last, unless
    an earlier stage's model is better on the held-out rows.
    """

    seed: int
    batch_size: int
    micro_batch_size: int | None = None
    eval_every: int | None = None
    guard: bool = True
    budget: int | None = None
    select: str = "last"
    gradient_checkpointing: bool = False
