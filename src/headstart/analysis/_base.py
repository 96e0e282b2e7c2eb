"""The parts of an analysis: its options, the variants it compares, and its findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headstart.report.figures import Figure
from headstart.report.read import Run
from headstart.study.outcome.read import canonical
from headstart.study.outcome.tables import short_name


@dataclass(frozen=True)
class Option:
    """An option of an analysis on the command line.

    Args:
        name: In words joined by ``_``.
        default: Its value where none is given; of the type that the option has.
        help: What it does, in a sentence.
        metavar: What stands for its value in the help.
    """

    name: str
    default: str | int | float | None
    help: str
    metavar: str = "TEXT"


@dataclass(frozen=True)
class Variant:
    """One side of a comparison.

    Args:
        strategy: A strategy line.
        name: What it is called in tables and figures.
        settings: Settings of its runs beside those of all runs.
        measure: What is measured in its runs: ``name`` of an observer and its options.
        axes: What tells it from other variants of the same strategy, by name.
        facts: What the analysis wants to know of it when it looks at the runs.
    """

    strategy: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    measure: Mapping[str, Any] | None = None
    axes: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def measured_in_all(options: Mapping[str, Any], measure: Mapping[str, Any]) -> list[Variant]:
    """Return every strategy that is asked for, once, with the same measure."""
    lines = dict.fromkeys(canonical(line) for line in options["strategies"])
    return [Variant(line, short_name(line), measure=measure) for line in lines]


@dataclass(frozen=True)
class Side:
    """A variant on one task and model, with its finished runs by seed."""

    variant: Variant
    runs: Mapping[int, Run]

    @property
    def metrics(self) -> list[str]:
        """Metrics that the score is the mean of; empty without a finished run."""
        return next((list(run.result.task["metrics"]) for run in self.runs.values()), [])


@dataclass(frozen=True)
class Case:
    """One task and model on which the variants are compared.

    Args:
        task: Name of the task.
        model: The model.
        train_rows: Size of the training sample; ``None`` for all rows.
        settings: Settings of the grid.
        sides: The variants in order, those without a finished run too.
    """

    task: str
    model: str
    train_rows: int | None
    settings: Mapping[str, Any]
    sides: Sequence[Side]

    @property
    def name(self) -> str:
        """Task, training rows and settings of the grid, for titles."""
        rows = "" if self.train_rows is None else f", {self.train_rows:,} training rows"
        return f"{self.task}{rows}{''.join(f', {k} {v}' for k, v in self.settings.items())}"

    @property
    def metrics(self) -> list[str]:
        """Metrics that the score is the mean of; empty without a finished run."""
        return next((side.metrics for side in self.sides if side.metrics), [])

    @property
    def finished(self) -> list[Side]:
        """The sides that have a finished run."""
        return [side for side in self.sides if side.runs]

    @property
    def against_first(self) -> list[tuple[Side, Side]]:
        """Each further side beside the first one, where both have a finished run."""
        first, *others = self.sides
        return [(side, first) for side in others if side.runs and first.runs]


@dataclass(frozen=True)
class Table:
    """A table of what was found.

    Titles of columns of numbers begin with ``>``; a table that is ``page_only`` is too long for a
    terminal.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    page_only: bool = False


@dataclass(frozen=True)
class Findings:
    """The findings of an analysis.

    The first sentence is the answer, others are what one must know to read it; ``values`` are the
    numbers as plain data, for ``<analysis>.json``.
    """

    sentences: Sequence[str]
    tables: Sequence[Table]
    figures: Sequence[Figure]
    values: Any


@dataclass(frozen=True)
class Analysis:
    """A question about what training does to a model.

    Args:
        title: What its page is called.
        question: What it answers, for ``--help``.
        variants: From its options by name to what is compared; raises ``ConfigError`` for options
            that make no sense. Where ``strategies`` is given, the lines that the user wants stand
            in the options as a list of that name.
        findings: From the finished runs to what they say; every case has at least one.
        strategies: Lines that are compared where the user names none; empty where the analysis
            makes its own.
        options: Its own options.
        seeds: How many seeds where the user does not say.
        settings: Settings of all runs, where the user does not set them.
        example: Words after ``headstart analyze NAME`` for the help.
    """

    title: str
    question: str
    variants: Callable[[Mapping[str, Any]], Sequence[Variant]]
    findings: Callable[[Sequence[Case]], Findings]
    strategies: str = ""
    options: tuple[Option, ...] = ()
    seeds: int = 3
    settings: Mapping[str, Any] = field(default_factory=dict)
    example: str = ""
