"""What the steps of a run hand on to one another."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.config import FitConfig
from headstart.data.encode import Encoded
from headstart.data.labels import LabelMap
from headstart.data.rows import Rows
from headstart.models.backbone import SplitModel
from headstart.models.head_choice import Target
from headstart.steps.stages.types import Pristine, StagePlan
from headstart.strategies.presets import Preset
from headstart.strategies.stages import Strategy
from headstart.tasks.spec import TaskSpec
from headstart.training.runtime import Runtime


@dataclass(frozen=True)
class Hyperparameters:
    """Numbers that hold for a whole run.

    Args:
        preset: The preset with the user's and the task's values put in.
        epochs: Epochs of fine-tuning, or ``total_epochs``'s if that is given.
        total_epochs: Epochs of all stages together, or ``None``.
        share: Share of the total for stages before the last, where they carry no length.
        head: Kind of head.
        pooling: What the head reads.
        sentence: Whether the model was made for sentence vectors, and that decided the head.
    """

    preset: Preset
    epochs: float
    total_epochs: float | None
    share: float | None
    head: str
    pooling: str
    sentence: bool = False


@dataclass(frozen=True)
class RunSettings:
    """The settings of a run, with what the user left open filled in.

    Args:
        config: The settings as given.
        task: The task; the target of user columns may still be open.
        strategy: The stages that will run.
        hyperparameters: The numbers of the run.
        notes: What was decided and may surprise.
    """

    config: FitConfig
    task: TaskSpec
    strategy: Strategy
    hyperparameters: Hyperparameters
    notes: tuple[str, ...] = ()


@dataclass
class Splits:
    """The rows of a run.

    Args:
        task: The task, with target and metrics decided.
        labels: Label names and their order; ``None`` for a number.
        train: Training rows.
        validation: Rows that scores are measured on along the way.
        origin: Where the validation rows come from, in words.
        untouched: Validation rows kept away from selection; ``None`` where selection uses them.
        mean: Mean of the training numbers; 0 for classes.
        scale: Their standard deviation; 1 for classes.
        warnings: What the user should know about the data.
        gaps: What was left out or kept of the rows with gaps, by split.
    """

    task: TaskSpec
    labels: LabelMap | None
    train: Rows
    validation: Rows
    origin: str
    untouched: Rows | None = None
    mean: float = 0.0
    scale: float = 1.0
    warnings: list[str] = field(default_factory=list)
    gaps: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Class names in the order of the logits; empty for a number."""
        return self.labels.names if self.labels else ()

    @property
    def target(self) -> Target:
        """What the model has to predict."""
        spans = len(self.task.spans) if self.task.span_use == "vectors" else 0
        kind = "choice" if self.task.shape == "choice" else "sequence"
        return Target(self.label_names, kind, spans)  # type: ignore[arg-type]


@dataclass(frozen=True)
class EncodedSplits:
    """The rows of a run as tokens; numbers are standardised.

    Args:
        train: Training rows.
        validation: Validation rows.
        untouched: The untouched rows, if there are any.
        max_length: Longest input in tokens.
        overlap: Tokens that the windows of longer rows share; ``None`` where they are cut.
    """

    train: Encoded
    validation: Encoded
    untouched: Encoded | None
    max_length: int
    overlap: int | None = None


@dataclass(frozen=True)
class LoadedModel:
    """A pretrained model with a head for the task, and the rows in its tokens.

    Args:
        model: Backbone and head.
        tokenizer: Its tokenizer.
        encoded: The rows as tokens.
        fingerprint: The pretrained backbone's.
        pristine: Reads the checkpoint's backbone again.
        warnings: What the user should know.
    """

    model: SplitModel
    tokenizer: Any
    encoded: EncodedSplits
    fingerprint: str
    pristine: Pristine
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingPlan:
    """A run with everything checked and decided; nothing is trained or written yet.

    Args:
        config: The settings as given.
        task: The task, with target and metrics decided.
        hyperparameters: The numbers of the run.
        strategy: The stages that will run.
        runtime: Device and precision.
        splits: The rows.
        model: Backbone and head.
        tokenizer: The model's tokenizer.
        encoded: The rows as tokens.
        stages: The stages, decided.
        fingerprint: The pretrained backbone's.
        pristine: Reads the checkpoint's backbone again.
        notes: What was decided or found and may surprise.
    """

    config: FitConfig
    task: TaskSpec
    hyperparameters: Hyperparameters
    strategy: Strategy
    runtime: Runtime
    splits: Splits
    model: SplitModel
    tokenizer: Any
    encoded: EncodedSplits
    stages: tuple[StagePlan, ...]
    fingerprint: str
    pristine: Pristine
    notes: tuple[str, ...] = ()

    @property
    def resolved(self) -> FitConfig:
        """The settings with what was decided, so that they repeat the run by themselves.

        Only the stages' own learning rates may still be open in them.
        """
        numbers, preset = self.hyperparameters, self.hyperparameters.preset
        has_length = numbers.total_epochs or self.strategy.length_name
        decided = {
            "total_epochs": numbers.total_epochs,
            "epochs": None if has_length else numbers.epochs,
            "validation_share": self.config.held_out_share,
            "head_type": numbers.head,
            "pooling": numbers.pooling,
            "max_length": self.encoded.max_length,
            "window_overlap": self.encoded.overlap,
            **{k: getattr(preset, k) for k in ("batch_size", "weight_decay", "clip", "warmup")},
        }
        return self.config.model_copy(update=decided)


def gold_labels(rows: Encoded | Rows) -> npt.NDArray[Any]:
    """Return the labels of rows that a model is measured on, which always carry some.

    Args:
        rows: The rows, as text or as tokens.

    Returns:
        Class indices or numbers, (n,).
    """
    labels = rows.row_labels if isinstance(rows, Encoded) else rows.labels
    if labels is None:
        raise RuntimeError("rows that a model is measured on carry labels")
    return labels


def data_record(splits: Splits) -> dict[str, Any]:
    """Return row counts and content fingerprints for a run's record.

    Args:
        splits: The rows.

    Returns:
        Plain data.
    """
    return {
        "train_rows": len(splits.train),
        "validation_rows": len(splits.validation),
        "validation_origin": splits.origin,
        "untouched_rows": len(splits.untouched) if splits.untouched is not None else 0,
        "train_fingerprint": _fingerprint(splits.train),
        "validation_fingerprint": _fingerprint(splits.validation),
        "number_mean": splits.mean,
        "number_scale": splits.scale,
        **({"gaps": splits.gaps} if splits.gaps else {}),
    }


def _fingerprint(rows: Rows) -> str:
    digest = hashlib.sha256()
    for texts in rows.texts:
        digest.update(repr(texts).encode())
    if rows.labels is not None:
        digest.update(np.ascontiguousarray(rows.labels).tobytes())
    return f"sha256:{digest.hexdigest()[:32]}"
