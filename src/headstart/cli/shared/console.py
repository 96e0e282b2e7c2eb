"""Consoles and tables for output; text from users and files is never read as markup."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Literal

from headstart.untrusted import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

HELP_NAMES = {"help_option_names": ["-h", "--help"]}
WIDTH_OF_A_FILE = 140
"""Columns where the output is not a terminal and so has no width."""
NARROWEST_NAME = 16
"""Columns of the terminal below which a name is not folded."""


def output() -> Console:
    """Return a console for standard output."""
    return _console(sys.stdout)


def errors() -> Console:
    """Return a console for standard error."""
    return _console(sys.stderr)


def warn(text: str) -> None:
    """Print a warning to standard error, in a line that is not wrapped."""
    errors().print(f"warning: {text}", style="yellow", soft_wrap=True)


class _Shown(logging.Handler):
    """Prints what the library warns of, once however many processes there are."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning."""
        if is_main_process():
            warn(record.getMessage())


@contextmanager
def warnings_shown() -> Iterator[None]:
    """Print the warnings of the library to standard error as those of the command line."""
    log, handler = logging.getLogger("headstart"), _Shown(logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def is_main_process() -> bool:
    """Whether this process displays: the first of those that a launcher started."""
    return int(os.environ.get("RANK", "0")) == 0


def show(*parts: object, to: Console | None = None) -> None:
    """Print tables and sentences, to standard output if ``to`` is ``None``.

    Sentences are not wrapped, so that paths can be copied.
    """
    console = to or output()
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str))


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> Table:
    """Make a table; a column whose title begins with ``>`` is aligned to the right."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD)
    for name in head:
        right = name.startswith(">")
        justify: Literal["left", "right"] = "right" if right else "left"
        # Numbers stay in one piece; where the terminal is narrow, words give way.
        made.add_column(name.removeprefix(">"), justify=justify, no_wrap=right, overflow="fold")
    for row in rows:
        # Spelled out before widths are measured.
        made.add_row(*(printable(str(cell)) for cell in row))
    return made


def tables_that_fit(
    head: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> Iterator[Table]:
    """Make a table; one that is too wide becomes several, each with the first column."""
    spaces = 3
    wide = [spaces + max(len(name.lstrip(">")), *(len(row[place]) for row in rows))
            for place, name in enumerate(head)]  # fmt: skip
    first = min(wide[0], spaces + max(NARROWEST_NAME, width // 3))
    left = list(range(1, len(head)))
    while left:
        room, count = width - first - 1, 0
        while count < len(left) and (wide[left[count]] <= room or not count):
            room -= wide[left[count]]
            count += 1
        shown, left = [0, *left[:count]], left[count:]
        yield table([head[i] for i in shown], ([row[i] for i in shown] for row in rows))


def facts(rows: Iterable[tuple[str, object]]) -> Table:
    """Make a table of names and values without a head."""
    made = table(("", ""), rows)
    made.show_header, made.columns[0].style = False, "cyan"
    return made


def examples(*commands: str) -> str:
    """Write worked examples, whole command lines, in rich's markup for the end of a help page."""
    lines = (f"[cyan]$ {escape_markup(command)}[/cyan]" for command in commands)
    return "\n\n".join(("[bold]Examples[/bold]", *lines))


def escape_markup(text: str) -> str:
    """Return text that help pages show as it is, its square brackets escaped."""
    return text.replace("[", r"\[")


def _console(stream: IO[str]) -> Console:
    width = None if stream.isatty() or "COLUMNS" in os.environ else WIDTH_OF_A_FILE
    # No markup: a label called "[red]" is a label.
    return _console_class()(file=stream, width=width, markup=False, highlight=False, emoji=False)


@functools.cache
def _console_class() -> type[Console]:
    """Make the class of consoles; rich is imported when something is printed."""
    from rich.console import Console
    from rich.segment import Segment

    class PlainConsole(Console):
        """A console on which no text from data or files can steer the terminal."""

        def render(self, renderable: Any, options: Any = None) -> Iterable[Any]:
            """Render; control codes are those of rich alone."""
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else printable(text), style, control)

    return PlainConsole


def write_out(text: str) -> None:
    """Write text to standard output as it is; on a terminal, in printable characters."""
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
