"""``headstart evaluate`` and ``headstart predict``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstart.cli.shared.console import facts, show, warn, write_out
from headstart.cli.shared.settings import given_ones, with_some_settings
from headstart.cli.shared.usage import command
from headstart.files.home import path_of

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
_Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        parser=path_of,
        metavar="FILE",
        help="csv, tsv, jsonl or parquet file to write; default: CSV to the output, or tabs for "
        "lines of text.",
    ),
]
_Split = Annotated[
    str | None, typer.Option("--split", metavar="NAME", help="Split of a saved or hub data set.")
]
_INPUTS = ("task", "text", "image", "audio")
_LABELS = ("label", "label_columns", "label_separator")
_OTHERS = ("encoding", "empty_text", "long_texts", "window_overlap", "device", "trust_remote_code")
_DEFAULTS = {
    **dict.fromkeys((*_INPUTS, *_LABELS), "the run's"),
    **dict.fromkeys(("long_texts", "window_overlap"), "as in training"),
}
_TEXTS = {
    "encoding": "Encoding of csv, tsv, json and txt files: cp1252, utf-16 … Default: UTF-8.",
    "trust_remote_code": "Run code that comes with the model.",
}


@command(
    app,
    "headstart evaluate runs/x --data test.csv",
    "headstart evaluate runs/x --data reviews.jsonl --text body --label stars",
    "headstart evaluate runs/x --data test.csv --json",
)
@with_some_settings(*_INPUTS, *_LABELS, "missing_label", *_OTHERS, defaults=_DEFAULTS, texts=_TEXTS)
def evaluate(
    run: _Run,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="FILE",
            help="Labelled rows: csv, tsv, jsonl, parquet or arrow file, saved data set, hub name.",
        ),
    ],
    split: _Split = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, for programs.")
    ] = False,
    **settings: Any,
) -> None:
    """Measure a finished model on labelled rows, by the metrics of its task.

    For classes it also says how far the probabilities can be believed.
    """
    from headstart.data.tables.stream import TableParts
    from headstart.results import CALIBRATION_FIGURES, finite, show_score

    parts = TableParts(data, split=split, encoding=settings["encoding"])
    classifier = _load(run, settings)
    scores, probabilities = classifier.measure_parts(parts)
    measured = parts.rows - classifier.counts.dropped
    if as_json:
        left_out = {"left_out": classifier.counts.dropped} if classifier.counts.dropped else {}
        found = {"model": run, "data": data, "rows": measured, **left_out, "scores": scores}
        plain = finite({**found, "probabilities": probabilities})
        write_out(json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n")
        return
    rows = [(name, show_score(value)) for name, value in scores.items()]
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
@with_some_settings(*_INPUTS, *_OTHERS, defaults=_DEFAULTS, texts=_TEXTS)
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
    out: _Out = None,
    split: _Split = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out.")] = False,
    escape_formulas: Annotated[
        bool,
        typer.Option(
            "--escape-formulas",
            help="For a spreadsheet: put ' before texts that begin like a formula (= + - @).",
        ),
    ] = False,
    **settings: Any,
) -> None:
    """Label rows, or lines of text.

    All columns and the order of the rows are kept; added are `prediction` and, for classes or
    several labels a row, the probability of each as `p_` and its name.
    """
    from headstart.cli.shared.lines import is_text_file, read_lines
    from headstart.cli.shared.write import answers, check_target, printing, writing
    from headstart.data.tables._files import check_encoding
    from headstart.data.tables.classnames import numbered_otherwise
    from headstart.data.tables.sources import no_splits
    from headstart.data.tables.stream import TableParts

    if out is not None:
        check_target(out, overwrite=overwrite, read=data)
    encoding = settings["encoding"]
    check_encoding(encoding)
    lines = data == "-" or is_text_file(data)
    if lines and split:
        raise no_splits("the input" if data == "-" else data, split)
    parts = None if lines else TableParts(data, split=split, encoding=encoding)
    classifier = _load(run, settings)
    given = [(0, read_lines(classifier, data, encoding))] if parts is None else parts
    if parts is None and out is None:
        for predictions in classifier.predict_parts(given):
            _print_lines(predictions)
        return
    count = 0
    opened = writing(out, overwrite=overwrite) if out else printing(write_out)
    with opened as plain:
        write = answers(plain, escape_formulas=escape_formulas)
        for predictions in classifier.predict_parts(given):
            for told in () if count else numbered_otherwise(predictions, classifier.labels):
                warn(told)
            write(predictions)
            count += len(predictions)
    if out is not None:
        show(f"{count:,} rows in {out}")


def _load(run: str, settings: Mapping[str, Any]) -> Classifier:
    """Load a model with the options that were given; how a file is read is no matter of it."""
    from headstart.api import load

    given = given_ones({**settings, "encoding": None})
    columns = {name: given.pop(name) for name in (*_INPUTS, *_LABELS) if name in given}
    return load(run, **given).use_columns(**columns)


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
