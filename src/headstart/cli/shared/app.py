"""The commands and how they hang together; a command's module is imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from headstart.cli.shared.console import HELP_NAMES, examples, show

COMMANDS = {
    "fit": (
        "fit",
        "Fine-tune a pretrained encoder on labelled rows, by default from a pretrained head.",
    ),
    "evaluate": (
        "predict",
        "Measure a finished model on labelled rows, by the metrics of its task.",
    ),
    "predict": ("predict", "Label rows, or lines of text."),
    "probe": (
        "probe",
        "Train linear probes on the frozen encoder, all seeds and learning rates at once.",
    ),
    "tasks": ("listings", "List the tasks, or show one, which also checks a task file."),
    "strategies": (
        "listings",
        "List the strategies' aliases, and the tuners and techniques that lines are made of.",
    ),
    "explain": (
        "explain",
        "Tell what a tuner or a technique is: idea, knobs, when it helps, and what was measured.",
    ),
    "report": ("report", "Write what a study says so far as one page of HTML."),
    "demo": (
        "demo",
        "Compare plain fine-tuning and the default, on the same rows for the same number of steps.",
    ),
    "head": ("head", "Extract and inspect heads: what a model has beside its pretrained backbone."),
    "study": (
        "study",
        "Compare strategies over many seeds: which one for my data, and how sure am I?",
    ),
    "analyze": (
        "analyze",
        "Ask what training does to a model; each answer is a small study and a page.",
    ),
}
"""Each command's module, and the first sentence of its help page, for the list of commands."""


class Commands(TyperGroup):
    """The commands; to list them, nothing is imported."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command for the list alone: ``resolve_command`` gives the real one."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name][1])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is to run."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, find_command(str(name)) if listed else None, rest


def find_command(name: str) -> Any:
    """Import a command, or the group of commands that a module is."""
    module = importlib.import_module(f"headstart.cli.{COMMANDS[name][0]}")
    group: Any = typer.main.get_group(module.app)
    # Where the module is a group as a whole, none of its commands has the group's own name.
    return group.commands.get(name, group)


def _show_version(wanted: bool) -> None:
    if wanted:
        from headstart import __version__

        show(f"headstart {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="headstart",
    cls=Commands,
    context_settings=HELP_NAMES,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog=examples(
        "headstart demo",
        "headstart fit --model roberta-base --train train.csv --text sentence --out runs/x",
        "headstart predict runs/x --data new.csv --out predictions.csv",
    ),
)


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (any command).")
    ] = False,
) -> None:
    """Fine-tune pretrained encoders from a pretrained head."""
    # Both are dealt with elsewhere; they stand here to be shown and checked.
    del version, debug
