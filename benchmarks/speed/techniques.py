"""What every tuner and every technique costs beside plain fine-tuning, on the same batches.

A side is a stage as a strategy line has it. ``ms_step`` is the mean over the steps behind the first
three, ``s_begin`` what passes between the beginning of the stage and its first step (Child-Tuning
looks at all rows there, ``head`` computes its features), ``share`` how much of the model trains, in
percent. Limits for the ratios that techniques are held to: mixout 1.3, child_tuning 1.1, r3f 2.0,
swa and ema 1.05.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from typing import Any

from _rows import LONGEST, model, rows
from _turns import parser, run

BATCH, SKIPPED = 32, 3
PLAIN = "full"
KNOBS = {
    "class_weights": "class_weights(power=0.5)",
    "contrast": "contrast(0.5)",
    "child_tuning F": "child_tuning(mode=F)",
}


def cost(stage: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Train one stage."""
    import headstart as hs
    from headstart.tuners import TUNERS

    tuner, _, technique = stage.partition("+")
    block = "block=8, " if tuner == "oft" and arguments.tiny else ""
    line = f"{tuner}({block}steps={arguments.steps})"
    if technique:
        line += f"+{KNOBS.get(technique, technique)}"
    if TUNERS.get(tuner).no_merge:
        line += " > full(steps=1)"
    ends: list[float] = []
    began: list[float] = []

    class Clock(hs.Callback):
        def stage_started(self, *_: Any) -> None:
            began.append(time.perf_counter())

        def step(self, step: int, loss: float) -> None:  # noqa: ARG002
            ends.append(time.perf_counter())

    table = rows(arguments.length, arguments.steps * BATCH, tiny=arguments.tiny)
    with tempfile.TemporaryDirectory() as folder:
        result = hs.fit(
            model=model(tiny=arguments.tiny), train=table, validation=table.head(8), text="text",
            strategy=line, batch_size=BATCH, max_length=LONGEST[arguments.length],
            eval_every=10**6, guard=False, out=f"{folder}/run", callback=Clock(),
        )  # fmt: skip
    counts = result.stages[0].trainable
    trained = counts["head"] + counts["tuner"]
    ends = ends[: arguments.steps]
    return {
        "ms_step": 1e3 * (ends[-1] - ends[SKIPPED - 1]) / (len(ends) - SKIPPED),
        "s_begin": ends[0] - began[0],
        "share": 100 * trained / (trained + counts["frozen"]),
    }


def stages() -> list[str]:
    """Return plain fine-tuning, every other tuner, and every technique inside fine-tuning."""
    from headstart.techniques import TECHNIQUES
    from headstart.tuners import TUNERS

    tuners = [name for name in TUNERS if name != PLAIN]
    techniques = sorted({*TECHNIQUES, "child_tuning F"})
    return [PLAIN, *tuners, *(f"{PLAIN}+{name}" for name in techniques)]


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--length", choices=LONGEST, default="short")
    options.add_argument("--steps", type=int, default=40)
    arguments = options.parse_args()
    arguments.steps = 6 if arguments.tiny else arguments.steps
    run(arguments, {name: partial(cost, name) for name in stages()}, PLAIN, "ms_step")


if __name__ == "__main__":
    main()
