"""What a training step takes beside arithmetic: headstart and Trainer, with next to none of it.

Six layers of a random encoder, 24 wide, two short rows a step, one thread: what is left is the time
of a thousand small operations, which a step on few tokens has as well. The rows' number makes no
difference to it.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import Any

from _rows import encoder
from _turns import parser, run

from training import ours, trainer

WIDTH, LAYERS, ROWS = 24, 6, 2


def measure(side: Any, arguments: argparse.Namespace) -> dict[str, float]:
    """Train a few hundred steps."""
    os.environ["OMP_NUM_THREADS"] = "1"  # torch is imported later
    found = side(arguments, folder=encoder(WIDTH, LAYERS), batch=ROWS)
    return {"ms_step": found["ms_step"]}


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--strategy", choices=("full", "bitfit", "lora"), default="full")
    options.add_argument("--steps", type=int, default=400)
    options.set_defaults(length="short")
    arguments = options.parse_args()
    arguments.steps = 8 if arguments.tiny else arguments.steps
    arguments.rows = ROWS * arguments.steps
    sides = {
        "headstart": partial(measure, ours),
        "tuned Trainer": partial(measure, partial(trainer, tuned=True)),
        "default Trainer": partial(measure, partial(trainer, tuned=False)),
    }
    run(arguments, sides, "headstart", "ms_step")


if __name__ == "__main__":
    main()
