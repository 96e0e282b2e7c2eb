"""``headstart evaluate`` and ``headstart predict``."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstart.cli._console import facts, show, write_out
from headstart.cli._usage import command

if TYPE_CHECKING:
    import pandas as pd

    from headstart.api import Classifier

app = typer.Typer()

_Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="Folder of a run, or any fine-tuned classifier: folder or hub name."
    ),
]
_Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="FILE",
        help="Labelled rows: csv, tsv, jsonl, parquet or arrow file, saved data set, hub name.",
    ),
]
_Split = Annotated[
    str | None, typer.Option("--split", metavar="NAME", help="Split of a saved or hub data set.")
]
_Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="TASK",
        help="Task, or task file, to read the rows by; default: the run's.",
    ),
]
_Text = Annotated[
    list[str] | None,
    typer.Option(
        "--text", metavar="COLUMN", help="Text column, twice for pairs; default: the run's."
    ),
]
_Label = Annotated[
    str | None,
    typer.Option("--label", metavar="COLUMN", help="Label column; default: the run's."),
]
_Device = Annotated[
    str, typer.Option("--device", metavar="[auto|cpu|cuda|mps]", help="Where to compute.")
]
_Trust = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
]


@command(
    app,
    "headstart evaluate runs/x --data test.csv",
    "headstart evaluate runs/x --data reviews.jsonl --text body --label stars",
    "headstart evaluate runs/x --data test.csv --json",
)
def evaluate(
    run: _Run,
    data: _Data,
    split: _Split = None,
    task: _Task = None,
    text: _Text = None,
    label: _Label = None,
    device: _Device = "auto",
    trust_remote_code: _Trust = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, for programs.")
    ] = False,
) -> None:
    """Measure a finished model on labelled rows, by the metrics of its task.

    For classes it also says how far the probabilities can be believed.
    """
    from headstart.data.stream import TableParts
    from headstart.results import CALIBRATION_FIGURES

    parts = TableParts(data, split=split)
    classifier = _load(run, device, trust_remote_code, task=task, text=text, label=label)
    scores, probabilities = classifier.measure_parts(parts)
    if as_json:
        found = {"model": run, "data": data, "rows": parts.rows, "scores": scores}
        write_out(json.dumps({**found, "probabilities": probabilities}, ensure_ascii=False) + "\n")
        return
    rows = [(name, f"{value:.4f}") for name, value in scores.items()]
    show(f"{run} on {parts.rows:,} rows of {data}", facts(rows))
    if probabilities:
        told = (f"{name} {probabilities[k]:.4f}" for k, name in CALIBRATION_FIGURES.items())
        show(f"probabilities, lower is better: {', '.join(told)}")


@command(
    app,
    "headstart predict runs/x --data new.csv --out predictions.csv",
    'echo "A fine film." | headstart predict runs/x --data -',
)
def predict(
    run: _Run,
    data: Annotated[
        str,
        typer.Option("--data", metavar="FILE", help="Rows, or - for lines of text from the input."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="csv, tsv, jsonl or parquet file to write; default: CSV to the output, or tabs "
            "for lines of text.",
        ),
    ] = None,
    split: _Split = None,
    task: _Task = None,
    text: _Text = None,
    device: _Device = "auto",
    trust_remote_code: _Trust = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out.")] = False,
    escape_formulas: Annotated[
        bool,
        typer.Option(
            "--escape-formulas",
            help="For a spreadsheet: put ' before texts that begin like a formula (= + - @).",
        ),
    ] = False,
) -> None:
    """Label rows, or lines of text.

    All columns and the order of the rows are kept; added are `prediction` and, for classes, the
    probability of each as `p_` and its name.
    """
    from headstart.cli._write import check_target, printing, without_formulas, writing
    from headstart.data.sources import no_splits
    from headstart.data.stream import TableParts

    if out is not None:
        check_target(out, overwrite=overwrite, read=data)
    lines = data == "-"
    if lines and split:
        raise no_splits("the input", split)
    parts = None if lines else TableParts(data, split=split)
    classifier = _load(run, device, trust_remote_code, task=task, text=text)
    given = [(0, _lines(classifier))] if parts is None else parts
    if parts is None and out is None:
        _print_lines(next(classifier.predict_parts(given)))
        return
    count = 0
    with writing(out) if out else printing(write_out) as plain:
        write = without_formulas(plain) if escape_formulas else plain
        for predictions in classifier.predict_parts(given):
            write(predictions)
            count += len(predictions)
    if out is not None:
        show(f"{count:,} rows in {out}")


def _load(run: str, device: str, trust: bool, **columns: Any) -> Classifier:
    from headstart.api import load

    return load(run, device=device, trust_remote_code=trust).use_columns(**columns)


def _lines(classifier: Classifier) -> pd.DataFrame:
    """Read standard input: a text a line; two texts with a tab between where pairs are wanted."""
    import pandas as pd

    from headstart.errors import DataError

    task = classifier.task
    columns = task.columns if task else ("text",)
    if task and (task.shape == "choice" or task.spans or len(columns) > 2):
        raise DataError(
            f"rows with the columns {', '.join(columns)}", "lines of text", "Give a file as --data."
        )
    if task is None:
        classifier.use_columns(text=columns)
    lines = _read_input()
    if not lines:
        raise DataError("lines of text on standard input", "none", "Write one text a line.")
    rows = [line.split("\t") if len(columns) == 2 else [line] for line in lines]
    wrong = next((n for n, row in enumerate(rows, 1) if len(row) != len(columns)), None)
    if wrong is not None:
        raise DataError(
            f"{' and '.join(columns)} with a tab between in every line",
            f"{len(rows[wrong - 1])} fields in line {wrong}",
            "Write first text, tab, second text.",
        )
    return pd.DataFrame(rows, columns=list(columns), dtype=str)


def _read_input() -> list[str]:
    from headstart.errors import DataError

    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="strict")
    try:
        return [line.rstrip("\r\n") for line in sys.stdin]
    except UnicodeDecodeError as error:
        raise DataError(
            "UTF-8 text on standard input",
            f"byte 0x{error.object[error.start]:02x}",
            "Convert it, for example by: iconv -f WINDOWS-1252 -t UTF-8",
        ) from None


def _print_lines(frame: pd.DataFrame) -> None:
    added = [name for name in frame.columns if name == "prediction" or name.startswith("p_")]
    frame = frame[[*added, *(name for name in frame.columns if name not in added)]]
    for name in frame.columns:
        if name.startswith("p_"):
            frame[name] = frame[name].map("{:.4f}".format)
    write_out("\t".join(frame.columns) + "\n")
    for row in frame.itertuples(index=False):
        write_out("\t".join(map(str, row)) + "\n")
