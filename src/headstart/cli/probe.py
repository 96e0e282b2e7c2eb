"""``headstart probe``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstart.cli.shared.console import show, table
from headstart.cli.shared.settings import given_ones, with_some_settings
from headstart.cli.shared.usage import command
from headstart.files.home import path_of

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer()
RATES = (1e-3, 3e-3, 1e-2)


@command(
    app,
    "headstart probe --model roberta-base --train train.csv --validation dev.csv --text sentence",
    "headstart probe --model roberta-base --task rte --seeds 10 --lr 1e-3 --lr 1e-2 --out rte.csv",
)
@with_some_settings(
    *("model", "train", "validation", "task", "data", "text", "image", "audio", "label"),
    *("epochs", "batch_size", "max_length", "device"),
    defaults={"label": "the task's, else label"},
    texts={"epochs": "Epochs of training.", "max_length": "Longest input in tokens."},
)
def probe(
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds, from 0.")] = 5,
    lr: Annotated[
        list[float] | None,
        typer.Option("--lr", help="Learning rate; may be repeated. Default: 1e-3, 3e-3, 1e-2."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            parser=path_of,
            metavar="FILE",
            help="Write every score: csv, tsv, jsonl, parquet.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out.")] = False,
    **settings: Any,
) -> None:
    """Train linear probes on the frozen encoder, all seeds and learning rates at once.

    The best rate is chosen by the rows that it is scored on, so its score is optimistic.
    """
    from headstart.api import probe as run
    from headstart.cli.shared.write import check_target, writing

    if out is not None:
        check_target(out, overwrite=overwrite, read=settings["train"] or "")
    found = run(seeds=seeds, lrs=lr or RATES, **given_ones(settings))
    if out is not None:
        with writing(out, overwrite=overwrite) as write:
            write(found)
    show(_summary(found), "Scores on the validation rows over seeds; the best is optimistic.")


def _summary(found: pd.DataFrame) -> object:
    rows = []
    for rate, group in found.groupby("lr"):
        score = group["score"]
        spread = f"{score.std():.4f}" if len(score) > 1 else ""
        cells = (f"{rate:g}", f"{score.mean():.4f}", spread)
        rows.append((*cells, f"{score.min():.4f}", f"{score.max():.4f}", len(score)))
    return table((">lr", ">mean score", ">std", ">lowest", ">highest", ">seeds"), rows)
