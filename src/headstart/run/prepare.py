"""From settings to what a run works on: rows, labels, tokens, model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.config import FitConfig
from headstart.data.checks import duplicate_rows
from headstart.data.encode import Encoded, encode, resolve_max_length
from headstart.data.labels import LabelMap, guess_target, label_column
from headstart.data.rows import Rows, build_rows
from headstart.data.sources import read_table
from headstart.data.splits import carve, sample
from headstart.errors import DataError
from headstart.models.backbone import SplitModel
from headstart.models.loading import Target, load_classifier, load_tokenizer
from headstart.run.settings import Choices
from headstart.tasks.builtin import get_task, read_task_folder
from headstart.tasks.metrics import default_metrics
from headstart.tasks.spec import TaskSpec
from headstart.tasks.userfile import from_columns
from headstart.training.seeds import stream


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
        return replace(task, metrics=config.metrics) if config.metrics else task
    return from_columns(
        config.text,
        config.label or "label",
        choices=config.choices,
        span=config.span,
        target="number" if config.target == "number" else "classes",
        metrics=config.metrics or None,
    )


def read_splits(config: FitConfig, task: TaskSpec) -> Splits:
    """Read, check and split the rows.

    Args:
        config: The settings.
        task: The task.

    Returns:
        The rows.
    """
    train, validation = _frames(config, task)
    if not config.task and config.target == "auto":
        # The user's own columns: the label itself says whether it is a class or a number.
        values = label_column(train, task, where="the training rows")
        if guess_target(values) == "number":
            task = replace(
                task, target="number", metrics=config.metrics or default_metrics("number")
            )
    labels = _labels(train, task)
    rows = build_rows(train, task, labels, where="training")
    stratify = task.target == "classes"
    seed = stream(config.seed, "split")
    warnings: list[str] = []
    untouched = None
    if validation is not None:
        held_out = build_rows(validation, task, labels, where="validation")
        origin = "validation file" if config.validation else "validation split of the task"
        repeated = duplicate_rows(rows, held_out)
        if repeated:
            warnings.append(
                f"{repeated} of {len(held_out)} validation rows also stand in the training rows; "
                "scores on them are too good. Remove them from one of the two."
            )
    if config.selection == "carve" or validation is None:
        untouched = held_out if validation is not None else None
        kept, carved = carve(_known(rows), config.validation_share, seed, stratify=stratify)
        rows, held_out = rows.take(kept), rows.take(carved)
        origin = f"{config.validation_share:.0%} carved from the training rows, seed {config.seed}"
    if config.train_rows:
        chosen = sample(_known(rows), config.train_rows, stream(config.seed, "sample"), stratify)
        rows = rows.take(chosen)
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


def prepare(config: FitConfig, task: TaskSpec, choices: Choices) -> Prepared:
    """Make ready everything that a run trains with.

    Args:
        config: The settings.
        task: The task.
        choices: The numbers of the run.

    Returns:
        Rows, model, tokenizer, tokens.
    """
    splits = read_splits(config, task)
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
        tokenizer, getattr(model_config, "max_position_embeddings", None), choices.preset.max_length
    )
    train, validation, untouched = (
        _standardised(encode(rows, tokenizer, longest), splits) if rows is not None else None
        for rows in (splits.train, splits.validation, splits.untouched)
    )
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
        "train_fingerprint": _fingerprint(splits.train),
        "validation_fingerprint": _fingerprint(splits.validation),
        "number_mean": splits.mean,
        "number_scale": splits.scale,
    }


def _frames(config: FitConfig, task: TaskSpec) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    if config.train:
        train = read_table(config.train, split="train")
        held_out = config.validation
        return train, read_table(held_out, split="validation") if held_out else None
    if config.data:
        files = read_task_folder(config.data, task)
        return tuple(read_table(files[name]) for name in ("train", "validation"))  # type: ignore[return-value]
    if task.hub is None:
        raise DataError(
            "--data DIR or --train FILE",
            f"neither, and task {task.name} names no data set on the hub",
            "Say where the rows are.",
        )
    source = ":".join(part for part in task.hub if part)
    return read_table(source, split=task.splits[0]), read_table(source, split=task.splits[1])


def _labels(train: pd.DataFrame, task: TaskSpec) -> LabelMap | None:
    if task.target == "number":
        return None
    if task.shape == "choice":
        return LabelMap(task.labels or task.choices)
    if task.labels:
        return LabelMap(task.labels)
    return LabelMap.infer(label_column(train, task, where="the training rows"))


def _known(rows: Rows) -> npt.NDArray[Any]:
    if rows.labels is None:
        raise RuntimeError("rows for training carry labels")
    return rows.labels


def _standardised(encoded: Encoded, splits: Splits) -> Encoded:
    if splits.labels is not None or encoded.labels is None:
        return encoded
    return replace(encoded, labels=(encoded.labels - splits.mean) / splits.scale)


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
