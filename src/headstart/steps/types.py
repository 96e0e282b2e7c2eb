"""The values that the steps of a run pass on to one another."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from headstart.config import FitConfig
from headstart.data.examples import Examples
from headstart.data.labels import Labels
from headstart.data.ragged import as_bytes
from headstart.data.rows import Rows
from headstart.inputs import INPUTS
from headstart.inputs._base import Preprocessor
from headstart.models.backbone import ParameterCount, SplitModel
from headstart.models.head_choice import Target
from headstart.steps.stages.types import Pristine, StagePlan
from headstart.strategies.presets import Preset
from headstart.strategies.stages import Strategy
from headstart.targets._base import TargetKind
from headstart.tasks.spec import TaskSpec
from headstart.training.machine.runtime import Runtime


@dataclass(frozen=True)
class Hyperparameters:
    """Numbers that hold for a whole run.

    ``preset`` has the user's and the task's values put in; ``epochs`` are of fine-tuning,
    ``total_epochs`` of all stages together, of which ``share`` is for stages before the last that
    carry no length. ``sentence`` says that the model was made for sentence vectors, and that this
    decided the head.
    """

    preset: Preset
    epochs: float
    total_epochs: float | None
    share: float | None
    head: str
    pooling: str
    sentence: bool = False

    def written_into(
        self,
        config: FitConfig,
        strategy: Strategy,
        max_length: int | None,
        overlap: int | None = None,
    ) -> FitConfig:
        """Return settings in which only the stages' own learning rates may still be open.

        They repeat the run by themselves. ``max_length`` is the longest input in tokens, where
        inputs have such a length; ``overlap`` is what windows of long texts share, where they are
        read so.
        """
        # Where every stage fits the head, no epochs were decided; what was given is repeated.
        takes_steps = strategy.stages[strategy.main].until != "optimum"
        epochs = self.epochs if takes_steps else config.epochs
        decided = {
            "total_epochs": self.total_epochs,
            "epochs": None if self.total_epochs or strategy.length_name else epochs,
            "validation_share": config.held_out_share,
            "head_type": self.head,
            "pooling": self.pooling,
            "max_length": max_length,
            "window_overlap": overlap,
            **{
                name: getattr(self.preset, name)
                for name in ("batch_size", "weight_decay", "clip", "warmup")
            },
        }
        return config.model_copy(update=decided)


@dataclass(frozen=True)
class RunSettings:
    """The settings of a run, with what the user left open filled in.

    The target of user columns may still be open; ``strategy_note`` says why the strategy is another
    than the one that was named, ``warnings`` where settings do not go together.
    """

    config: FitConfig
    task: TaskSpec
    strategy: Strategy
    hyperparameters: Hyperparameters
    strategy_note: str = ""
    warnings: tuple[str, ...] = ()


@dataclass
class Splits:
    """The rows of a run.

    ``kind`` is fitted to the training rows; ``origin`` says where the validation rows come from;
    ``untouched`` are validation rows kept away from selection, ``None`` where selection uses them;
    ``gaps`` are what was left out or kept of the rows with gaps, by split.
    """

    task: TaskSpec
    kind: TargetKind
    train: Rows
    validation: Rows
    origin: str
    untouched: Rows | None = None
    warnings: list[str] = field(default_factory=list)
    gaps: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def target(self) -> Target:
        """The outputs that the model needs."""
        spans = len(self.task.spans) if self.task.span_use == "vectors" else 0
        model = INPUTS.get(self.task.shape).model
        several = self.kind.problem_type == "multi_label_classification"
        return Target(self.kind.names, model, spans, several)


@dataclass(frozen=True)
class EncodedSplits:
    """The rows of a run as the model reads them, their labels in the units of training."""

    train: Examples
    validation: Examples
    untouched: Examples | None = None

    def by_name(self) -> dict[str, Examples]:
        """Return the splits by the names that the plan has for them."""
        found = {"training": self.train, "validation": self.validation}
        return found if self.untouched is None else {**found, "for the final score": self.untouched}


@dataclass(frozen=True)
class LoadedModel:
    """A pretrained model with a head for the task, and the rows as it reads them.

    ``fingerprint`` is the pretrained backbone's, which ``pristine`` reads again.
    """

    model: SplitModel
    preprocessor: Preprocessor
    encoded: EncodedSplits
    fingerprint: str
    pristine: Pristine
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingPlan:
    """A run with everything checked and decided; nothing is trained or written yet.

    ``counts`` are trainable and frozen numbers, one for each stage; ``fingerprint`` is the
    pretrained backbone's, which ``pristine`` reads again; ``strategy_note`` says why the strategy
    is another than the one that was named, ``notes`` what else was decided and may surprise,
    ``warnings`` what was found and may spoil the result.
    """

    config: FitConfig
    task: TaskSpec
    hyperparameters: Hyperparameters
    strategy: Strategy
    runtime: Runtime
    splits: Splits
    model: SplitModel
    preprocessor: Preprocessor
    encoded: EncodedSplits
    stages: tuple[StagePlan, ...]
    counts: tuple[ParameterCount, ...]
    fingerprint: str
    pristine: Pristine
    strategy_note: str = ""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def told(self) -> list[str]:
        """All that was decided and may surprise."""
        return [*([self.strategy_note] if self.strategy_note else []), *self.notes]

    @property
    def resolved(self) -> FitConfig:
        """The settings with what was decided, for the run's folder."""
        return self.hyperparameters.written_into(
            self.config, self.strategy, self.preprocessor.max_length, self.preprocessor.overlap
        )


def gold_labels(rows: Examples | Rows) -> Labels:
    """Return the labels of rows that train or measure a model, which always carry some."""
    labels = rows.row_labels if isinstance(rows, Examples) else rows.labels
    if labels is None:
        raise RuntimeError("rows that train or measure a model carry labels")
    return labels


def data_record(splits: Splits) -> dict[str, Any]:
    """Return row counts and content fingerprints for a run's record."""
    return {
        "train_rows": len(splits.train),
        "validation_rows": len(splits.validation),
        "validation_origin": splits.origin,
        "untouched_rows": len(splits.untouched) if splits.untouched is not None else 0,
        "train_fingerprint": _fingerprint(splits.train),
        "validation_fingerprint": _fingerprint(splits.validation),
        **splits.kind.statistics(),
        **({"gaps": splits.gaps} if splits.gaps else {}),
    }


def _fingerprint(rows: Rows) -> str:
    digest = hashlib.sha256()
    for values in rows.inputs:
        digest.update(repr(values).encode())
    if rows.labels is not None:
        digest.update(as_bytes(rows.labels))
    return f"sha256:{digest.hexdigest()[:32]}"
