"""Stages and strategies as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

Scalar = int | float | bool | str
Until = Literal["end", "learned", "plateau", "optimum"]
UNTIL: tuple[str, ...] = get_args(Until)


@dataclass(frozen=True)
class Addition:
    """A technique that acts inside a stage, as the user wrote it behind a ``+``.

    Args:
        name: The technique's name.
        arguments: Knobs given by position, as in ``mixout(0.9)``.
        knobs: Knobs given by name.
        place: First character in the line and one past its last.
        places: The same for each knob, by its name; positional ones by their index.
    """

    name: str
    arguments: tuple[Scalar, ...] = ()
    knobs: Mapping[str, Scalar] = field(default_factory=dict)
    place: tuple[int, int] = field(default=(0, 0), compare=False)
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return _call(self.name, self.arguments, self.knobs)


@dataclass(frozen=True)
class Stage:
    """One stage of a strategy, as the user wrote it; what is ``None`` is decided by the plan.

    Args:
        trains: Name of the tuner, ``head`` and ``full`` among them.
        arguments: The tuner's knobs given by position, as in ``top(3)``.
        knobs: The tuner's knobs given by name, as in ``lora(r=16)``.
        epochs: Length in passes over the training rows.
        steps: Length in optimizer steps; beside epochs the shorter length holds.
        share: Length as a share of the whole strategy's steps, between 0 and 1.
        until: ``end`` runs the whole length; ``learned`` ends when the score on the training rows
            is well above chance; ``plateau`` ends when the validation score stops
            rising. For both the length is an upper bound. ``optimum``, of the head alone, fits it
            to its optimum on stored features; the length holds where these cannot be kept.
        patience: Evaluations without a gain after which ``plateau`` ends the stage.
        lr: Learning rate of the tuner's parameters.
        head_lr: Learning rate of the head.
        warmup: Share of the stage's steps over which the learning rate rises.
        techniques: What acts inside the stage, as in ``full+mixout(p=0.9)``.
        reserve: Whether the stage hands on everything (``>>``) or the head alone (``>``).
        place: First character of the stage in the line and one past its last.
        places: The same for each setting, by its name; positional ones by their index.
    """

    trains: str
    arguments: tuple[Scalar, ...] = ()
    knobs: Mapping[str, Scalar] = field(default_factory=dict)
    epochs: float | None = None
    steps: int | None = None
    share: float | None = None
    until: Until | None = None
    patience: int | None = None
    lr: float | None = None
    head_lr: float | None = None
    warmup: float | None = None
    techniques: tuple[Addition, ...] = ()
    reserve: bool = False
    place: tuple[int, int] = field(default=(0, 0), compare=False)
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict, compare=False)

    @property
    def has_length(self) -> bool:
        """Whether the line says how long the stage takes."""
        return (self.epochs, self.steps, self.share) != (None, None, None)

    def __str__(self) -> str:
        given = {n: getattr(self, n) for n in SETTINGS if getattr(self, n) is not None}
        own = _call(self.trains, self.arguments, self.knobs, given)
        return "+".join([own, *map(str, self.techniques)])


SETTINGS: tuple[str, ...] = (
    "epochs", "steps", "share", "until", "patience", "lr", "head_lr", "warmup",
)  # fmt: skip
"""Settings that any stage may carry, whatever its tuner."""


@dataclass(frozen=True)
class Strategy:
    """A list of stages.

    Args:
        stages: At least one; the last one's ``reserve`` has no meaning.
        line: The line it was read from, for messages that point into it.
    """

    stages: tuple[Stage, ...]
    line: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """The strategy in its canonical form: its name in every table."""
        text = str(self.stages[0])
        for before, stage in zip(self.stages, self.stages[1:], strict=False):
            text += f" {'>>' if before.reserve else '>'} {stage}"
        return text

    @property
    def hands_on_a_head(self) -> bool:
        """Whether some stage trains the head for a later one."""
        return len(self.stages) > 1

    @property
    def main(self) -> int:
        """Index of the stage whose epochs and rates the user's settings are: of fine-tuning.

        It is the last stage that takes steps; a head that is fitted to its optimum takes none.
        """
        taking = [i for i, stage in enumerate(self.stages) if stage.until != "optimum"]
        return taking[-1] if taking else len(self.stages) - 1

    @property
    def length_name(self) -> str | None:
        """``epochs``, ``steps`` or both, with which the main stage's line gives its length.

        ``None`` where it is open, or some stage has a share of the total instead.
        """
        if any(stage.share is not None for stage in self.stages):
            return None
        main = self.stages[self.main]
        return " and ".join(n for n in ("epochs", "steps") if getattr(main, n) is not None) or None

    def with_stage(self, index: int, **changes: object) -> Strategy:
        """Return the strategy with some settings of one stage changed."""
        stages = list(self.stages)
        stages[index] = replace(stages[index], **changes)  # type: ignore[arg-type]
        return Strategy(tuple(stages), self.line)


def _call(
    name: str,
    arguments: Iterable[Scalar],
    knobs: Mapping[str, Scalar],
    settings: Mapping[str, Scalar] | None = None,
) -> str:
    shown = [written(a) for a in arguments]
    shown += [f"{k}={written(v)}" for k, v in sorted(knobs.items())]
    shown += [f"{k}={written(v)}" for k, v in (settings or {}).items()]
    return f"{name}({', '.join(shown)})" if shown else name


def written(value: object) -> str:
    """Write a value as a strategy line has it: no quotes, truth values in lower case."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and float(f"{value:g}") == value:
        # Only where it is exact: a name reads back as the same strategy. -0.0 is 0.
        return f"{value or 0:g}"
    return str(value)
