"""``headstart report``: a study as one page of HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headstart.cli.shared.console import show
from headstart.cli.shared.options import Baseline, Folder, Strategies, warn_of_damage
from headstart.cli.shared.usage import command
from headstart.files.home import path_of

app = typer.Typer()


@command(
    app,
    "headstart report studies/rte",
    "headstart report studies/rte --baseline lp-ft --out report.html",
)
def report(
    folder: Folder,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=path_of,
            metavar="FILE",
            help="The page. Default: DIR/report.html.",
        ),
    ] = None,
    baseline: Baseline = None,
    strategies: Strategies = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out.")] = False,
) -> None:
    """Write what a study says so far as one page of HTML.

    The page holds all it needs and works without a network.
    """
    from headstart.files.writing import require_free, write_output
    from headstart.report.page import build
    from headstart.report.read import read_study
    from headstart.study.outcome.read import split_lines
    from headstart.study.store import Store

    if out is not None:
        require_free(out, overwrite=overwrite)
    evidence = read_study(folder, baseline, split_lines(strategies or ""))
    warn_of_damage(evidence.summary)
    text = build(evidence)
    if out is None:
        Store(folder).write("report.html", text.encode())
        show(f"report: {folder.rstrip('/')}/report.html")
        return
    write_output(out, text.encode(), overwrite=overwrite)
    show(f"report: {out}")
