"""Where text goes: consoles that take the user's words as they are."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDTH_OF_A_FILE = 140
"""Columns where the output is not a terminal and so has no width."""


def output() -> Console:
    """Return a console for standard output."""
    return _console(sys.stdout)


def errors() -> Console:
    """Return a console for standard error."""
    return _console(sys.stderr)


def is_main_process() -> bool:
    """Whether this process displays: the first of those that a launcher started."""
    return int(os.environ.get("RANK", "0")) == 0


def table(title: str | None, head: Iterable[str], rows: Iterable[Iterable[object]]) -> Table:
    """Make a table; numbers stand to the right.

    Args:
        title: Its title.
        head: Titles of the columns; one that begins with ``>`` is aligned to the right.
        rows: Cells, row by row.

    Returns:
        The table.
    """
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for name in head:
        right = name.startswith(">")
        made.add_column(name.removeprefix(">"), justify="right" if right else "left")
    for row in rows:
        made.add_row(*(str(cell) for cell in row))
    return made


def facts(title: str | None, rows: Iterable[tuple[str, object]]) -> Table:
    """Make a table of names and values without a head.

    Args:
        title: Its title.
        rows: Names and values.

    Returns:
        The table.
    """
    made = table(title, ("", ""), rows)
    made.show_header, made.columns[0].style = False, "cyan"
    return made


def examples(*commands: str) -> str:
    """Write worked examples for the end of a help page.

    Args:
        *commands: Whole command lines.

    Returns:
        Text in rich's markup.
    """
    lines = (f"[cyan]$ {command.replace('[', r'\[')}[/cyan]" for command in commands)
    return "\n\n".join(("[bold]Examples[/bold]", *lines))


def _console(stream: IO[str]) -> Console:
    from rich.console import Console

    width = None if stream.isatty() or "COLUMNS" in os.environ else WIDTH_OF_A_FILE
    # No markup: a label called "[red]" is a label.
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)
