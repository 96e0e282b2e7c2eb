"""Tuner objects from stages of a strategy line, with errors that point into the line."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Any, TypeVar, cast

from headstart.errors import NotationError, did_you_mean
from headstart.strategies.notation import parse
from headstart.strategies.stages import SETTINGS, Addition, Scalar, Stage, Strategy
from headstart.techniques import TECHNIQUES
from headstart.techniques._base import Technique
from headstart.tuners import TUNERS
from headstart.tuners._base import Tuner

T = TypeVar("T", Tuner, Technique)


def read_strategy(line: str) -> Strategy:
    """Read a strategy line and check every tuner's knobs.

    Raises ``NotationError`` if the line cannot be read, a knob is unknown or unfit, or the last
    stage leaves nothing that a plain checkpoint can hold.
    """
    strategy = parse(line, TUNERS, TECHNIQUES)
    for index, stage in enumerate(strategy.stages):
        bind(stage, line)
        further = stage.reserve and index + 1 < len(strategy.stages)
        _require_a_head(stage, line, bind_techniques(stage, line), further=further)
        if stage.patience is not None and stage.until != "plateau":
            raise _fault(
                stage, line, "patience", "patience on a stage with until=plateau",
                f"until={stage.until}" if stage.until else "no until",
                "Add until=plateau, or drop it: nothing else waits.",
            )  # fmt: skip
        if stage.until == "optimum":
            _require_solvable(stage, line)
        if stage.lr is not None and trains_head_alone(stage):
            other = f"Write {stage.trains}(head_lr={stage.lr:g})."
            raise _fault(
                stage, line, "lr", "head_lr on a stage in which the head alone trains", "lr",
                "Drop it: it rules nothing." if stage.head_lr else other,
            )  # fmt: skip
    for stage, needed in zip(strategy.stages, _merges(strategy), strict=True):
        reason = bind(stage, line).no_merge
        if needed and reason:
            raise NotationError(
                line,
                *stage.place,
                "'>' and a further stage behind this one",
                "'>>' or the end of the line",
                reason,
            )
    return strategy


def trains_head_alone(stage: Stage) -> bool:
    """Return whether nothing beside the head trains, so that there is no other rate."""
    return TUNERS.get(stage.trains).frozen_features


def _require_a_head(
    stage: Stage, line: str, techniques: Iterable[Technique], *, further: bool
) -> None:
    """Refuse a stage without a trained head where no further stage goes on with its backbone.

    A rate for that head is refused too.
    """
    for addition, technique in zip(stage.techniques, techniques, strict=True):
        if not technique.trains_head and not further:
            raise NotationError(
                line or str(stage), *addition.place,
                "'>>' and a further stage behind a stage that trains no head", str(addition),
                f"Write {stage.trains}+{addition} >> head(until=optimum).",
            )  # fmt: skip
        if not technique.trains_head and stage.head_lr is not None:
            raise _fault(
                stage, line, "head_lr", "head_lr on a stage that trains the head", str(stage),
                f"Drop it: the head does not train beside {addition}.",
            )  # fmt: skip


def _require_solvable(stage: Stage, line: str) -> None:
    """Refuse to solve what is no head on frozen features, and what only training has a use for."""
    expected = "until=optimum on a stage that trains the head alone, without techniques"
    if not TUNERS.get(stage.trains).frozen_features:
        fix = "Write head(until=optimum), or give this stage epochs."
        raise _fault(stage, line, "until", expected, str(stage), fix)
    if stage.techniques:
        start, end = stage.techniques[0].place
        fix = "Drop it: nothing is trained step by step."
        raise NotationError(line or str(stage), start, end, expected, str(stage), fix)


def bind(stage: Stage, line: str = "") -> Tuner:
    """Build a stage's tuner. Raises ``NotationError`` if a knob is unknown or does not fit."""
    factory = TUNERS.get(stage.trains).chosen(stage.knobs)
    return _build(factory, stage.trains, stage, line, SETTINGS)


def bind_techniques(stage: Stage, line: str = "") -> list[Technique]:
    """Build a stage's techniques with their knobs, in the order of the line.

    Raises ``NotationError`` if a knob is unknown or does not fit, or the techniques and the tuner
    do not go together.
    """
    made: list[Technique] = []
    for addition in stage.techniques:
        factory = TECHNIQUES.get(addition.name)
        technique = _build(factory, addition.name, addition, line)
        before = [other.name for other in stage.techniques[: len(made)]]
        reason = technique.refuses(stage.trains, before)
        if not reason and TUNERS.get(stage.trains).part_at_zero:
            reason = technique.beside_zero(stage.trains)
        if addition.name in before:
            reason = "It is there already."
        if reason:
            expected = f"a technique that goes with {'+'.join([stage.trains, *before])}"
            raise NotationError(
                line or str(stage), *addition.place, expected, addition.name, reason
            )
        made.append(technique)
    return made


def _build(
    factory: type[T], own: str, stage: Stage | Addition, line: str, others: Iterable[str] = ()
) -> T:
    kinds = _kinds(cast(Any, factory))
    knobs: list[str] = [f.name for f in dataclasses.fields(cast(Any, factory)) if f.init]
    given: dict[str, Scalar] = {}
    for index, value in enumerate(stage.arguments):
        if index >= len(knobs):
            raise _fault(stage, line, str(index), f"at most {len(knobs)} positional values", "more")
        given[knobs[index]] = value
    for name, value in stage.knobs.items():
        if name not in knobs:
            hint = did_you_mean(name, [*knobs, *others])
            accepted = "; ".join(f"{k}: {words}" for k, words in accepted_knobs(factory).items())
            fix = "" if hint.startswith("Known") else f"{hint} "
            fix += f"{own} takes {accepted or 'no knobs of its own'}."
            if others:
                fix += f" Any stage also takes {', '.join(others)}."
            raise _fault(stage, line, name, f"a setting of {own}", repr(name), fix)
        if name in given:
            raise _fault(stage, line, name, "each setting once", f"{name} twice", "Remove one.")
        given[name] = value
    places = {knobs[i]: str(i) for i in range(len(stage.arguments))}
    for name, value in given.items():
        place = places.get(name, name)
        shown = _accepted(factory, name, kinds[name])
        given[name] = _fit(stage, line, place, f"{own}({name}=…) as {shown}", value, kinds[name])
        _, holds = factory.ranges.get(name, ("", lambda _: True))
        if not holds(given[name]):
            raise _fault(stage, line, place, f"{own}({name}=…) as {shown}", repr(value))
    return factory(**given)


def accepted_knobs(factory: type[Tuner | Technique]) -> dict[str, str]:
    """Describe type and range of each knob, in the order of a line's positions."""
    kinds = _kinds(cast(Any, factory))
    names = [f.name for f in dataclasses.fields(cast(Any, factory)) if f.init]
    return {name: _accepted(factory, name, kinds[name]) for name in names}


@functools.cache
def _kinds(factory: Any) -> Mapping[str, Any]:
    """Return the types of a class's fields; to evaluate them takes longer than all else here."""
    return typing.get_type_hints(factory)


_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}


def _accepted(factory: type[Tuner | Technique], name: str, kind: object) -> str:
    """Describe the values that a knob accepts."""
    kinds = [each for each in typing.get_args(kind) or (kind,) if each is not NoneType]
    words = " or ".join(_WORDS.get(cast(Any, each), str(each)) for each in kinds)
    wanted, _ = factory.ranges.get(name, ("", None))
    return f"{words}, {wanted}" if wanted else words


def _fit(
    stage: Stage | Addition, line: str, place: str, expected: str, value: Scalar, kind: object
) -> Scalar:
    kinds = typing.get_args(kind) or (kind,)
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    choices = kinds if not isinstance(kinds[0], type) else None
    if (choices and value in choices) or (not choices and type(value) in kinds):
        return value
    raise _fault(stage, line, place, expected, repr(value))


def _fault(
    stage: Stage | Addition,
    line: str,
    place: str,
    expected: str,
    found: str,
    fix: str = "Change the value.",
) -> NotationError:
    start, end = stage.places.get(place, stage.place)
    return NotationError(line or str(stage), start, end, expected, found, fix)


def _merges(strategy: Strategy) -> list[bool]:
    """Return for each stage whether its change has to be written into the backbone."""
    *early, _ = strategy.stages
    return [*(stage.reserve for stage in early), True]
