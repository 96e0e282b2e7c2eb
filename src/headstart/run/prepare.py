"""From settings to what a run works on: rows, labels, tokens, model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.config import FitConfig
from headstart.data.checks import check_training, duplicate_rows, length_warnings
from headstart.data.encode import Encoded, encode, resolve_max_length
from headstart.data.labels import LabelMap, guess_target, label_column
from headstart.data.rows import Rows, build_rows
from headstart.data.sources import class_names, read_table
from headstart.data.splits import carve, sample
from headstart.errors import ConfigError, DataError, raise_all
from headstart.models.backbone import SplitModel
from headstart.models.loading import Target, load_classifier, load_tokenizer, positions
from headstart.models.model_config import is_decoder
from headstart.run.settings import Choices
from headstart.tasks.builtin import get_task, read_task_folder
from headstart.tasks.metrics import default_metrics, metric_faults
from headstart.tasks.spec import TaskSpec
from headstart.tasks.userfile import from_columns
from headstart.training.seeds import stream

Frames = Mapping[str, pd.DataFrame]
TRAINING = "the training rows"
"""What messages call them."""


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


@dataclass
class Prepared:
    """Everything a run trains with.

    Args:
        splits: The rows.
        split: The model.
        tokenizer: Its tokenizer.
        train: Encoded training rows; numbers standardised.
        validation: Encoded validation rows; numbers standardised.
        untouched: The same for the untouched rows, if there are any.
        max_length: Longest input in tokens.
    """

    splits: Splits
    split: SplitModel
    tokenizer: Any
    train: Encoded
    validation: Encoded
    untouched: Encoded | None
    max_length: int


def find_task(config: FitConfig) -> TaskSpec:
    """Return the task that the settings describe, built in or made of the user's columns.

    Args:
        config: The settings.

    Returns:
        The task; the target of user columns may still be open.
    """
    if config.task:
        task = get_task(config.task)
        if config.label:
            task = replace(task, label=config.label)
        if config.metrics:
            raise_all(metric_faults(config.metrics, task.target))
            return replace(task, metrics=config.metrics)
        return task
    return from_columns(
        config.text,
        config.label or "label",
        choices=config.choices,
        span=config.span,
        target=config.target,
        metrics=config.metrics or None,
    )


def read_splits(config: FitConfig, task: TaskSpec, frames: Frames | None = None) -> Splits:
    """Read, check and split the rows.

    Args:
        config: The settings.
        task: The task.
        frames: Rows that are already there, by split; they go before the settings' files.

    Returns:
        The rows.
    """
    train, validation = _frames(config, task, frames or {})
    if not config.task and config.target == "auto":
        task = _settle_target(train, task, config.metrics)
    labels = _labels(train, task)
    if labels and len(labels.names) > 2 and "f1" in task.metrics:
        raise ConfigError(
            "two classes for the metric f1, which is that of the second",
            f"{len(labels.names)}: {', '.join(labels.names[:5])}",
            "Use --metrics macro_f1, the mean over the classes.",
        )
    rows = build_rows(train, task, labels, where=TRAINING)
    stratify = task.target == "classes"
    seed = stream(config.seed, "split")
    warnings = check_training(rows.labels, labels) if labels else []  # type: ignore[arg-type]
    untouched = None
    if validation is not None:
        held_out = build_rows(validation, task, labels, where="the validation rows")
        origin = "validation file" if config.validation else "validation split of the task"
    if config.selection == "carve" or validation is None:
        untouched = held_out if validation is not None else None
        kept, carved = carve(_known(rows), config.validation_share, seed, stratify=stratify)
        rows, held_out = rows.take(kept), rows.take(carved)
        origin = f"{config.validation_share:.0%} carved from the training rows, seed {config.seed}"
    if config.train_rows:
        chosen = sample(_known(rows), config.train_rows, stream(config.seed, "sample"), stratify)
        rows = rows.take(chosen)
    if config.validation_rows and config.validation_rows < len(held_out):
        # Not by the run's seed, so that the scores of several seeds are about the same rows.
        held_out = held_out.take(sample(_known(held_out), config.validation_rows, 0, stratify))
    warnings += _repeated(rows, held_out) + (_repeated(rows, untouched) if untouched else [])
    mean, scale = 0.0, 1.0
    if task.target == "number":
        numbers = _known(rows)
        mean, scale = float(numbers.mean()), float(numbers.std())
        if scale == 0:
            raise DataError(
                "numbers that differ in the training rows",
                f"{mean:g} in every row",
                "There is nothing to learn; check the label column.",
            )
    return Splits(task, labels, rows, held_out, origin, untouched, mean, scale, warnings)


def _repeated(rows: Rows, held_out: Rows) -> list[str]:
    repeated = duplicate_rows(rows, held_out)
    told = (
        f"{repeated} of {len(held_out)} validation rows also stand in the training rows; "
        "scores on them are too good. Remove them from one of the two."
    )
    return [told] if repeated else []


def _settle_target(train: pd.DataFrame, task: TaskSpec, metrics: tuple[str, ...]) -> TaskSpec:
    """Let the labels of the user's own columns say whether they are classes or numbers."""
    target = guess_target(label_column(train, task, where=TRAINING))
    chosen = metrics or default_metrics(target)
    raise_all(metric_faults(chosen, target))
    return replace(task, target=target, metrics=chosen)


def prepare(
    config: FitConfig, task: TaskSpec, choices: Choices, frames: Frames | None = None
) -> Prepared:
    """Make ready everything that a run trains with.

    Args:
        config: The settings.
        task: The task.
        choices: The numbers of the run.
        frames: Rows that are already there, by split.

    Returns:
        Rows, model, tokenizer, tokens.
    """
    splits = read_splits(config, task, frames)
    split = load_classifier(
        config.model,
        splits.target,
        head=choices.head,
        seed=stream(config.seed, "head"),
        trust_remote_code=config.trust_remote_code,
        dropout=config.dropout,
    )
    model_config: Any = split.model.config
    tokenizer = load_tokenizer(
        config.model, model_config.vocab_size, trust_remote_code=config.trust_remote_code
    )
    longest = resolve_max_length(
        tokenizer, positions(split), config.max_length, default=choices.preset.max_length
    )
    train, validation, untouched = (
        _standardised(encode(rows, tokenizer, longest), splits) if rows is not None else None
        for rows in (splits.train, splits.validation, splits.untouched)
    )
    if is_decoder(model_config):
        # Decoders find a row's last token by the padding token.
        model_config.pad_token_id = train.padding.values["input_ids"]  # type: ignore[union-attr]
    splits.warnings += length_warnings(train, "training rows")  # type: ignore[arg-type]
    return Prepared(splits, split, tokenizer, train, validation, untouched, longest)  # type: ignore[arg-type]


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
    }


def _frames(
    config: FitConfig, task: TaskSpec, given: Frames
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    if config.train:
        held_out = given.get("validation")
        if held_out is None and config.validation:
            held_out = read_table(config.validation, split="validation")
        train = given.get("train")
        return read_table(config.train, split="train") if train is None else train, held_out
    if config.data:
        files = read_task_folder(config.data, task)
        return read_table(files["train"]), read_table(files["validation"])
    if task.hub is None:
        raise DataError(
            "--data DIR or --train FILE",
            f"neither, and task {task.name} names no data set on the hub",
            "Say where the rows are.",
        )
    source = ":".join(part for part in task.hub if part)
    train, held_out = (read_table(source, split=name) for name in task.splits)
    return train, held_out


def _labels(train: pd.DataFrame, task: TaskSpec) -> LabelMap | None:
    if task.target == "number":
        return None
    declared = task.labels or task.choices or class_names(train, task.label)
    return (
        LabelMap(declared)
        if declared
        else LabelMap.infer(label_column(train, task, where=TRAINING))
    )


def _known(rows: Rows) -> npt.NDArray[Any]:
    if rows.labels is None:
        raise RuntimeError("rows for training carry labels")
    return rows.labels


def _standardised(encoded: Encoded, splits: Splits) -> Encoded:
    if splits.labels is not None or encoded.labels is None:
        return encoded
    numbers = np.asarray(encoded.labels, np.float64)
    return replace(encoded, labels=(numbers - splits.mean) / splits.scale)


def _fingerprint(rows: Rows) -> str:
    digest = hashlib.sha256()
    for texts in rows.texts:
        digest.update(repr(texts).encode())
    if rows.labels is not None:
        digest.update(np.ascontiguousarray(rows.labels).tobytes())
    return f"sha256:{digest.hexdigest()[:32]}"


def source_name(config: FitConfig, task: TaskSpec) -> str:
    """Return a short name for the data, for folders and cards.

    Args:
        config: The settings.
        task: The task.

    Returns:
        The task's name, or the training file's stem.
    """
    return Path(config.train).stem if config.train and not config.task else task.name
