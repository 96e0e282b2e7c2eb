"""``headstart probe``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstart.cli.shared.console import show, table
from headstart.cli.shared.usage import command

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer()
RATES = (1e-3, 3e-3, 1e-2)


@command(
    app,
    "headstart probe --model roberta-base --train train.csv --validation dev.csv --text sentence",
    "headstart probe --model roberta-base --task rte --seeds 10 --lr 1e-3 --lr 1e-2 --out rte.csv",
)
# long: one parameter for each option
def probe(
    model: Annotated[
        str,
        typer.Option("--model", metavar="MODEL", help="Folder or hub name of the encoder."),
    ],
    train: Annotated[str | None, typer.Option("--train", help="Training rows.")] = None,
    validation: Annotated[
        str | None,
        typer.Option("--validation", help="Rows to score on; else a share is held out."),
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="A task or task file.")] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Folder with the task's split files.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="COLUMN", help="Text column; twice for pairs."),
    ] = None,
    image: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of pictures.")] = None,
    audio: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of sound.")] = None,
    label: Annotated[
        str | None, typer.Option("--label", metavar="COLUMN", help="Label column.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds, from 0.")] = 5,
    lr: Annotated[
        list[float] | None,
        typer.Option("--lr", help="Learning rate; may be repeated. Default: 1e-3, 3e-3, 1e-2."),
    ] = None,
    epochs: Annotated[float | None, typer.Option("--epochs", help="Epochs of training.")] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="Rows per optimizer step.")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option("--max-length", help="Longest input in tokens.")
    ] = None,
    device: Annotated[
        str, typer.Option("--device", metavar="[auto|cpu|cuda|mps]", help="Where to compute.")
    ] = "auto",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write every score: csv, tsv, jsonl, parquet."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out.")] = False,
) -> None:
    """Train linear probes on the frozen encoder, all seeds and learning rates at once.

    The best rate is chosen by the rows that it is scored on, so its score is optimistic.
    """
    from headstart.api import probe as run
    from headstart.cli.shared.write import check_target, writing

    if out is not None:
        check_target(out, overwrite=overwrite, read=train or "")
    found = run(
        model=model, train=train, validation=validation, task=task, data=data, text=text,
        image=image, audio=audio, label=label, seeds=seeds, lrs=lr or RATES, epochs=epochs,
        batch_size=batch_size, max_length=max_length, device=device,
    )  # fmt: skip
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
