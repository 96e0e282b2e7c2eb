"""The record of a run: plain data, written as JSON with its schema version."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from headstart.errors import RunError
from headstart.files.contents import UnreadableError
from headstart.files.jsonfile import read_table
from headstart.files.schema import Scores, as_record, known

SCHEMA_VERSION = 1


@dataclass
class Point:
    """One evaluation along a stage.

    Args:
        step: Optimizer steps done in this stage.
        train_loss: Mean loss over the training rows since the last point; ``None`` at step 0.
        scores: Validation metrics by name, ``score`` (their mean) and ``loss`` among them. A loss
            is a mean over the rows: of numbers the squared error in the labels' own unit, else the
            cross-entropy in nats.
    """

    step: int
    train_loss: float | None
    scores: Scores


@dataclass
class StageResult:
    """The record of one stage.

    Args:
        stage: The stage in the notation.
        trains: Its tuner.
        attempt: 1, or 2 where the guard tried again.
        planned_steps: Its length, or upper bound.
        steps: Optimizer steps done; 0 where the head was fitted to its optimum.
        until: What was to end it: ``end``, ``learned``, ``plateau`` or ``optimum``.
        ended: Why it ended: ``end``, ``learned``, ``bound``, ``plateau``, ``optimum`` or ``nan``.
        lr: Peak learning rate of the tuner's parameters; ``None`` where none are trained by steps.
        head_lr: Peak learning rate of the head, likewise.
        trainable: Numbers that train, as ``head``, ``tuner`` and ``frozen``.
        seconds: Wall time of the stage: setting it up, the pass of all rows over a frozen backbone
            included, training, evaluation, and handing on.
        training_seconds: The part for the training rows: setting up, and optimizer steps or the fit
            of the head to its optimum.
        tokens: Tokens trained on, padding not counted.
        start: Validation metrics before the first step.
        end: Validation metrics after the last step, the tuner still on.
        best_step: Step of the best validation score.
        best: Validation metrics there.
        curve: All evaluations.
        held_out_loss: Mean loss on held-out folds of the training rows, where the head was fitted
            to its optimum and rows could be held out.
        strength: C of the penalty with which the head was fitted to its optimum.
        train_adjusted_score: How far above chance the training rows are predicted at the end: 0 is
            chance, 1 is perfect. ``None`` for the last stage, and where the head does not train.
        learned: Whether the head is well above chance, which held-out rows have to confirm where it
            was fitted to its optimum; ``None`` as above.
        handed_on: ``head``, ``everything``, ``model`` (the last stage) or ``nothing`` (given up).
    """

    stage: str
    trains: str
    attempt: int
    planned_steps: int
    lr: float | None
    head_lr: float | None
    trainable: dict[str, int]
    until: str = "end"
    steps: int = 0
    ended: str = "end"
    seconds: float = 0.0
    training_seconds: float = 0.0
    tokens: int = 0
    start: Scores = field(default_factory=dict)
    end: Scores = field(default_factory=dict)
    best_step: int = 0
    best: Scores = field(default_factory=dict)
    curve: list[Point] = field(default_factory=list)
    held_out_loss: float | None = None
    strength: float | None = None
    train_adjusted_score: float | None = None
    learned: bool | None = None
    handed_on: str = "model"

    @property
    def tokens_per_second(self) -> float:
        """Training throughput in tokens a second, padding not counted.

        0 where no steps were taken.
        """
        return self.tokens / self.training_seconds if self.training_seconds else 0.0


@dataclass
class RunResult:
    """The record of one run, and everything needed to repeat it.

    Args:
        strategy: The strategy's canonical line.
        seed: The seed.
        task: Name, version, target, metrics, labels.
        settings: The settings as resolved.
        data: Row counts and content fingerprints of the splits.
        backbone: Source, fingerprint and size of the pretrained backbone.
        machine: Device, precision, threads, processes.
        versions: Versions of headstart, Python and the libraries beneath.
        stages: What each stage did, in order.
        last: Validation metrics of the last state.
        best: Validation metrics of the best state of the last stage.
        earlier: Validation metrics of an earlier stage's model, where that is saved; else empty.
        untouched: Metrics of the saved state on validation rows that no selection has seen;
            empty where selection and report share their rows.
        calibration: What ``--calibrate`` did: temperature, rows, and how good the probabilities
            were before and after; empty without it. All scores of the saved state are then those
            after it, those along the stages before. Where ``bound`` is not empty, the rows
            determined no temperature and the model is as it was.
        selected: ``last``, ``best`` or ``earlier``: which of the three is saved.
        rule: What is saved and why, in words; empty as long as nothing is.
        notes: What was decided for this run and may surprise.
        warnings: What the user was warned of.
        guard: What the guard did, in words; empty where it had nothing to do.
        collapsed: Whether it ended no better than chance, or predicts one class only.
        status: ``done`` or ``failed``.
        error: Why it failed.
        started: Start as an ISO 8601 time in UTC.
        seconds: Wall time of the whole run, loading and saving included.
        schema_version: Version of this record's form.
    """

    strategy: str
    seed: int
    task: Annotated[dict[str, Any], known(name=str, metrics=list, labels=list)]
    settings: dict[str, Any]
    data: Annotated[
        dict[str, Any],
        known(
            train_rows=int,
            validation_rows=int,
            untouched_rows=int,
            train_fingerprint=str,
            validation_fingerprint=str,
            validation_origin=str,
        ),
    ] = field(default_factory=dict)
    backbone: Annotated[dict[str, Any], known(source=str, fingerprint=str, parameters=int)] = field(
        default_factory=dict
    )
    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    stages: list[StageResult] = field(default_factory=list)
    last: Scores = field(default_factory=dict)
    best: Scores = field(default_factory=dict)
    earlier: Scores = field(default_factory=dict)
    untouched: Scores = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    selected: str = "last"
    rule: str = ""
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    guard: list[str] = field(default_factory=list)
    collapsed: bool = False
    status: str = "done"
    error: str = ""
    started: str = ""
    seconds: float = 0.0
    schema_version: int = SCHEMA_VERSION

    @property
    def out(self) -> Path:
        """The folder that the run was written to."""
        return Path(self.settings["out"])

    @property
    def scores(self) -> dict[str, float]:
        """Metrics of the state that was saved: on rows that no selection has seen, if there are."""
        return self.untouched or self.selecting

    @property
    def selecting(self) -> dict[str, float]:
        """Metrics of the state that was saved, on the rows that were evaluated along the way."""
        return {"best": self.best, "earlier": self.earlier}.get(self.selected, self.last)

    @property
    def reported_on(self) -> str:
        """Which rows ``scores`` are about, in words."""
        if self.untouched:
            return f"{self.data['untouched_rows']:,} validation rows that no selection has seen"
        return f"{self.data['validation_rows']:,} rows, {self.data['validation_origin']}"

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain data, throughputs included."""
        values = asdict(self)
        for plain, stage in zip(values["stages"], self.stages, strict=True):
            plain["tokens_per_second"] = round(stage.tokens_per_second, 1)
        return values

    def to_json(self) -> str:
        """Return the record as JSON text; what is not a finite number becomes ``null``."""
        plain = finite(self.to_dict())
        return json.dumps(plain, indent=1, ensure_ascii=False, default=str, allow_nan=False) + "\n"

    def to_plain(self) -> dict[str, Any]:
        """Return the record as data that JSON gives back as it is."""
        plain: dict[str, Any] = json.loads(self.to_json())
        return plain

    @classmethod
    def read(cls, path: Path) -> RunResult:
        """Read a record.

        Raises ``RunError`` if the file is missing, broken, or of another schema version.
        """
        try:
            values = read_table(path)
            version = values.get("schema_version")
        except (OSError, UnreadableError) as error:
            raise RunError(
                "a result.json written by headstart", f"{path}: {error}", "Repeat the run."
            ) from None
        if version != SCHEMA_VERSION:
            raise RunError(
                f"a result of schema version {SCHEMA_VERSION}",
                f"{path} of version {version}",
                "Use the version of headstart that wrote it, or repeat the run.",
            )
        try:
            return cls.from_dict(values)
        except UnreadableError as error:
            raise RunError("a whole result.json", f"{path}: {error}", "Repeat the run.") from None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunResult:
        """Rebuild a record from plain data, as from ``to_plain``.

        Raises ``UnreadableError`` if something is missing or of another type.
        """
        if not isinstance(values, Mapping) or "stages" not in values:
            raise UnreadableError("no record with stages")
        return as_record(cls, values)


def show_scores(scores: Mapping[str, float]) -> str:
    """Write metrics in a line, without a ``score`` that repeats the only one.

    For example ``accuracy 0.7900, loss 0.4800``.
    """
    metrics = [name for name in scores if name not in {"score", "loss"}]
    names = [*metrics, *(["score"] if len(metrics) != 1 else []), "loss"]
    return ", ".join(f"{name} {show_score(scores[name])}" for name in names if name in scores)


def show_score(value: float, digits: int = 4) -> str:
    """Write a metric; ``undefined`` if it is no number, as where the rows do not define it."""
    return "undefined" if math.isnan(value) else f"{value:.{digits}f}"


def show_rate(rate: float | None) -> str:
    """Write a learning rate, ``0.001`` or ``none``."""
    return "none" if rate is None else f"{rate:g}"


CALIBRATION_FIGURES = {"log_loss": "log loss", "ece": "ECE", "brier": "Brier score"}
"""What is measured of a model's probabilities, and what people call it; all better when lower."""


def describe_calibration(calibration: Mapping[str, Any]) -> str:
    """Describe the rows that a temperature was fitted on, and those that judged it."""
    fitted = f"The temperature was fitted on {calibration['rows']:,} rows, {calibration['origin']}"
    if not calibration["same_rows"]:
        return f"{fitted}; before and after are compared on {calibration['judged_by']}."
    return (
        f"{fitted}: the same rows that the scores are about, which flatters their loss. Before and "
        f"after are compared by {calibration['judged_by']}, no row with a temperature fitted on it."
    )


def finite(value: Any) -> Any:
    """Return plain data for JSON, in which what is not a finite number is ``None``."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
