"""The Python interface: the same runs as on the command line, as calls."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import nn

from headstart.config import FitConfig, read_settings
from headstart.data.encode import encode, resolve_max_length
from headstart.data.labels import LabelMap
from headstart.data.rows import build_rows
from headstart.data.sources import read_table
from headstart.errors import DataError, ModelError
from headstart.models.backbone import SplitModel
from headstart.models.loading import Target, load_saved, load_tokenizer, positions
from headstart.models.source import at_home, find_model
from headstart.results import RunResult
from headstart.run.folder import RESULT, SETTINGS
from headstart.run.listener import Listener
from headstart.run.main import plan_run, run
from headstart.run.plan import Plan
from headstart.run.prepare import find_task
from headstart.run.pretrain import pretrain
from headstart.tasks.metrics import default_metrics
from headstart.tasks.spec import TaskSpec
from headstart.tasks.userfile import from_columns
from headstart.training.evaluate import Floats, Judge, decide, predict_logits
from headstart.training.feed import EncodedFeed
from headstart.training.runtime import Runtime

Text = str | tuple[str, str]
LONGEST_BY_DEFAULT = 512
ROWS_AT_ONCE = 16384
"""Rows that are tokenised and computed at a time, so that memory does not grow with the file."""


def fit(*, listener: Listener | None = None, **settings: Any) -> RunResult:
    """Train one run; the settings are those of ``headstart fit``.

    Args:
        listener: Hears what happens along the way.
        **settings: Fields of ``FitConfig``. ``train`` and ``validation`` may also be data frames.

    Returns:
        The record; the model stands in ``<out>/model``.

    Raises:
        HeadstartError: If the input is at fault or the run fails.
    """
    frames = {k: v for k, v in settings.items() if isinstance(v, pd.DataFrame)}
    named = {k: "(data frame)" if k in frames else v for k, v in settings.items()}
    return run(FitConfig.build(named), listener, frames)


def plan(**settings: Any) -> Plan:
    """Say what ``fit`` would do, without training or writing.

    Args:
        **settings: As for ``fit``.

    Returns:
        Stages, steps, parameter counts, facts about the data.
    """
    frames = {k: v for k, v in settings.items() if isinstance(v, pd.DataFrame)}
    named = {k: "(data frame)" if k in frames else v for k, v in settings.items()}
    return plan_run(FitConfig.build(named), frames)


def load(source: str | Path, *, device: str = "auto", precision: str = "auto") -> Classifier:
    """Load a finished model for prediction.

    Args:
        source: A run, its ``model`` folder, or any sequence-classification checkpoint.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``fp32``, ``bf16``, ``fp16``, or ``auto``: that in which the run was evaluated,
            so that its scores come out again, and ``fp32`` for a model that predicts a number.

    Returns:
        The classifier.

    Raises:
        ModelError: If there is no trained model.
    """
    return Classifier(str(source), device, precision)


def evaluate(
    source: str | Path, data: str | Path | pd.DataFrame, **columns: Any
) -> dict[str, float]:
    """Measure a finished model on labelled rows.

    Args:
        source: A run or a checkpoint.
        data: A file, a saved data set, or a data frame.
        **columns: ``task``, or ``text``, ``label`` …, where the run's own do not fit.

    Returns:
        Metrics by name, ``score`` (their mean) and ``loss`` among them.
    """
    frame = data if isinstance(data, pd.DataFrame) else read_table(data)
    return load(source).use_columns(**columns).evaluate_frame(frame)


@dataclass(frozen=True)
class Prediction:
    """One prediction.

    Args:
        label: The class name, or the number.
        probabilities: Probability of each class by name; empty for a number.
    """

    label: str | float
    probabilities: dict[str, float]


class Classifier:
    """A finished model with its tokenizer and the columns it reads.

    Args:
        source: A run or a checkpoint.
        device: Where to compute.
        precision: As for ``load``.
    """

    def __init__(self, source: str, device: str = "auto", precision: str = "auto") -> None:
        self._split, self.target = load_saved(source)
        if precision == "auto":
            # bf16 has three digits, too few for a number in the user's units.
            precision = _trained_in(Path(at_home(source))) if self.target.labels else "fp32"
        self._runtime = Runtime(device, precision)
        self._split.model.to(self._runtime.device)
        config: Any = self._split.model.config
        self._tokenizer = load_tokenizer(source, config.vocab_size)
        self.task, asked = _saved_task(Path(at_home(source)), self.target)
        self._max_length = asked or resolve_max_length(
            self._tokenizer, positions(self._split), default=LONGEST_BY_DEFAULT
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities; empty for a number."""
        return self.target.labels

    def use_columns(self, **columns: Any) -> Classifier:
        """Read other columns than those the model was trained with.

        Args:
            **columns: ``task``, or ``text``, ``label``, ``choices``, ``span`` as for ``fit``.

        Returns:
            The same classifier.
        """
        given = {k: v for k, v in columns.items() if v}
        if given:
            config = FitConfig(model="-", train="-", **given)
            base = find_task(config) if config.task or config.text else self.task
            self.task = _with_target(base or _plain_task(), self.target)
            if config.label:
                self.task = replace(self.task, label=config.label)
        return self

    def predict(self, inputs: Sequence[Text] | Text) -> list[Prediction]:
        """Predict texts, or pairs of texts.

        Args:
            inputs: Texts, or (first, second) for a model of pairs.

        Returns:
            One prediction for each, in order.
        """
        texts = [inputs] if isinstance(inputs, str | tuple) else list(inputs)
        pairs = [t if isinstance(t, tuple) else (t,) for t in texts]
        wanted = 2 if self.task and self.task.shape == "pair" else 1
        if self.task and self.task.shape == "choice":
            raise DataError(
                "rows with their candidates for a multiple-choice model",
                "plain texts",
                "Use predict_frame with a data frame.",
            )
        wrong = next((i for i, p in enumerate(pairs) if len(p) != wanted), None)
        if wrong is not None and self.task is not None:
            raise DataError(
                f"{'pairs of texts' if wanted == 2 else 'single texts'}, as in training",
                f"{len(pairs[wrong])} text(s) at position {wrong}",
                "Give (first, second) tuples." if wanted == 2 else "Give strings.",
            )
        if not pairs:
            return []
        frame = pd.DataFrame(pairs, columns=["text", "text2"][: len(pairs[0])])
        task = from_columns(tuple(frame.columns), "label")
        return self._predictions(self._logits(frame, task))

    def predict_frame(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Predict the rows of a data frame.

        Args:
            frame: With the columns that the model reads.

        Returns:
            The same rows in the same order, with ``prediction`` and, for classes, the
            probability of each as ``p_<label>``.
        """
        logits = self._logits(frame, self._task())
        answer = frame.copy()
        names = self._names(logits)
        if not names:
            answer["prediction"] = logits[:, 0]
            return answer
        chosen = decide(logits, number=False)
        answer["prediction"] = [names[int(i)] for i in chosen]
        for name, column in zip(names, softmax(logits).T, strict=True):
            answer[f"p_{name}"] = column
        return answer

    def evaluate_frame(self, frame: pd.DataFrame) -> dict[str, float]:
        """Measure the model on labelled rows.

        Args:
            frame: With the columns that the model reads and the label.

        Returns:
            Metrics by name, ``score`` and ``loss`` among them.
        """
        task = self._task()
        labels = LabelMap(self.target.labels or task.choices) if task.target == "classes" else None
        rows = build_rows(frame, task, labels, where="data")
        if rows.labels is None:
            raise RuntimeError("rows built with labels carry labels")
        return Judge(rows.labels, task.metrics)(self._compute(rows))

    def _task(self) -> TaskSpec:
        if self.task is None:
            raise DataError(
                "the columns that the model reads",
                "a checkpoint that was not trained by headstart and does not say",
                "Pass --text COLUMN (and --label), or --task NAME.",
            )
        return self.task

    def _logits(self, frame: pd.DataFrame, task: TaskSpec) -> Floats:
        return self._compute(build_rows(frame, task, None, where="data", need_labels=False))

    def _compute(self, rows: Any) -> Floats:
        outputs = rows.choices if self.target.kind == "choice" else self.target.outputs
        parts = []
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows.take(np.arange(start, min(start + ROWS_AT_ONCE, len(rows))))
            feed = EncodedFeed(
                encode(part, self._tokenizer, self._max_length), self._runtime.device
            )
            parts.append(predict_logits(self._split.model, feed, self._runtime, outputs))
        return np.concatenate(parts)

    def _names(self, logits: Floats) -> tuple[str, ...]:
        if self.target.kind == "choice":
            return self.task.choices if self.task else tuple(map(str, range(logits.shape[1])))
        return self.target.labels

    def _predictions(self, logits: Floats) -> list[Prediction]:
        names = self._names(logits)
        if not names:
            return [Prediction(float(value), {}) for value in logits[:, 0]]
        return [
            Prediction(names[int(row.argmax())], dict(zip(names, map(float, row), strict=True)))
            for row in softmax(logits)
        ]


def pretrain_head(
    model: nn.Module,
    dataset: Iterable[Mapping[str, Any]],
    tuner: str = "bitfit",
    *,
    label_column: str = "label",
    new_parameters: Iterable[str] = (),
    epochs: float | None = None,
    batch_size: int = 32,
    lr: float | None = None,
    head_lr: float | None = None,
    seed: int = 0,
    device: str = "auto",
) -> nn.Module:
    """Train the head of your own transformers model; its backbone comes back untouched.

    This is stage 1 of EH-FT on its own (arXiv 2210.16771): the head learns together with a small
    tuner on the frozen backbone, then the tuner is thrown away. Fine-tune the result with any
    trainer.

    Args:
        model: An ``AutoModelFor…`` classifier. Changed in place: only its head.
        dataset: Tokenised rows: mappings with ``input_ids`` and the label, such as a ``datasets``
            data set; ``token_type_ids`` and ``attention_mask`` are used where they are there.
        tuner: What trains beside the head, in the strategy notation, for example ``lora(r=16)``.
        label_column: Name of the label; ``labels`` is understood too.
        new_parameters: Names of further parameters that the checkpoint did not provide, from
            ``loading_info["missing_keys"]``; needed only where a pooler was missing.
        epochs: Length; by default until the head has learned.
        batch_size: Rows per optimizer step.
        lr: Learning rate of the tuner.
        head_lr: Learning rate of the head.
        seed: Seed of data order, dropout and tuner.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Returns:
        The same model. If the head learned nothing in two attempts it is as it was, and a warning
        says so.

    Raises:
        HeadstartError: If the model has no head, the rows do not fit, or the line cannot be read.
    """
    if not isinstance(model, nn.Module):
        raise ModelError("a transformers model", type(model).__name__, "Load it first.")
    pretrain(
        SplitModel(model, new_parameters), dataset, tuner, label_column=label_column,
        epochs=epochs, batch_size=batch_size, lr=lr, head_lr=head_lr, seed=seed, device=device,
    )  # fmt: skip
    return model


def softmax(logits: Floats) -> npt.NDArray[np.float64]:
    """Turn logits into probabilities.

    Args:
        logits: (n, classes).

    Returns:
        Rows that add up to 1, (n, classes).
    """
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    total: npt.NDArray[np.float64] = powers.sum(axis=1, keepdims=True)
    return np.asarray(powers / total)


def _trained_in(source: Path) -> str:
    """Return the precision of the run that a model comes from; ``auto`` where none is told."""
    for folder in (source, source.parent):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads((folder / RESULT).read_text(encoding="utf-8"))
            return {"bf16": "bf16", "fp32": "fp32"}.get(record["machine"]["precision"], "auto")
    return "auto"


def _saved_task(source: Path, target: Target) -> tuple[TaskSpec | None, int | None]:
    """Return what a run's folder says of its columns and its longest input, if it is one."""
    folder = next((f for f in (source, source.parent) if (f / SETTINGS).is_file()), None)
    if folder is None or find_model(str(folder)) != find_model(str(source)):
        return None, None
    task = find_task(FitConfig.build(read_settings(folder / SETTINGS)))
    longest = RunResult.read(folder / RESULT).task["max_length"]
    return _with_target(task, target), longest


def _with_target(task: TaskSpec, target: Target) -> TaskSpec:
    """Settle what the saved model knows and the columns alone do not."""
    if target.labels or target.kind == "choice":
        return replace(task, target="classes")
    metrics = task.metrics if task.target == "number" else default_metrics("number")
    return replace(task, target="number", metrics=metrics)


def _plain_task() -> TaskSpec:
    return from_columns(("text",), "label")
