"""``headstart head extract`` and ``headstart head inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstart.cli.shared.console import HELP_NAMES, facts, show, table
from headstart.cli.shared.usage import command
from headstart.files.home import nearest, path_of
from headstart.untrusted import shown

if TYPE_CHECKING:
    from headstart.models.headfile import Head

app = typer.Typer(
    help="Extract and inspect heads: what a model has beside its pretrained backbone.",
    context_settings=HELP_NAMES,
)


@command(
    app,
    "headstart head extract runs/x --out head/",
    "headstart head extract roberta-large-mnli --out head/",
)
def extract(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Folder of a run, or any fine-tuned classifier: folder or hub name.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            parser=path_of,
            metavar="DIR",
            help="Folder for the head.",
        ),
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the head that is there.")
    ] = False,
) -> None:
    """Write the head of a model as a head folder, for `headstart fit --head`."""
    from headstart.models.headfile import Head

    _check_out(out, overwrite=overwrite)
    head = Head.from_pretrained(model)
    head.save(out)
    _show(head, out)


@command(app, "headstart head inspect runs/x/head")
def inspect(
    source: Annotated[
        str,
        typer.Argument(metavar="DIR", help="A head folder, a run, or a checkpoint with a head."),
    ],
) -> None:
    """Show what a head is, what it predicts, and which backbone it belongs to."""
    from headstart.models.headfile import Head

    _show(Head.from_pretrained(source), source)


def _check_out(out: Path, *, overwrite: bool) -> None:
    from headstart.errors import ModelError
    from headstart.models.headfile import RECORD

    expected, other = "a new or empty folder for --out", "Choose another --out"
    there = nearest(out)
    if not there.is_dir():
        raise ModelError(expected, f"{there}, which is a file", f"{other}: a folder.")
    if there == out.absolute() and any(out.iterdir()):
        if not (out / RECORD).is_file():
            raise ModelError(expected, f"{out} with files in it that are no head", f"{other}.")
        if not overwrite:
            raise ModelError(expected, f"{out} with a head in it", f"{other}, or pass --overwrite.")


def _show(head: Head, place: str | Path) -> None:
    from headstart.results import show_score

    about = [
        ("model class", head.model_class),
        ("predicts", ", ".join(map(shown, head.labels)) or "a number"),
        ("input", head.pooling),
        ("backbone", head.backbone),
        ("fingerprint", head.fingerprint),
        ("trained by", head.strategy or "not recorded"),
        *((f"{name} on that backbone", show_score(value)) for name, value in head.scores.items()),
    ]
    shapes = [
        (name, " x ".join(map(str, t.shape)), f"{t.numel():,}") for name, t in head.tensors.items()
    ]
    show(f"Head in {place}", facts(about), "Tensors", table(("name", ">shape", ">numbers"), shapes))
