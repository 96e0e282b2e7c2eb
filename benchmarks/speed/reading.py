"""Rows per second: reading a CSV file, tokenising, and tokens from the cache; beside an epoch.

``epoch`` is one of fine-tuning on the same rows, extrapolated from the median of a few steps.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from _rows import LONGEST, model, rows
from _turns import parser, run

BATCH = 32


def reading(arguments: argparse.Namespace) -> dict[str, float]:
    """Read, check and split the rows as a run does."""
    from headstart.config import FitConfig
    from headstart.steps.rows import read_rows
    from headstart.steps.settings import find_task

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        rows(arguments.length, arguments.rows, tiny=arguments.tiny).to_csv(path, index=False)
        config = FitConfig.build({"model": "-", "train": path, "text": "text"})
        return _rate(arguments, lambda: read_rows(config, find_task(config)))


def tokenising(arguments: argparse.Namespace) -> dict[str, float]:
    """Tokenise them."""
    from headstart.data.tokens.encode import encode

    made, tokenizer = _rows(arguments), _tokenizer(arguments)
    return _rate(arguments, lambda: encode(made, tokenizer, LONGEST[arguments.length]))


def cached(arguments: argparse.Namespace) -> dict[str, float]:
    """Read the tokens from the cache, the digest of the texts included."""
    from headstart.data.tokens.tokencache import encode_cached

    made, tokenizer = _rows(arguments), _tokenizer(arguments)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HEADSTART_CACHE"] = folder
        encode_cached(made, tokenizer, LONGEST[arguments.length])
        return _rate(arguments, lambda: encode_cached(made, tokenizer, LONGEST[arguments.length]))


def epoch(arguments: argparse.Namespace) -> dict[str, float]:
    """Fine-tune for some steps, the first three of which do not count."""
    import headstart as hs

    ends: list[float] = []

    class Clock(hs.Callback):
        def step(self, step: int, loss: float) -> None:  # noqa: ARG002
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        table = rows(arguments.length, arguments.rows, tiny=arguments.tiny)
        hs.fit(
            model=model(tiny=arguments.tiny), train=table, validation=table.head(8), text="text",
            strategy=f"full(steps={arguments.steps})", batch_size=BATCH, eval_every=10**6,
            max_length=LONGEST[arguments.length], out=f"{folder}/run", callback=Clock(),
        )  # fmt: skip
    each = statistics.median(b - a for a, b in pairwise(ends[2:]))
    return _figures(arguments, each * -(-arguments.rows // BATCH))


def _rate(arguments: argparse.Namespace, work: Callable[[], object]) -> dict[str, float]:
    work()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return _figures(arguments, statistics.median(times))


def _figures(arguments: argparse.Namespace, seconds: float) -> dict[str, float]:
    return {"rows_s": arguments.rows / seconds, "seconds": seconds}


def _rows(arguments: argparse.Namespace) -> object:
    from headstart.data.rows import Rows

    table = rows(arguments.length, arguments.rows, tiny=arguments.tiny)
    return Rows([((text, None),) for text in table["text"]])


def _tokenizer(arguments: argparse.Namespace) -> object:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model(tiny=arguments.tiny))


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--length", choices=LONGEST, default="short")
    options.add_argument("--rows", type=int, default=1600)
    options.add_argument("--steps", type=int, default=10)
    sides = {"epoch": epoch, "reading": reading, "tokenising": tokenising, "cached": cached}
    run(options.parse_args(), sides, "epoch", "seconds")


if __name__ == "__main__":
    main()
