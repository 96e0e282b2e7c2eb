"""Settings and state of a stage's loop, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from headstart.results import Point, StageResult
from headstart.strategies.plan import Length
from headstart.training.optim import OptimizerSettings


@dataclass
class LoopState:
    """The state of a stage's loop: everything beside tensors that a checkpoint needs.

    Args:
        step: Optimizer steps done.
        tokens: Tokens trained on, padding not counted.
        training_seconds: Wall time without evaluation: of what comes before the first step, and of
            the steps.
        seconds: Wall time in all.
        curve: Evaluations so far.
        best_step: Step of the best score.
        fall_from: Step at which the learning rate began to fall, where the rule decided it.
        ended: Why the stage ended, empty while it runs.
        rule: Memory of the stopping rule.
        window: Sums for the adjusted score on the rows since the rule last looked.
        since_point: Loss sum and rows since the last evaluation.
        scale: State of fp16's loss scale.
        unseen_decay: What weight decay has still to multiply embedding rows by that no text holds.
    """

    step: int = 0
    tokens: int = 0
    training_seconds: float = 0.0
    seconds: float = 0.0
    curve: list[Point] = field(default_factory=list)
    best_step: int = 0
    fall_from: int | None = None
    ended: str = ""
    rule: dict[str, Any] = field(default_factory=dict)
    window: list[list[float]] = field(default_factory=list)
    since_point: tuple[float, int] = (0.0, 0)
    scale: dict[str, Any] = field(default_factory=dict)
    unseen_decay: float = 1.0

    def count_setup(self, seconds: float, *, evaluation: float = 0.0) -> None:
        """Count what the stage took before its loop; ``evaluation`` is the part for evaluating.

        A stage that goes on from a checkpoint takes up the count that stands there, so what is set
        up a second time does not count twice.
        """
        self.seconds += seconds
        self.training_seconds += max(0.0, seconds - evaluation)

    def record(self, result: StageResult) -> None:
        """Write what the loop has done into its stage's record."""
        result.ended, result.seconds = self.ended, self.seconds
        result.steps = 0 if self.ended == "optimum" else self.step
        result.training_seconds, result.tokens = self.training_seconds, self.tokens
        result.curve, result.best_step, result.best = self.curve, self.best_step, self.best
        result.start, result.end = self.curve[0].scores, self.curve[-1].scores

    @property
    def best(self) -> dict[str, float]:
        """Scores at the best step."""
        return next((p.scores for p in self.curve if p.step == self.best_step), {})

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LoopState:
        """Rebuild from plain data."""
        values = {**values, "curve": [Point(**point) for point in values["curve"]]}
        values["since_point"] = tuple(values["since_point"])
        return cls(**values)


@dataclass(frozen=True)
class StageSetup:
    """Settings of a stage's loop.

    ``batch_size`` is over all processes; ``micro_batch_size`` are rows at once in a process, all of
    its share if ``None``; ``eval_every`` are steps between evaluations, an epoch if ``None``;
    ``patience`` are evaluations without a gain that end an ``until=plateau`` stage; ``keep_best``
    says that the best state is remembered.
    """

    length: Length
    optimizer: OptimizerSettings
    batch_size: int
    seed: int
    micro_batch_size: int | None = None
    eval_every: int | None = None
    patience: int = 2
    keep_best: bool = False
