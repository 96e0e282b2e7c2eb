"""Rows a second of ``predict``: transformers' ``pipeline`` against a headstart ``Classifier``.

Texts of mixed lengths, sentences and whole reviews in turn; loading is not counted. ``pipeline`` in
headstart's type and with its best batch size is the stronger peer, its defaults (fp32, one text at
a time) the usual one.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import pandas as pd
from _rows import model, rows
from _turns import native, parser, run


def texts(arguments: argparse.Namespace) -> list[str]:
    """Return sentences and reviews in turn."""
    half = arguments.rows // 2
    kinds = [rows(length, half, tiny=arguments.tiny)["text"] for length in ("short", "long")]
    return [text for pair in zip(*kinds, strict=True) for text in pair]


def checkpoint(arguments: argparse.Namespace, folder: str) -> str:
    """Save a classifier with a random head."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    source = model(tiny=arguments.tiny)
    AutoModelForSequenceClassification.from_pretrained(source, num_labels=2).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, model_max_length=256).save_pretrained(folder)
    return folder


def ours(arguments: argparse.Namespace) -> dict[str, float]:
    """Predict with headstart."""
    import headstart as hs

    table, load = pd.DataFrame({"text": texts(arguments)}), hs.load  # imports torch its own way
    with tempfile.TemporaryDirectory() as folder:
        precision = arguments.precision or native()
        classifier = load(checkpoint(arguments, folder), precision=precision)
        classifier.use_columns(text="text").predict_frame(table.head(64))
        began = time.perf_counter()
        classifier.predict_frame(table)
    return _figures(began, len(table))


def pipeline(
    arguments: argparse.Namespace, *, batch_size: int, precision: str | None
) -> dict[str, float]:
    """Predict with a pipeline."""
    import torch
    import transformers

    inputs = texts(arguments)
    with tempfile.TemporaryDirectory() as folder:
        peer = transformers.pipeline(
            "text-classification", checkpoint(arguments, folder), batch_size=batch_size,
            dtype={"bf16": torch.bfloat16, "fp32": torch.float32}[precision or native()],
        )  # fmt: skip
        peer(inputs[:64], truncation=True, top_k=None)
        began = time.perf_counter()
        peer(inputs, truncation=True, top_k=None)
    return _figures(began, len(inputs))


def _figures(began: float, count: int) -> dict[str, float]:
    seconds = time.perf_counter() - began
    return {"ms_row": 1e3 * seconds / count, "rows_s": count / seconds}


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=1600)
    options.add_argument("--precision", choices=("bf16", "fp32"))
    arguments = options.parse_args()
    sides = {
        "headstart": ours,
        "pipeline": lambda a: pipeline(a, batch_size=1, precision="fp32"),
        "pipeline, 32 rows": lambda a: pipeline(a, batch_size=32, precision="fp32"),
        "pipeline, same type": lambda a: pipeline(a, batch_size=32, precision=a.precision),
        "pipeline, same type, 1 row": lambda a: pipeline(a, batch_size=1, precision=a.precision),
    }
    run(arguments, sides, "headstart", "ms_row")


if __name__ == "__main__":
    main()
