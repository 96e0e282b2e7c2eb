"""Peak memory of training: ``headstart fit`` in several ways, and Hugging Face's Trainer, tuned.

``peak_mb`` is the most that a process had in memory from its start to its end, ``imports_mb`` what
it had before it loaded a model. Each side trains the same rows in the same batches of 32.
"""

from __future__ import annotations

import argparse
import functools
import resource
from typing import Any

from _rows import LONGEST
from _turns import parser, run

from training import ours, trainer


def fit(arguments: argparse.Namespace, strategy: str, **settings: Any) -> dict[str, float]:
    """Train with headstart."""
    return _train(arguments, strategy, functools.partial(ours, **settings))


def tuned_trainer(arguments: argparse.Namespace) -> dict[str, float]:
    """Train all parameters with Trainer."""
    return _train(arguments, "full", functools.partial(trainer, tuned=True))


def _train(arguments: argparse.Namespace, strategy: str, side: Any) -> dict[str, float]:
    import transformers

    import headstart as hs

    _ = hs.fit, transformers.Trainer  # imported on first use
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = side(argparse.Namespace(**{**vars(arguments), "strategy": strategy}))
    return {"imports_mb": before, "ms_step": found["ms_step"]}


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--length", choices=LONGEST, default="long")
    options.add_argument("--steps", type=int, default=12)
    options.add_argument("--rows", type=int, default=1600)
    again: dict[str, Any] = {"gradient_checkpointing": True}
    sides = {
        "full": functools.partial(fit, strategy="full"),
        "full, checkpointed": functools.partial(fit, strategy="full", **again),
        "lora": functools.partial(fit, strategy="lora"),
        "lora, checkpointed": functools.partial(fit, strategy="lora", **again),
        "bitfit": functools.partial(fit, strategy="bitfit"),
        "tuned Trainer": tuned_trainer,
    }
    run(options.parse_args(), sides, "full", "peak_mb")


if __name__ == "__main__":
    main()
