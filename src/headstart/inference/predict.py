"""A finished model put to use: texts and tables in, classes or numbers and scores out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from headstart.config import FitConfig
from headstart.data._faults import counting_all, counting_from, notes
from headstart.data.rows import Rows, column_faults
from headstart.data.tables.objects import as_frame
from headstart.data.tables.usable import Counts, Gaps, Usable, fit_columns, usable_rows
from headstart.errors import (
    ConfigError,
    DataError,
    HeadstartError,
    did_you_mean,
    gathering,
    raise_all,
)
from headstart.files.home import path_of
from headstart.inference.inputs import LongTexts, after_training
from headstart.inputs import INPUTS
from headstart.inputs._base import InputKind, InputSettings
from headstart.inputs._model import kind_of_model
from headstart.inputs._rows import build_rows
from headstart.models.checkpoints.folders import recover, require_finished
from headstart.models.checkpoints.loading import load_saved
from headstart.steps.output.saved import (
    SPANS_BY_FILE,
    fit_to_model,
    saved_precision,
    saved_runtime,
    saved_task,
)
from headstart.steps.settings import find_task
from headstart.steps.types import gold_labels
from headstart.targets._base import Floats, TargetKind
from headstart.targets._model import kind_of
from headstart.tasks.metrics import class_faults
from headstart.tasks.spec import TaskSpec
from headstart.training.evaluate import Judge, predict_logits
from headstart.training.frozen.first_token import first_token_only
from headstart.training.loader import ExamplesLoader
from headstart.training.machine.precision import settle_precision
from headstart.untrusted import shown

log = logging.getLogger("headstart")

Text = str | tuple[str, str]
LABELS = ("label", "label_columns", "label_separator")
INPUT_COLUMNS = ("text", "image", "audio")
COLUMNS = ("task", *INPUT_COLUMNS, *LABELS, "choices", "span")
"""The settings that say how rows are read."""
TAGS = "prediction_tags"
"""The column with the tag of each word, where words have one."""


@dataclass(frozen=True)
class Prediction:
    """One prediction.

    Args:
        label: The class name, the list of labels, the number, or the list of entities: ``start``
            and ``end`` in the text, ``label``, ``text`` and ``score`` of each.
        probabilities: Probability of each label by name; empty for a number, and for entities.
        tags: The tag of each word, where words have one.
    """

    label: str | float | list[str] | list[dict[str, Any]]
    probabilities: dict[str, float]
    tags: list[str] | None = None


class Classifier:
    """A finished model with its tokenizer and the columns it reads.

    Args:
        source: A run or a checkpoint.
        device: Where to compute.
        precision: That of the base model; ``auto`` is the run's.
        trust_remote_code: Whether code that comes with the model may run.
        gaps: What is done about rows without text or label.
        long_texts: How texts over the longest input are read.
    """

    def __init__(
        self,
        source: str,
        device: str = "auto",
        precision: str = "auto",
        *,
        trust_remote_code: bool = False,
        gaps: Gaps | None = None,
        long_texts: LongTexts | None = None,
    ) -> None:
        recover(path_of(source))
        require_finished(path_of(source))
        self._source, self._gaps = source, gaps or Gaps()
        self._told: set[str] = set()
        self.counts = Counts()
        """Gaps in the rows of the last call."""
        self._split, self.target = load_saved(source, trust_remote_code=trust_remote_code)
        own_choice = precision != "auto"
        if not own_choice:
            precision = saved_precision(source)
        self._runtime = saved_runtime(device, precision, asked=own_choice)
        self._split.model.to(self._runtime.device)
        self._tried = 0
        task, asked = saved_task(source)
        self.task = fit_to_model(task, self.target) if task else None
        told = long_texts or LongTexts()
        self._preprocessor = self._input.for_saved(
            self._split, self.target,
            InputSettings(
                source, trust_remote_code, asked, long_texts=told.use, window_overlap=told.overlap
            ),
        )  # fmt: skip

    def __repr__(self) -> str:
        reads = f"reads {', '.join(self.task.columns)}" if self.task else "knows no columns"
        gives = ", ".join(map(shown, self._names)) or "a number"
        return f"Classifier({self._source!r}, {reads}, gives {gives})"

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities; empty for a number."""
        return self.target.labels

    def use_columns(self, **columns: Any) -> Classifier:
        """Read other columns than those the model was trained with.

        Args:
            **columns: ``task``, or ``text``, ``image``, ``audio``, ``label``, ``label_columns``,
                ``label_separator``, ``choices``, ``span`` as for ``fit``.

        Returns:
            The same classifier.

        Raises:
            HeadstartError: If a name is unknown, or the columns are not what the model wants.
        """
        raise_all(
            ConfigError("task, or the role of a column", repr(name), did_you_mean(name, COLUMNS))
            for name in columns
            if name not in COLUMNS
        )
        if not (given := {name: value for name, value in columns.items() if value}):
            return self
        before = self.task
        own = {}
        if not given.keys() & {"task", *INPUT_COLUMNS}:
            own = {name: value for name in INPUT_COLUMNS if (value := getattr(self._task(), name))}
        known = kind_of(self.target.problem_type)  # columns alone do not always tell
        target = known.name if known.shape and "task" not in given else None
        config = FitConfig.build({"model": "-", "train": "-", "target": target, **own, **given})
        task = find_task(config) if given.keys() - {*LABELS} else self._task()
        if before is None:
            # Rows for a checkpoint from elsewhere mostly number the classes, in its own order.
            task = replace(task, labels=task.labels or self.labels or None)
        said = before if before and not config.task else task
        if given.keys() & {*LABELS}:
            said = replace(
                said, label=config.label or said.label, label_columns=config.label_columns,
                label_separator=config.label_separator,
            )  # fmt: skip
        task = replace(task, **{name: getattr(said, name) for name in LABELS})
        self.task = fit_to_model(task, self.target)
        return self

    def predict(self, inputs: Sequence[Text] | Text) -> list[Prediction]:
        """Predict texts, or pairs of texts.

        Args:
            inputs: Texts, or (first, second) for a model of pairs.

        Returns:
            One prediction for each, in order.

        Raises:
            DataError: If they are not what the model was trained on.
        """
        frame, task = self._input.table(inputs, self.task)
        if not len(frame):
            return []
        rows, usable = self._rows(frame, task)
        if usable.counts.dropped:
            raise DataError(
                "a text for each prediction, which cannot be left out here",
                f"{usable.counts.dropped} without text",
                "Remove them, or load the model with empty_text='keep'.",
            )
        return self._predictions(self._compute(rows), rows)

    def predict_frame(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Predict the rows of a table.

        Args:
            frame: A data frame, or a ``Dataset``, with the columns that the model reads.

        Returns:
            The same rows in the same order, with ``prediction`` (a list where a row may have
            several labels) and the probability of each label as ``p_<label>``. For multiple
            choice the columns of the candidates are the classes: ``prediction`` names the column
            of the chosen one, such as ``choice1``, and ``p_choice1``, ``p_choice2`` … say how
            likely each is.

        Raises:
            DataError: If the table lacks a column, or has one of those that are added.
        """
        table = as_frame(frame, where="the data", empty=True)
        self.counts = Counts()
        return self._answered(table)

    def _answered(self, table: pd.DataFrame) -> pd.DataFrame:
        rows, usable = self._unlabelled(table)
        self.counts.add(usable.counts)
        logits = self._compute(rows)
        answer = table.copy()
        if usable.counts.dropped:
            answer = table.iloc[usable.kept].reset_index(drop=True)
        found = self._kind.answers(logits, rows)
        added = {f"p_{name}": chances for name, chances in found.probabilities.items()}
        more = {} if found.tags is None else {TAGS: found.tags}
        return answer.assign(prediction=found.values, **more, **added)

    def _unlabelled(self, table: pd.DataFrame) -> tuple[Rows, Usable]:
        added = ("prediction", TAGS, *(f"p_{n}" for n in self._names))
        taken = [n for n in added if n in table.columns]
        if taken:
            raise DataError(
                "rows without the columns that are added",
                ", ".join(taken),
                "Rename or remove them.",
            )
        return self._rows(table, self._task())

    def _rows(
        self, table: pd.DataFrame, task: TaskSpec, kind: TargetKind | None = None
    ) -> tuple[Rows, Usable]:
        """Read a table's rows as the model wants them, with labels where their kind is given."""
        need_labels, unlabelled = kind is not None, None
        if kind:
            names = kind.names or None
            unlabelled = partial(kind.unlabelled, task=task, names=names, where="the data")
        fitted = fit_columns(table, task, need_labels=need_labels)
        raise_all(column_faults(fitted, task, where="the data", need_labels=need_labels))
        for told in notes(fitted):
            if told not in self._told:
                log.warning(told)
            self._told.add(told)
        empty = partial(INPUTS.get(task.shape).missing, task=task)
        usable = usable_rows(
            fitted, self._gaps, where="the data", empty=empty, unlabelled=unlabelled
        )
        keep = self._gaps.empty_text == "keep"
        with counting_all(usable.kept):
            rows = build_rows(usable.frame, task, kind, where="the data", keep_empty=keep)
        return rows, usable

    def _tell_gaps(self) -> None:
        for told in self.counts.told("rows"):
            log.warning(told)

    def evaluate_frame(self, frame: pd.DataFrame) -> dict[str, float]:
        """Measure the model on labelled rows.

        Args:
            frame: A data frame, or a ``Dataset``, with the columns that the model reads and the
                label.

        Returns:
            Metrics by name, ``score`` and ``loss`` among them; NaN where rows do not define them.
        """
        return self.evaluate_parts([(0, as_frame(frame, where="the data"))])

    def evaluate_parts(self, parts: Iterable[tuple[int, pd.DataFrame]]) -> dict[str, float]:
        """Measure the model on labelled rows that come in parts.

        Args:
            parts: Numbers of rows before, and rows; gone through twice, first to find faults.

        Returns:
            As from ``evaluate_frame``.
        """
        return self.measure_parts(parts)[0]

    def measure_parts(
        self, parts: Iterable[tuple[int, pd.DataFrame]]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Measure the model, and its probabilities, on labelled rows that come in parts.

        Args:
            parts: As for ``evaluate_parts``.

        Returns:
            Metrics as from ``evaluate_frame``; and ``log_loss``, ``ece`` and ``brier`` of the
            probabilities, nothing for a model that predicts a number.
        """
        task, kind = self._task(), self._kind
        raise_all(class_faults(task.metrics, kind.names) if kind.names else ())
        self.counts, known = Counts(), []
        for part in parts:
            rows, usable = self._labelled(*part)
            self.counts.add(usable.counts)
            known.append(gold_labels(rows))
        gold = np.concatenate(known)
        logits = np.concatenate([self._compute(self._labelled(*part)[0]) for part in parts])
        self._tell_gaps()
        judge = Judge(kind, gold, task.metrics)
        judge.remark(logits, log.warning)
        sure = kind.probability_errors(logits, gold) if np.isfinite(logits).all() else {}
        return judge(logits), sure

    def _labelled(self, before: int, table: pd.DataFrame) -> tuple[Rows, Usable]:
        task, kind = self._task(), self._kind
        faults: list[HeadstartError] = []
        with gathering(faults), counting_from(before):
            read = self._rows(table, task, kind)
        raise_all(after_training(fault, kind.names) for fault in faults)
        return read

    def predict_parts(self, parts: Iterable[tuple[int, pd.DataFrame]]) -> Iterator[pd.DataFrame]:
        """Predict rows that come in parts.

        Args:
            parts: Numbers of rows before, and rows; gone through twice, first to find faults.

        Yields:
            Each part as from ``predict_frame``.
        """
        for before, table in parts:
            with counting_from(before):
                self._unlabelled(table)
        self.counts = Counts()
        for _, table in parts:
            yield self._answered(table)
        self._tell_gaps()

    def _settle_precision(self, loader: ExamplesLoader) -> None:
        """Fall back to fp32 where the model's code fails in the chosen precision."""
        longest = int(loader.lengths.max(initial=0))
        if longest > self._tried:
            told = settle_precision(self._split, [loader], self._runtime, training=False)
            self._tried = longest
            if told:
                log.warning(told)

    def _task(self) -> TaskSpec:
        if self.task is None:
            raise DataError(
                "the columns that the model reads",
                f"{self._source}, a model without the record of a run, which would say",
                SPANS_BY_FILE
                if self.target.spans
                else f"{self._input.advice} Labels are read from label, else pass --label.",
            )
        return self.task

    def _compute(self, rows: Rows) -> Floats:
        outputs = rows.choices if rows.choices > 1 else self.target.outputs
        parts: list[Floats] = [np.zeros((0, outputs), np.float32)]
        for examples in self._preprocessor.encode_parts(rows, self.task):
            loader = ExamplesLoader(examples, self._runtime.device)
            with first_token_only(self._split, loader):
                self._settle_precision(loader)
                parts.append(predict_logits(self._split.model, loader, self._runtime, outputs))
        return np.concatenate(parts)

    @property
    def _names(self) -> tuple[str, ...]:
        """Names of the answers in the order of the logits; the candidates' columns for a choice."""
        return self._input.answers(self.task, self.target.labels)

    @property
    def _input(self) -> type[InputKind]:
        """The kind of input, by the task or else by the model's class."""
        return INPUTS.get(self.task.shape) if self.task else kind_of_model(self.target.kind)

    @property
    def _kind(self) -> TargetKind:
        """The kind of target, as the saved model says."""
        kind = kind_of(self.target.problem_type)
        return kind.of_model(self._names, self._split.model.config)

    def _predictions(self, logits: Floats, rows: Rows) -> list[Prediction]:
        found = self._kind.answers(logits, rows)
        columns = [column.tolist() for column in found.probabilities.values()]
        chances = zip(*columns, strict=True) if columns else [()] * len(rows)
        tags = [None] * len(rows) if found.tags is None else found.tags.tolist()
        return [
            Prediction(label, dict(zip(found.probabilities, row, strict=True)), own)
            for label, row, own in zip(found.values.tolist(), chances, tags, strict=True)
        ]
