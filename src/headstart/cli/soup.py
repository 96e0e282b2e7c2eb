"""``headstart study soup``: one model from the seeds of a strategy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headstart.cli.shared.console import errors, show, table
from headstart.cli.shared.options import Folder
from headstart.files.home import path_of

SOUP_EXAMPLES = (
    "headstart study soup studies/rte --strategy ft --out runs/soup",
    "headstart evaluate runs/soup --data test.csv",
)


def soup(
    folder: Folder,
    out: Annotated[
        Path,
        typer.Option(
            parser=path_of,
            metavar="DIR",
            help="Folder for the resulting run.",
        ),
    ],
    strategy: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Whose seeds. Default: the study's only strategy."),
    ] = None,
    trust_remote_code: Annotated[
        bool | None,
        typer.Option(
            "--trust-remote-code/--no-trust-remote-code",
            help="Run code that comes with the model, whatever the study's folder says of it.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Average the models of a strategy's seeds, keeping each only while the score does not fall.

    The result is one model of the usual size, a run like those of `headstart fit`. A study keeps no
    weights, so each seed is trained again. The validation rows choose, so measure the result on
    rows that nothing has seen, by `headstart evaluate`.
    """
    from headstart.cli.shared.display import display
    from headstart.errors import ConfigError
    from headstart.study.outcome.read import read_records
    from headstart.study.soup import make_soup

    names = read_records(folder).strategies
    if strategy is None and len(names) > 1:
        raise ConfigError("--strategy, one of the study's", ", ".join(names), "Name one of them.")
    with display(errors()) as callback:
        result, told = make_soup(
            folder, strategy or names[0], out, callback, trust_remote_code=trust_remote_code
        )
    rows = [
        (str(one.seed), f"{one.score:.4f}", f"{one.with_it:.4f}", "yes" if one.kept else "no")
        for one in told
    ]
    show(table(("seed", "score alone", "score of the mean with it", "kept"), rows))
    show(f"{result.selecting['score']:.4f} on the rows that chose. The model is in {out}.")
