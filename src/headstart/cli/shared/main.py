"""The one place where errors become messages and exit codes."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import traceback
from collections.abc import Sequence

import typer

from headstart.cli.shared.app import app
from headstart.cli.shared.console import errors, is_main_process, warnings_shown
from headstart.cli.shared.usage import UsageError, explain_usage
from headstart.errors import Faults, HeadstartError, NotationError, RunError
from headstart.untrusted import LONGEST_MESSAGE, shortened

BAD_INPUT, INTERRUPTED, UNEXPECTED = 2, 130, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    It is 0, 2 for bad input, 130 for an interrupt, 1 for a fault of headstart. ``arguments`` are
    the words after ``headstart``; those of the process if ``None``.
    """
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    debug = "--debug" in words or os.environ.get("HEADSTART_DEBUG", "") not in {"", "0"}
    words = [word for word in words if word != "--debug"]
    _write_what_can_be_written()
    command = typer.main.get_command(app)
    try:
        with warnings_shown():
            code = command.main(words, prog_name="headstart", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        return _pipe_closed()
    except (KeyboardInterrupt, typer.Abort):
        errors().print("interrupted")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  nobody else is left to handle it
        if debug:
            traceback.print_exc()
        return _report(error, words)
    return code if isinstance(code, int) else 0


def _write_what_can_be_written() -> None:
    """Replace characters that a terminal cannot show by question marks instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _report(error: Exception, words: Sequence[str]) -> int:
    if isinstance(error, UsageError):
        error = explain_usage(error, words)
    elif isinstance(error, OSError):
        error = _explain_system(error)
    if isinstance(error, HeadstartError):
        # Bad input is the same in every process, so one of them tells.
        if is_main_process():
            _show(error)
        return BAD_INPUT
    reason = next(iter(str(error).splitlines()), "")
    _line("error:", f"{type(error).__name__}: {reason}")
    _line("what to do:", "This is a fault of headstart. Repeat with --debug and report it.")
    return UNEXPECTED


def _show(error: HeadstartError) -> None:
    if isinstance(error, Faults):
        for fault in error.faults:
            _show(fault)
        return
    _line("error:", f"expected {error.expected}; found {error.found}")
    if isinstance(error, NotationError):
        errors().print(f"    {error.line}", soft_wrap=True)
        mark = " " * error.start + "^" * (error.end - error.start)
        errors().print(f"    {mark}", style="bold red", soft_wrap=True)
    _line("what to do:", error.fix)


def _line(lead: str, text: str) -> None:
    from rich.text import Text

    style = "bold red" if lead == "error:" else "bold"
    text = shortened(text, LONGEST_MESSAGE)
    # soft_wrap leaves long paths whole, so that they can be copied.
    errors().print(Text.assemble((lead, style), " ", text), soft_wrap=True)


def _explain_system(error: OSError) -> HeadstartError:
    where = f"{error.filename}: " if error.filename else ""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno == errno.ENOSPC:
        return RunError("enough free space", f"{where}{reason}", "Free some space and repeat.")
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return RunError("a folder", f"{where}a file of that name", "Choose another name.")
    return RunError("files that can be read and written", f"{where}{reason}", "Check the path.")


def _pipe_closed() -> int:
    """Discard the rest of the output after its reader has gone."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
