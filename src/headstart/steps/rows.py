"""Step 2: where the rows come from, what they hold, and which of them train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.config import FitConfig
from headstart.data._faults import counting_all, notes
from headstart.data.checks import duplicate_rows
from headstart.data.rows import Rows, column_faults
from headstart.data.splits import carve, sample
from headstart.data.tables.sources import OTHER_SPLITS, read_table
from headstart.data.tables.usable import Counts, Gaps, Usable, fit_columns, usable_rows
from headstart.errors import ConfigError, DataError, HeadstartError, gathering, raise_all
from headstart.inputs import INPUTS
from headstart.inputs._rows import build_rows
from headstart.steps.calibrate import require_thresholds
from headstart.steps.types import Splits, gold_labels
from headstart.targets import TARGETS
from headstart.targets._base import TargetKind
from headstart.tasks.builtin import read_task_folder
from headstart.tasks.metrics import (
    DEFAULTS,
    canonical_names,
    class_faults,
    metric_faults,
)
from headstart.tasks.spec import TaskSpec
from headstart.training.seeds import stream

Frames = Mapping[str, pd.DataFrame]
TRAINING, VALIDATION = "the training rows", "the validation rows"
"""What messages call them."""


def read_rows(config: FitConfig, task: TaskSpec, frames: Frames | None = None) -> Splits:
    """Read, check and split the rows.

    ``frames``, rows that are already there by split, go before the settings' files. Raises
    ``HeadstartError`` for all faults together that can be found in one pass.
    """
    tables = _frames(config, task, frames or {})
    read = _build(config, task, *tables)
    kind, rows, held_out = read.kind, read.train, read.validation
    share, there = config.held_out_share, len(rows)
    origin = "validation file" if config.validation else "validation split of the task"
    untouched = None
    if share is not None:
        untouched = held_out
        seed = stream(config.seed, "split")
        kept, carved = carve(kind.strata(gold_labels(rows)), share, seed)
        rows, held_out = rows.take(kept), rows.take(carved)
        origin = f"{share:.0%} carved from the training rows, seed {config.seed}"
    if held_out is None:
        raise RuntimeError("without validation rows a share is held out")
    if config.train_rows:
        strata = kind.strata(gold_labels(rows))
        _check_sample(config.train_rows, strata, there)
        chosen = sample(strata, config.train_rows, stream(config.seed, "sample"))
        rows = rows.take(chosen)
    warnings = [*read.notes, *(_unread_split(tables[0]) if tables[1] is None else ())]
    wanted = config.validation_rows or 0
    if wanted > len(held_out):
        warnings.append(
            f"--validation-rows {wanted} is more than there are; all {len(held_out)} are used."
        )
    elif wanted and wanted < len(held_out):
        # Not by the run's seed, so that the scores of several seeds are about the same rows.
        held_out = held_out.take(sample(kind.strata(gold_labels(held_out)), wanted, 0))
    warnings += kind.check(gold_labels(rows), gold_labels(held_out))
    warnings += _repeated(rows, held_out) + (_repeated(rows, untouched) if untouched else [])
    kind = kind.fit(gold_labels(rows))
    if config.tune_threshold:
        require_thresholds(kind)
    return Splits(read.task, kind, rows, held_out, origin, untouched, warnings, read.gaps)


@dataclass
class _ReadTables:
    """Training and validation rows as read, before any are held out."""

    task: TaskSpec
    kind: TargetKind
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
) -> _ReadTables:
    """Settle the target, name the classes and make the rows, telling faults of both tables."""
    train = fit_columns(train, task)
    faults = column_faults(train, task, where=TRAINING)
    if validation is not None:
        validation = fit_columns(validation, task)
        if list(validation.columns) != list(train.columns):
            faults += column_faults(validation, task, where=VALIDATION)
    raise_all(faults)
    gaps, kind = Gaps(config.empty_text, config.missing_label), None
    usable: dict[str, Usable] = {}

    def read(table: pd.DataFrame, where: str) -> None:
        known, names = TARGETS.get(task.target), kind.names if kind else task.labels
        usable[where] = usable_rows(
            table, gaps, where=where, empty=partial(INPUTS.get(task.shape).missing, task=task),
            unlabelled=partial(known.unlabelled, task=task, names=names, where=where),
        )  # fmt: skip

    with gathering(faults):
        # Both ways to write several labels say by themselves what the target is.
        several = config.label_columns or config.label_separator
        if not config.task and config.target == "auto" and not several:
            task = _settle_target(train, task, config.metrics)
        task = TARGETS.get(task.target).declared(train, task)
        read(train, TRAINING)
        with counting_all(usable[TRAINING].kept):
            kind = TARGETS.get(task.target).learn(usable[TRAINING].frame, task, where=TRAINING)
        raise_all(class_faults(task.metrics, kind.names) if kind.names else ())
    if validation is not None and not faults:
        with gathering(faults):
            read(validation, VALIDATION)
    made: list[Rows] = []
    for table, where in ((train, TRAINING), (validation, VALIDATION)):
        if table is not None:
            part = usable.get(where) or Usable(table, np.arange(len(table)), Counts())
            with gathering(faults), counting_all(part.kept):
                # Where it is not known what the labels are, the texts can still be looked at.
                keep = gaps.empty_text == "keep"
                made.append(build_rows(part.frame, task, kind, where=where, keep_empty=keep))
    raise_all(faults)
    if kind is None:
        raise RuntimeError("without faults the labels are known")
    return _ReadTables(task, kind, made[0], made[1] if validation is not None else None, usable)


def _check_sample(n: int, strata: npt.NDArray[np.int64], before: int) -> None:
    """Refuse a number of training rows that there are not, or that leaves out a class."""
    rows = len(strata)
    if n > rows:
        left = f"that are left of {before}" if before > rows else "that there are"
        raise ConfigError(
            f"--train-rows of at most {rows}, the training rows {left}"
            + (" when those for validation are set apart" if before > rows else ""),
            str(n),
            "Ask for fewer rows, or leave it out to take them all.",
        )
    classes = len(np.unique(strata))
    if n < classes:
        raise ConfigError(
            f"--train-rows of at least {classes}, one row of each class",
            str(n),
            "Ask for more rows.",
        )


def _unread_split(train: pd.DataFrame) -> list[str]:
    """Tell of validation rows that the data set of the training rows has beside them."""
    splits = train.attrs.get(OTHER_SPLITS, ())
    found = [name for name in splits if name.startswith(("validation", "valid", "dev"))]
    told = (
        f"The data set has a split {found[0]!r}, which was not read: training rows are held out "
        "instead. Give the data set as --validation too to use it."
    ) if found else ""  # fmt: skip
    return [told] if told else []


def _repeated(rows: Rows, held_out: Rows) -> list[str]:
    repeated = duplicate_rows(rows, held_out)
    told = (
        f"{repeated} of {len(held_out)} validation rows also stand in the training rows; "
        "scores on them are too good. Remove them from one of the two."
    )
    return [told] if repeated else []


def _settle_target(train: pd.DataFrame, task: TaskSpec, metrics: tuple[str, ...]) -> TaskSpec:
    """Infer the kind of target from the labels of the user's own columns."""
    # Those that need rows of their own kind look closer.
    kinds = sorted(map(TARGETS.get, TARGETS), key=lambda kind: kind.shape is None)
    found = (kind.name for kind in kinds if kind.recognises(train, task, where=TRAINING))
    target = next(found, task.target)
    chosen = canonical_names(metrics) or DEFAULTS[target]
    raise_all(metric_faults(chosen, target))
    shape = TARGETS.get(target).shape or task.shape
    return replace(task, target=target, metrics=chosen, shape=shape)


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
