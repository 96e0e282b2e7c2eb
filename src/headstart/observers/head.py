"""What in the pretrained head helps: the last stage starts from a head changed on purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headstart.config import FitConfig
from headstart.errors import ConfigError, did_you_mean
from headstart.observers._heads import (
    Head,
    cosine,
    fingerprint,
    joined,
    last_weight,
    norm,
    rescaled,
    shuffled,
)
from headstart.observers._other_heads import (
    head_of_another_run,
    require_same_outputs,
    settings_of_the_other,
)
from headstart.results import Point, StageResult
from headstart.steps.callback import Observer
from headstart.steps.settings import decide_hyperparameters, find_task
from headstart.steps.types import TrainingPlan
from headstart.training.seeds import stream
from headstart.tuners._bind import read_strategy

MOST_NUMBERS = 20_000
"""Of the last weight, for its final values to be kept."""
OTHER_SEED = 1000
"""Added to the seed of the run for that of the other stage 1."""

CONTROLS: Mapping[str, Callable[[Head, Head, int], Head]] = {
    "fresh head": lambda _, fresh, __: fresh,
    "whole head": lambda head, _, __: head,
    "weights only": lambda head, fresh, _: joined(head, fresh),
    "biases only": lambda head, fresh, _: joined(fresh, head),
    "shuffled": lambda head, _, seed: shuffled(head, stream(seed, "shuffled head")),
    "fresh norm": lambda head, fresh, _: rescaled(head, fresh),
}
"""From the pretrained head, the fresh head and the run's seed to the head of the last stage."""
DONATED = ("other seed", "other tuner", "other task")
"""Controls whose head comes from another stage 1."""


class HeadStart(Observer):
    """Changes the head before the last stage, and follows it through that stage.

    Args:
        control: Which head the last stage starts from.
        other: Settings in which the other stage 1 differs, for those controls that have one.
        rows: Digest of the other task's rows: with other rows it is another run.
    """

    def __init__(
        self, control: str = "whole head", other: Mapping[str, Any] | None = None, rows: str = ""
    ) -> None:
        known = (*CONTROLS, *DONATED)
        if control not in known:
            raise ConfigError("a control", repr(control), did_you_mean(control, known))
        self.control, self.other, self.rows = control, dict(other or {}), rows
        self.given_up, self.handed_on, self.last = "", "", False
        self.fresh: Head = {}
        self.start: Head = {}
        self.other_head: Head | None = None
        self.notes: tuple[str, ...] = ()
        self.facts: dict[str, Any] = {}
        self.points: list[dict[str, float]] = []

    def check(self, config: FitConfig) -> None:
        """Refuse runs whose stage 2 would differ, and another task whose head would not fit.

        Raises ``ConfigError`` if the budget is one of all stages, a head is given, or the other
        task has another number of outputs.
        """
        strategy = read_strategy(config.strategy)
        if config.head:
            raise ConfigError(
                "a run that pretrains its head", f"--head {config.head}", "Leave out the head."
            )
        total = decide_hyperparameters(config, find_task(config)).total_epochs
        if total or any(stage.share is not None for stage in strategy.stages):
            raise ConfigError(
                "the same fine-tuning after every head: a length of its own for the last stage",
                f"{total:g} epochs of all stages together" if total else strategy.name,
                "Say how long each is, for example bitfit(epochs=2) and --set epochs=3.",
            )
        if "task" in self.other:
            require_same_outputs(config, self.other)

    def beside(self, config: FitConfig) -> Sequence[FitConfig]:
        """Name the other stage 1 of a control that has one."""
        if self.control not in DONATED:
            return ()
        return (settings_of_the_other(config, self._differs(config)),)

    def _differs(self, config: FitConfig) -> dict[str, Any]:
        """Return in which settings the run of the other stage 1 differs."""
        own = {"seed": config.seed + OTHER_SEED} if self.control == "other seed" else {}
        return {**own, **self.other}

    def begin(self, plan: TrainingPlan) -> None:
        """Keep the fresh head, and carry out the other stage 1."""
        super().begin(plan)
        self.check(plan.config)
        self.fresh = plan.model.head_state()
        if self.control in DONATED:
            self.message(f"{self.control}: its stage 1")
            other_head = head_of_another_run(plan, self._differs(plan.config))
            self.other_head, self.notes = other_head.head, other_head.notes
            if self.other_head is None:
                self.given_up = f"the stage 1 of the {self.control} did not learn"

    def stage_started(self, stage: StageResult, number: int, of: int) -> None:
        """Put the control's head into the model before the last stage."""
        super().stage_started(stage, number, of)
        self.last = number == of
        if not self.last:
            return
        split = self.plan.model
        pretrained = split.head_state()
        if of > 1 and self.handed_on == "nothing":
            self.given_up = "stage 1 did not learn"
        if not self.given_up:
            split.load_head(self._head(pretrained))
        self.start = split.head_state()
        self.facts = {
            "fresh": fingerprint(self.fresh),
            "pretrained": fingerprint(pretrained),
            "start": fingerprint(self.start),
            "backbone": split.fingerprint(),
            "cosine_to_pretrained": cosine(*self._last(self.start, pretrained)),
        }

    def _head(self, pretrained: Head) -> Head:
        if self.other_head is not None:
            return self.other_head
        return CONTROLS[self.control](pretrained, self.fresh, self.plan.config.seed)

    def _last(self, *heads: Head) -> list[Head]:
        name = last_weight(self.start)
        return [{name: head[name]} for head in heads]

    def point(self, point: Point) -> None:
        """Measure the head at an evaluation of the last stage."""
        super().point(point)
        if not self.last:
            return
        head = self.plan.model.head_state()
        now, then = self._last(head, self.start)
        self.points.append({
            "step": point.step, "norm": norm(now), "cosine": cosine(now, then),
            "whole_norm": norm(head), "whole_cosine": cosine(head, self.start),
        })  # fmt: skip

    def stage_ended(self, stage: StageResult) -> None:
        """Note what a stage has handed on."""
        super().stage_ended(stage)
        self.handed_on = stage.handed_on

    def end(self) -> dict[str, Any]:
        """Return what was measured.

        Returns:
            ``control``; fingerprints of the ``fresh`` head, of the ``pretrained`` one, of the one
            at the ``start`` of the last stage and of the ``backbone`` then;
            ``cosine_to_pretrained`` of the last weight at the start; ``points`` with the norm of
            the last weight and its cosine to the start, and the same for the whole head; the
            ``last_weight``'s name and its final ``values``, ``None`` if there are too many;
            ``given_up``, why the control could not be carried out, else empty; and ``notes``, what
            the guard has said of the other stage 1.
        """
        name = last_weight(self.start)
        final = self.plan.model.head_state()[name].flatten()
        kept = [round(v, 7) for v in final.tolist()] if len(final) <= MOST_NUMBERS else None
        return {
            "control": self.control, **self.facts, "points": self.points, "last_weight": name,
            "values": kept, "given_up": self.given_up, "notes": list(self.notes),
        }  # fmt: skip


OBSERVER = HeadStart
