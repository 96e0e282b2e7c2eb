"""The commands and how they hang together."""

from __future__ import annotations

from typing import Annotated

import typer

from headstart.cli import demo, fit, head, listings, predict
from headstart.cli._console import examples, output

HELP_NAMES = {"help_option_names": ["-h", "--help"]}


def _show_version(wanted: bool) -> None:
    if wanted:
        from headstart import __version__

        output().print(f"headstart {__version__}")
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
app.command(context_settings=HELP_NAMES, epilog=examples(*fit.EXAMPLES))(fit.fit)
app.command(context_settings=HELP_NAMES, epilog=examples(*predict.EVALUATE_EXAMPLES))(
    predict.evaluate
)
app.command(context_settings=HELP_NAMES, epilog=examples(*predict.PREDICT_EXAMPLES))(
    predict.predict
)
app.command(context_settings=HELP_NAMES)(listings.tasks)
app.command(context_settings=HELP_NAMES)(listings.strategies)
app.add_typer(head.app, name="head")
app.command(context_settings=HELP_NAMES, epilog=examples(*demo.EXAMPLES))(demo.demo)
