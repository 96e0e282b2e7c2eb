"""Errors that a user can act on: what was expected, what was found, what to do."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator

from headstart.untrusted import quoted, shown


class HeadstartError(Exception):
    """Base of every error that headstart raises on purpose.

    Args:
        expected: What the program needed.
        found: What it got instead.
        fix: What the user can do about it.
    """

    def __init__(self, expected: str, found: str, fix: str) -> None:
        self.expected, self.found, self.fix = expected, found, fix
        super().__init__(expected, found, fix)

    def __str__(self) -> str:
        return f"expected {self.expected}; found {self.found}. {self.fix}"


class ConfigError(HeadstartError):
    """A setting is unknown, out of range, or contradicts another."""


class NotationError(ConfigError):
    """A strategy line cannot be read.

    Args:
        line: The whole line as the user wrote it.
        start: First character of the faulty part (0-based).
        end: One past its last character.
        expected: What may stand there.
        found: What stands there.
        fix: What the user can do about it.
    """

    def __init__(
        self, line: str, start: int, end: int, expected: str, found: str, fix: str
    ) -> None:
        super().__init__(expected, found, fix)
        self.line, self.start, self.end = line, start, max(end, start + 1)

    def __str__(self) -> str:
        mark = " " * self.start + "^" * (self.end - self.start)
        return f"{super().__str__()}\n  {self.line}\n  {mark}"


class DataError(HeadstartError):
    """The user's rows cannot be used as they are."""


class ModelError(HeadstartError):
    """A checkpoint, tokenizer or head cannot be loaded or does not fit."""


class RunError(HeadstartError):
    """A run cannot start, go on, or be saved."""


class NumericalError(RunError):
    """Training produced a loss that is not a number."""


class Faults(HeadstartError):  # noqa: N818  it holds errors, it is not one more kind
    """Several errors found in one pass, so that the user mends them all at once."""

    def __init__(self, faults: Iterable[HeadstartError]) -> None:
        self.faults = tuple(faults)
        super().__init__("valid input", f"{len(self.faults)} faults", "Mend each of these.")

    def __str__(self) -> str:
        return "\n".join(f"{i}. {fault}" for i, fault in enumerate(self.faults, 1))


def raise_all(faults: Iterable[HeadstartError]) -> None:
    """Raise what was gathered: nothing, the one error itself, or all of them together."""
    found = list(faults)
    if len(found) == 1:
        raise found[0]
    if found:
        raise Faults(found)


@contextlib.contextmanager
def gathering(faults: list[HeadstartError]) -> Iterator[None]:
    """Collect errors in ``faults`` instead of raising them; ``raise_all`` raises them together."""
    try:
        yield
    except HeadstartError as error:
        faults += getattr(error, "faults", (error,))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Write a sentence that suggests the nearest known names, or lists them all.

    ``Did you mean 'x'?`` when something is close, else ``Known: a, b, c.``
    """
    names = sorted(known)
    folded = {n.lower(): n for n in names}
    close = difflib.get_close_matches(name.lower(), folded, n=2, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(quoted(folded[c]) for c in close)}?"
    return f"Known: {', '.join(map(shown, names))}." if names else "None is registered."
