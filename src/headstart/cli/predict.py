"""``headstart evaluate`` and ``headstart predict``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstart.cli.shared.console import facts, show, write_out
from headstart.cli.shared.usage import command

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
_Image = Annotated[
    str | None,
    typer.Option(
        "--image",
        metavar="COLUMN",
        help="Column with pictures or their paths; default: the run's.",
    ),
]
_Audio = Annotated[
    str | None,
    typer.Option("--audio", metavar="COLUMN", help="Column with sound or its paths."),
]
_Label = Annotated[
    str | None,
    typer.Option("--label", metavar="COLUMN", help="Label column; default: the run's."),
]
_LabelColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--label-columns",
        metavar="COLUMN",
        help="Columns of 0 and 1, one a label; default: the run's.",
    ),
]
_LabelSeparator = Annotated[
    str | None,
    typer.Option(
        "--label-separator",
        metavar="TEXT",
        help="What stands between the labels of a row in --label.",
    ),
]
_Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        metavar="NAME",
        help="Encoding of csv, tsv, json and txt files: cp1252, utf-16 … Default: UTF-8.",
    ),
]
_Empty = Annotated[
    str,
    typer.Option(
        "--empty-text",
        metavar="[error|drop|keep]",
        help="Rows without text: an error, left out (drop), or read as empty (keep).",
    ),
]
_LongTexts = Annotated[
    str | None,
    typer.Option(
        "--long-texts",
        metavar="[cut|windows]",
        help="Texts over the longest input; default: as in training.",
    ),
]
_Overlap = Annotated[
    int | None,
    typer.Option(
        "--window-overlap",
        metavar="TOKENS",
        help="Tokens that a window shares with the one before; default: as in training.",
    ),
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
    image: _Image = None,
    audio: _Audio = None,
    label: _Label = None,
    label_columns: _LabelColumns = None,
    label_separator: _LabelSeparator = None,
    encoding: _Encoding = None,
    empty_text: _Empty = "error",
    missing_label: Annotated[
        str,
        typer.Option(
            "--missing-label",
            metavar="[error|drop]",
            help="Rows without a label: an error, or left out (drop).",
        ),
    ] = "error",
    long_texts: _LongTexts = None,
    window_overlap: _Overlap = None,
    device: _Device = "auto",
    trust_remote_code: _Trust = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, for programs.")
    ] = False,
) -> None:
    """Measure a finished model on labelled rows, by the metrics of its task.

    For classes it also says how far the probabilities can be believed.
    """
    from headstart.data.tables.stream import TableParts
    from headstart.results import CALIBRATION_FIGURES

    parts = TableParts(data, split=split, encoding=encoding)
    reading = {
        "empty_text": empty_text, "missing_label": missing_label, "long_texts": long_texts,
        "window_overlap": window_overlap,
    }  # fmt: skip
    columns = {
        "task": task, "text": text, "image": image, "audio": audio, "label": label,
        "label_columns": label_columns,
        "label_separator": label_separator,
    }  # fmt: skip
    classifier = _load(run, device, trust_remote_code, reading, columns)
    scores, probabilities = classifier.measure_parts(parts)
    measured = parts.rows - classifier.counts.dropped
    if as_json:
        left_out = {"left_out": classifier.counts.dropped} if classifier.counts.dropped else {}
        found = {"model": run, "data": data, "rows": measured, **left_out, "scores": scores}
        write_out(json.dumps({**found, "probabilities": probabilities}, ensure_ascii=False) + "\n")
        return
    rows = [(name, f"{value:.4f}") for name, value in scores.items()]
    show(f"{run} on {measured:,} rows of {data}", facts(rows))
    if probabilities:
        told = (f"{name} {probabilities[k]:.4f}" for k, name in CALIBRATION_FIGURES.items())
        show(f"probabilities, lower is better: {', '.join(told)}")


@command(
    app,
    "headstart predict runs/x --data new.csv --out predictions.csv",
    'echo "A fine film." | headstart predict runs/x --data -',
    "headstart predict runs/x --data texts.txt --out labels.csv",
)
# long: one parameter for each option
def predict(
    run: _Run,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="FILE",
            help="Rows; or a text a line: a .txt file, or - for the input.",
        ),
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
    image: _Image = None,
    audio: _Audio = None,
    encoding: _Encoding = None,
    empty_text: _Empty = "error",
    long_texts: _LongTexts = None,
    window_overlap: _Overlap = None,
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

    All columns and the order of the rows are kept; added are `prediction` and, for classes or
    several labels a row, the probability of each as `p_` and its name.
    """
    from headstart.cli.shared.lines import is_text_file, read_lines
    from headstart.cli.shared.write import check_target, printing, without_formulas, writing
    from headstart.data.tables._files import check_encoding
    from headstart.data.tables.sources import no_splits
    from headstart.data.tables.stream import TableParts

    if out is not None:
        check_target(out, overwrite=overwrite, read=data)
    check_encoding(encoding)
    lines = data == "-" or is_text_file(data)
    if lines and split:
        raise no_splits("the input" if data == "-" else data, split)
    parts = None if lines else TableParts(data, split=split, encoding=encoding)
    columns = {"task": task, "text": text, "image": image, "audio": audio}
    reading = {
        "empty_text": empty_text, "long_texts": long_texts, "window_overlap": window_overlap
    }  # fmt: skip
    classifier = _load(run, device, trust_remote_code, reading, columns)
    given = [(0, read_lines(classifier, data, encoding))] if parts is None else parts
    if parts is None and out is None:
        for predictions in classifier.predict_parts(given):
            _print_lines(predictions)
        return
    count = 0
    opened = writing(out, overwrite=overwrite) if out else printing(write_out)
    with opened as plain:
        write = without_formulas(plain) if escape_formulas else plain
        for predictions in classifier.predict_parts(given):
            write(predictions)
            count += len(predictions)
    if out is not None:
        show(f"{count:,} rows in {out}")


def _load(
    run: str, device: str, trust: bool, reading: dict[str, Any], columns: dict[str, Any]
) -> Classifier:
    from headstart.api import load

    return load(run, device=device, trust_remote_code=trust, **reading).use_columns(**columns)


def _in_line(cell: Any) -> str:
    """Return a cell as text: of entities what and where, of other lists their items."""
    if not isinstance(cell, list):
        return str(cell)
    return ", ".join(
        f"{item['text']} ({item['label']}, {item['start']} to {item['end']})"
        if isinstance(item, dict)
        else str(item)
        for item in cell
    )


def _print_lines(frame: pd.DataFrame) -> None:
    added = [name for name in frame.columns if name.partition("_")[0] in ("prediction", "p")]
    frame = frame[[*added, *(name for name in frame.columns if name not in added)]]
    for name in frame.columns:
        if name.startswith("p_"):
            frame[name] = frame[name].map("{:.4f}".format)
    write_out("\t".join(frame.columns) + "\n")
    for row in frame.itertuples(index=False):
        cells = [_in_line(cell) for cell in row]
        write_out("\t".join(cells) + "\n")
