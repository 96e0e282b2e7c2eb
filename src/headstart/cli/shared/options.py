"""Options that several commands about studies have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from headstart.cli.shared.console import warn

if TYPE_CHECKING:
    from headstart.study.outcome.summary import Summary

Folder = Annotated[str, typer.Argument(metavar="DIR", help="The study's folder.")]
Baseline = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Compare with this strategy instead of the plan's."),
]
Strategies = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Only these, split at commas.")
]


def warn_of_damage(summary: Summary) -> None:
    """Print a warning for each result that was set aside."""
    for sentence in summary.damaged:
        warn(sentence)
