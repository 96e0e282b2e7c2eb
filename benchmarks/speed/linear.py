"""Cost is linear in the rows: ``hs.fit`` of 1,000, 10,000 and 100,000 rows.

One epoch of full fine-tuning of a random encoder of two layers, 64 wide, on film sentences, with
16 rows to validate on. Seconds are the processor's, of one thread, which others on the machine
disturb less than the clock's. ``us_token`` is the time of training steps by their tokens without
padding; ``us_row_beside`` is everything else by the rows, from the call to the result, less what it
is for 64 rows (``fixed_s``, the median of three fits). An earlier fit pays for imports and for the
first batch of each shape.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import tempfile
import time

from _rows import LONGEST, encoder, rows
from _turns import parser, run

SIZES = {"1k": 1_000, "10k": 10_000, "100k": 100_000}
TINY = {"1k": 1_000, "10k": 2_000, "100k": 4_000}
"""So many rows take longer than the fixed part varies; fewer could seem to cost less than none."""
BATCH, LEAST, WARM, FIXED = 32, 64, 3_999, 3


def fit(arguments: argparse.Namespace, count: int) -> dict[str, float]:
    """Fit after others on fewer rows: the first imports everything and meets most lengths."""
    model = encoder(16 if arguments.tiny else 64, layers=2)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["HEADSTART_CACHE"] = cache
        _fit(arguments, model, LEAST if arguments.tiny else WARM)
        fixed = statistics.median(_fit(arguments, model, LEAST)["beside"] for _ in range(FIXED))
        found = _fit(arguments, model, count)
    beside = found["beside"] - fixed
    return {
        "us_token": 1e6 * found["training"] / found["tokens"],
        "us_row_beside": 1e6 * beside / (count - LEAST),
        "fixed_s": fixed,
        "training_s": found["training"],
    }


def _fit(arguments: argparse.Namespace, model: str, count: int) -> dict[str, float]:
    import headstart as hs

    ends: list[float] = []

    class Clock(hs.Callback):
        def step(self, step: int, loss: float) -> None:  # noqa: ARG002
            ends.append(time.process_time())

    table = rows("short", count, tiny=arguments.tiny)
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        result = hs.fit(
            model=model, train=table, validation=table.head(16), text="text",
            strategy="full(epochs=1)", batch_size=BATCH, max_length=LONGEST["short"], guard=False,
            threads=1, callback=Clock(), out=f"{folder}/run",
        )  # fmt: skip
        seconds = time.process_time() - began
    # Not the first step, before which the clock was not read.
    later = len(ends) - 1
    training = (ends[-1] - ends[0]) * len(ends) / later if later else 0.0
    tokens = result.stages[0].tokens
    return {"training": training, "beside": seconds - training, "tokens": tokens}


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__).parse_args()
    sizes = TINY if arguments.tiny else SIZES
    sides = {name: functools.partial(fit, count=count) for name, count in sizes.items()}
    run(arguments, sides, "1k", "us_token")


if __name__ == "__main__":
    main()
