"""The commands and how they hang together."""

from __future__ import annotations

from typing import Annotated

import typer

from headstart.cli._console import HELP_NAMES, examples, show
from headstart.cli._usage import Command
from headstart.cli.analyze import analyze_app
from headstart.cli.demo import DEMO_EXAMPLES, demo
from headstart.cli.explain import EXPLAIN_EXAMPLES, explain
from headstart.cli.fit import FIT_EXAMPLES, fit
from headstart.cli.head import head_app
from headstart.cli.listings import describe_task_files, strategies, tasks
from headstart.cli.predict import EVALUATE_EXAMPLES, PREDICT_EXAMPLES, evaluate, predict
from headstart.cli.probe import PROBE_EXAMPLES, probe
from headstart.cli.report import REPORT_EXAMPLES, report
from headstart.cli.soup import SOUP_EXAMPLES, soup
from headstart.cli.study import study_app


def _show_version(wanted: bool) -> None:
    if wanted:
        from headstart import __version__

        show(f"headstart {__version__}")
        raise typer.Exit


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


app = typer.Typer(
    name="headstart",
    context_settings=HELP_NAMES,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog=examples(
        "headstart demo",
        "headstart fit --model roberta-base --train train.csv --text sentence --out runs/x",
        "headstart predict runs/x --data new.csv --out predictions.csv",
    ),
)
app.callback()(root)
app.command(context_settings=HELP_NAMES, epilog=examples(*FIT_EXAMPLES))(fit)
app.command(context_settings=HELP_NAMES, epilog=examples(*EVALUATE_EXAMPLES))(evaluate)
app.command(context_settings=HELP_NAMES, epilog=examples(*PREDICT_EXAMPLES))(predict)
app.command(context_settings=HELP_NAMES, epilog=examples(*PROBE_EXAMPLES))(probe)
app.command(context_settings=HELP_NAMES, epilog=describe_task_files())(tasks)
app.command(context_settings=HELP_NAMES)(strategies)
app.command(context_settings=HELP_NAMES, epilog=examples(*EXPLAIN_EXAMPLES))(explain)
app.add_typer(head_app, name="head")
study_app.command(context_settings=HELP_NAMES, epilog=examples(*SOUP_EXAMPLES))(soup)
app.add_typer(study_app, name="study")
app.add_typer(analyze_app, name="analyze")
app.command(context_settings=HELP_NAMES, epilog=examples(*REPORT_EXAMPLES))(report)
app.command(context_settings=HELP_NAMES, epilog=examples(*DEMO_EXAMPLES))(demo)
for command in (
    *app.registered_commands,
    *head_app.registered_commands,
    *study_app.registered_commands,
):
    command.cls = Command
