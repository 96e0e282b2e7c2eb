"""Step 2: where the rows come from, what they hold, and which of them train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.config import FitConfig
from headstart.data._faults import counting_all, notes
from headstart.data.checks import check_training, duplicate_rows
from headstart.data.classnames import class_names, ordered_classes
from headstart.data.labels import LabelMap, guess_target, label_column
from headstart.data.rows import Rows, build_rows, column_faults
from headstart.data.sources import read_table
from headstart.data.splits import carve, sample
from headstart.data.usable import Counts, Gaps, Usable, fit_columns, usable_rows
from headstart.errors import ConfigError, DataError, HeadstartError, gathering, raise_all
from headstart.steps.types import Splits
from headstart.tasks.builtin import read_task_folder
from headstart.tasks.metrics import (
    canonical_names,
    class_faults,
    default_metrics,
    metric_faults,
)
from headstart.tasks.spec import TaskSpec
from headstart.training.seeds import stream

Frames = Mapping[str, pd.DataFrame]
TRAINING, VALIDATION = "the training rows", "the validation rows"
"""What messages call them."""


def read_rows(config: FitConfig, task: TaskSpec, frames: Frames | None = None) -> Splits:
    """Read, check and split the rows.

    Args:
        config: The settings.
        task: The task.
        frames: Rows that are already there, by split; they go before the settings' files.

    Returns:
        The rows.

    Raises:
        HeadstartError: For all faults together that can be found in one pass.
    """
    read = _build(config, task, *_frames(config, task, frames or {}))
    task, labels, rows, held_out = read.task, read.labels, read.train, read.validation
    stratify, share, there = task.target == "classes", config.held_out_share, len(rows)
    origin = "validation file" if config.validation else "validation split of the task"
    untouched = None
    if share is not None:
        untouched = held_out
        seed = stream(config.seed, "split")
        kept, carved = carve(_known(rows), share, seed, stratify=stratify)
        rows, held_out = rows.take(kept), rows.take(carved)
        origin = f"{share:.0%} carved from the training rows, seed {config.seed}"
    if held_out is None:
        raise RuntimeError("without validation rows a share is held out")
    if config.train_rows:
        _check_sample(config.train_rows, rows, there, stratify=stratify)
        chosen = sample(_known(rows), config.train_rows, stream(config.seed, "sample"), stratify)
        rows = rows.take(chosen)
    warnings = list(read.notes)
    warnings += check_training(rows.labels, labels) if labels else []  # type: ignore[arg-type]
    wanted = config.validation_rows or 0
    if wanted > len(held_out):
        warnings.append(
            f"--validation-rows {wanted} is more than there are; all {len(held_out)} are used."
        )
    elif wanted and wanted < len(held_out):
        # Not by the run's seed, so that the scores of several seeds are about the same rows.
        held_out = held_out.take(sample(_known(held_out), wanted, 0, stratify))
    warnings += _repeated(rows, held_out) + (_repeated(rows, untouched) if untouched else [])
    mean, scale = _scale(rows) if task.target == "number" else (0.0, 1.0)
    return Splits(task, labels, rows, held_out, origin, untouched, mean, scale, warnings, read.gaps)


@dataclass
class _Read:
    """What ``_build`` makes of two tables; as in ``Splits``, before rows are set apart."""

    task: TaskSpec
    labels: LabelMap | None
    train: Rows
    validation: Rows | None
    usable: dict[str, Usable]

    @property
    def notes(self) -> list[str]:
        """What the user should know about how the rows were read."""
        read = [told for part in self.usable.values() for told in notes(part.frame)]
        gaps = [t for name, part in self.usable.items() for t in part.counts.told(name)]
        return [*dict.fromkeys(read), *gaps]

    @property
    def gaps(self) -> dict[str, dict[str, int]]:
        """Counts of rows with gaps by split, for the record; those of 0 are left out."""
        short = {TRAINING: "train", VALIDATION: "validation"}
        counts = {short[name]: part.counts.record() for name, part in self.usable.items()}
        return {name: found for name, found in counts.items() if found}


def _build(
    config: FitConfig, task: TaskSpec, train: pd.DataFrame, validation: pd.DataFrame | None
) -> _Read:
    """Settle the target, name the classes and make the rows, telling faults of both tables."""
    train = fit_columns(train, task)
    faults = column_faults(train, task, where=TRAINING)
    if validation is not None:
        validation = fit_columns(validation, task)
        if list(validation.columns) != list(train.columns):
            faults += column_faults(validation, task, where=VALIDATION)
    raise_all(faults)
    gaps, labels = Gaps(config.empty_text, config.missing_label), None
    usable: dict[str, Usable] = {}
    with gathering(faults):
        if not config.task and config.target == "auto":
            task = _settle_target(train, task, config.metrics)
        names = class_names(train, task.label)
        if names and task.target == "classes" and not task.choices:
            # Declared, so that rows without the names may call the classes by these numbers.
            task = replace(task, labels=task.labels or names)
        usable[TRAINING] = usable_rows(train, task, gaps, where=TRAINING, names=task.labels)
        with counting_all(usable[TRAINING].kept):
            labels = _labels(usable[TRAINING].frame, task)
        raise_all(class_faults(task.metrics, labels.names) if labels else ())
    if validation is not None and not faults:
        known = labels.names if labels else None
        with gathering(faults):
            usable[VALIDATION] = usable_rows(validation, task, gaps, where=VALIDATION, names=known)
    # Where it is not known what the labels are, the texts can still be looked at.
    need_labels = not faults or labels is not None
    made: list[Rows] = []
    for table, where in ((train, TRAINING), (validation, VALIDATION)):
        if table is not None:
            part = usable.get(where) or Usable(table, np.arange(len(table)), Counts())
            with gathering(faults), counting_all(part.kept):
                made.append(
                    build_rows(
                        part.frame, task, labels, where=where, need_labels=need_labels,
                        keep_empty=gaps.empty_text == "keep",
                    )
                )  # fmt: skip
    raise_all(faults)
    return _Read(task, labels, made[0], made[1] if validation is not None else None, usable)


def _check_sample(n: int, rows: Rows, before: int, *, stratify: bool) -> None:
    """Refuse a number of training rows that there are not, or that leaves out a class."""
    if n > len(rows):
        left = f"that are left of {before}" if before > len(rows) else "that there are"
        raise ConfigError(
            f"--train-rows of at most {len(rows)}, the training rows {left}"
            + (" when those for validation are set apart" if before > len(rows) else ""),
            str(n),
            "Ask for fewer rows, or leave it out to take them all.",
        )
    classes = len(np.unique(_known(rows))) if stratify else 0
    if n < classes:
        raise ConfigError(
            f"--train-rows of at least {classes}, one row of each class",
            str(n),
            "Ask for more rows.",
        )


def _scale(rows: Rows) -> tuple[float, float]:
    """Return mean and standard deviation of the training numbers."""
    numbers = _known(rows)
    mean, scale = float(numbers.mean()), float(numbers.std())
    if scale == 0:
        raise DataError(
            "numbers that differ in the training rows",
            f"{mean:g} in every row",
            "There is nothing to learn; check the label column.",
        )
    return mean, scale


def _repeated(rows: Rows, held_out: Rows) -> list[str]:
    repeated = duplicate_rows(rows, held_out)
    told = (
        f"{repeated} of {len(held_out)} validation rows also stand in the training rows; "
        "scores on them are too good. Remove them from one of the two."
    )
    return [told] if repeated else []


def _settle_target(train: pd.DataFrame, task: TaskSpec, metrics: tuple[str, ...]) -> TaskSpec:
    """Let the labels of the user's own columns say whether they are classes or numbers."""
    known = ordered_classes(train, task.label) is not None
    target = "classes" if known else guess_target(label_column(train, task, where=TRAINING))
    chosen = canonical_names(metrics) or default_metrics(target)
    raise_all(metric_faults(chosen, target))
    return replace(task, target=target, metrics=chosen)


def _frames(
    config: FitConfig, task: TaskSpec, given: Frames
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    faults: list[HeadstartError] = []
    found: dict[str, pd.DataFrame] = {}
    for name, (source, split) in _sources(config, task).items():
        with gathering(faults):
            ready = given.get(name)
            found[name] = (
                read_table(source, split=split, or_all=True, encoding=config.encoding)
                if ready is None
                else ready
            )
    raise_all(faults)
    return found["train"], found.get("validation")


def _sources(config: FitConfig, task: TaskSpec) -> dict[str, tuple[str | Path, str | None]]:
    """Return where the rows of each split come from, and the split's name there."""
    if config.train:
        given = {"train": config.train, "validation": config.validation}
        return {name: (source, name) for name, source in given.items() if source}
    if config.data:
        files = read_task_folder(config.data, task)
        return {name: (files[name], None) for name in ("train", "validation")}
    if task.hub is None:
        raise DataError(
            "--data DIR or --train FILE",
            f"neither, and task {task.name} names no data set on the hub",
            "Say where the rows are.",
        )
    source = ":".join(part for part in task.hub if part)
    names = zip(("train", "validation"), task.splits, strict=True)
    return {name: (source, split) for name, split in names}


def _labels(train: pd.DataFrame, task: TaskSpec) -> LabelMap | None:
    if task.target == "number":
        return None
    declared = task.labels or task.choices or ordered_classes(train, task.label)
    return (
        LabelMap(declared)
        if declared
        else LabelMap.infer(label_column(train, task, where=TRAINING))
    )


def _known(rows: Rows) -> npt.NDArray[Any]:
    if rows.labels is None:
        raise RuntimeError("rows for training carry labels")
    return rows.labels
