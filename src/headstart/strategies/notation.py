"""The one-line notation of strategies: ``bitfit(epochs=3, lr=5e-4) > full``.

Grammar::

    strategy := stage (('>' | '>>') stage)*
    stage    := call ('+' call)*
    call     := NAME ['(' [setting (',' setting)*] ')']
    setting  := VALUE | NAME '=' VALUE
    VALUE    := number | true | false | NAME

The first call of a stage is its tuner, the others are techniques. An alias stands wherever a tuner
may stand; techniques behind it belong to its last stage. ``>`` hands on the head alone, ``>>``
everything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from headstart.errors import NotationError, did_you_mean
from headstart.strategies.builtin import ALIASES, OVER_SEEDS
from headstart.strategies.stages import SETTINGS, UNTIL, Addition, Scalar, Stage, Strategy

_TOKEN = re.compile(
    r"(?P<number>[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?(?![\w.]))"
    r"|(?P<name>[A-Za-z_][\w-]*)"
    r"|(?P<sign>>>|[>(),=+])"
)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def parse(line: str, known: Iterable[str], techniques: Iterable[str] = ()) -> Strategy:
    """Read a strategy line such as ``bitfit(epochs=2) > full``, or an alias such as ``eh-ft``.

    Aliases are written out. ``known`` are names of the registered tuners, ``techniques`` those of
    the techniques. Raises ``NotationError`` if the line cannot be read; the message points at the
    place.
    """
    return _Parser(line, tuple(known), tuple(techniques)).strategy()


_Arguments = tuple[
    tuple[Scalar, ...], dict[str, Scalar], dict[str, tuple[int, int]], int
]  # values by position, by name, their places, where they end


class _Parser:
    def __init__(self, line: str, known: tuple[str, ...], techniques: tuple[str, ...]) -> None:
        self.line, self.known, self.techniques = line, known, techniques
        self.tokens = self._tokens()
        self.at = 0

    def _error(self, token: _Token, expected: str, fix: str, found: str = "") -> NotationError:
        shown = found or (repr(token.text) if token.text else "the end of the line")
        return NotationError(self.line, token.start, token.end, expected, shown, fix)

    def _tokens(self) -> list[_Token]:
        tokens, at = [], 0
        while at < len(self.line):
            if self.line[at].isspace():
                at += 1
                continue
            match = _TOKEN.match(self.line, at)
            if match is None:
                raise self._error(
                    _Token("", self.line[at], at),
                    "a name, a number or one of > >> + ( ) , =",
                    "Write a strategy like 'bitfit(epochs=3) > full'.",
                )
            tokens.append(_Token(str(match.lastgroup), match.group(), at))
            at = match.end()
        return [*tokens, _Token("end", "", len(self.line))]

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def _take(self) -> _Token:
        self.at += 1
        return self.tokens[self.at - 1]

    def strategy(self) -> Strategy:
        stages = self._stage()
        while self.token.text in {">", ">>"}:
            arrow = self._take()
            stages[-1] = replace(stages[-1], reserve=arrow.text == ">>")
            stages += self._stage()
        if self.token.kind != "end":
            raise self._error(
                self.token,
                "'+', '>', '>>' or the end of the line",
                "Join stages with '>' or '>>', and techniques to a stage with '+'.",
            )
        return Strategy(tuple(stages), self.line)

    def _stage(self) -> list[Stage]:
        name = self._take()
        if name.kind != "name":
            raise self._error(
                name, "the name of a stage", f"{did_you_mean('', [*self.known, *ALIASES])}"
            )
        if name.text in ALIASES and name.text not in self.known:
            stages = self._alias(name)
        elif name.text in self.known:
            stages = [self._settings(name)]
        else:
            raise self._error(name, "the name of a tuner or an alias", self._hint(name))
        added = []
        while self.token.text == "+":
            self._take()
            added.append(self._technique())
        stages[-1] = replace(stages[-1], techniques=(*stages[-1].techniques, *added))
        return stages

    def _hint(self, name: _Token) -> str:
        if name.text in self.techniques:
            return f"It is a technique; add it to a stage: full+{name.text}."
        if name.text in OVER_SEEDS:
            return _over_seeds(name.text)
        return did_you_mean(name.text, [*self.known, *ALIASES])

    def _technique(self) -> Addition:
        name = self._take()
        if name.kind != "name" or name.text not in self.techniques:
            fix = did_you_mean(name.text, self.techniques)
            if name.text in self.known:
                fix = f"It is a tuner, which is a stage of its own: '> {name.text}'."
            if name.text in OVER_SEEDS:
                fix = _over_seeds(name.text)
            raise self._error(name, "the name of a technique", fix)
        arguments, knobs, places, end = self._arguments(name)
        return Addition(name.text, arguments, knobs, (name.start, end), places)

    def _alias(self, name: _Token) -> list[Stage]:
        line = ALIASES[name.text].line
        if self.token.text == "(":
            raise self._error(
                self.token,
                f"no settings behind the alias {name.text!r}",
                f"Write it out and set them on a stage: {line!r}.",
            )
        place, whole = (name.start, name.end), parse(line, self.known, self.techniques)
        return [
            replace(
                stage, place=place, places={},
                techniques=tuple(replace(a, place=place, places={}) for a in stage.techniques),
            )
            for stage in whole.stages
        ]  # fmt: skip

    def _arguments(self, name: _Token) -> _Arguments:
        """Read what stands in brackets behind a name, if anything."""
        arguments: list[Scalar] = []
        named: dict[str, Scalar] = {}
        places: dict[str, tuple[int, int]] = {}
        if self.token.text != "(":
            return (), named, places, name.end
        self._take()
        while self.token.text != ")":
            first = self._take()
            if first.kind == "name" and self.token.text == "=":
                self._take()
                value = self._take()
                if first.text in named:
                    raise self._error(first, "each setting once", "Remove one of the two.")
                named[first.text] = self._value(value)
                places[first.text] = (first.start, value.end)
            else:
                if named:
                    raise self._error(first, "name=value", "Put positional values first.")
                places[str(len(arguments))] = (first.start, first.end)
                arguments.append(self._value(first))
            if self.token.text == ",":
                self._take()
            elif self.token.text != ")":
                raise self._error(self.token, "',' or ')'", "Close the settings with ')'.")
        return tuple(arguments), named, places, self._take().end

    def _settings(self, name: _Token) -> Stage:
        arguments, named, places, end = self._arguments(name)
        own = {k: v for k, v in named.items() if k not in SETTINGS}
        common = {k: self._checked(k, named[k], places[k]) for k in SETTINGS if k in named}
        stage = Stage(name.text, arguments, own, **common, place=(name.start, end), places=places)
        lengths = [k for k in ("epochs", "steps", "share") if k in common]
        if "share" in lengths and len(lengths) > 1:
            raise self._error(
                _Token("", self.line[name.start : end], name.start),
                "a share alone, or epochs, steps or both",
                "Keep the length that you mean; of epochs and steps the shorter length holds.",
                " and ".join(lengths),
            )
        return stage

    def _value(self, token: _Token) -> Scalar:
        if token.kind == "number":
            number = float(token.text) if re.search(r"[.eE]", token.text) else int(token.text)
            if not math.isfinite(number):
                raise self._error(token, "a finite number", "Change the value.")
            return number
        if token.kind == "name":
            return {"true": True, "false": False}.get(token.text.lower(), token.text)
        raise self._error(token, "a number, true, false or a word", "Write name=value.")

    def _checked(self, name: str, value: Scalar, place: tuple[int, int]) -> Any:
        kind, check, expected = _RULES[name]
        fits = isinstance(value, kind) and not isinstance(value, bool)
        if fits and (check(value) if callable(check) else value in check):
            return value
        start, end = place
        token = _Token("", self.line[start:end], start)
        raise self._error(token, f"{name} as {expected}", "Change the value.")


def _positive(value: Any) -> bool:
    return bool(value > 0)


_NUMBER: tuple[type, ...] = (int, float)
_RULES: dict[str, tuple[tuple[type, ...], Any, str]] = {
    "epochs": (_NUMBER, _positive, "a number above 0"),
    "steps": ((int,), _positive, "a whole number above 0"),
    "share": (_NUMBER, lambda v: 0 < v < 1, "a number between 0 and 1"),
    "until": ((str,), UNTIL, f"one of {', '.join(UNTIL)}"),
    "patience": ((int,), _positive, "a whole number above 0"),
    "lr": (_NUMBER, _positive, "a number above 0"),
    "head_lr": (_NUMBER, _positive, "a number above 0"),
    "warmup": (_NUMBER, lambda v: 0 <= v < 1, "a number from 0 to below 1"),
}


def _over_seeds(name: str) -> str:
    return f"It acts over the seeds of a study, not inside a stage: {OVER_SEEDS[name]}."
