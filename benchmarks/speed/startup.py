"""Start-up: ``headstart --help``, and ``fit`` and Trainer up to their first optimizer step.

``seconds`` of ``help`` is the median of whole processes. Of the others it goes from the imports to
the end of the first step, on 200 rows. ``s_imports`` is the time of the imports themselves: torch,
transformers' modules of the model, and for Trainer its own. Trainer does not evaluate before its
first step, and headstart does.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from _rows import model, rows
from _turns import parser, run


def show_help(_: argparse.Namespace) -> dict[str, float]:
    """Ask for the help page."""
    times = []
    for _round in range(5):
        began = time.perf_counter()
        command = [sys.executable, "-m", "headstart", "--help"]
        subprocess.run(command, capture_output=True, check=True)  # noqa: S603
        times.append(time.perf_counter() - began)
    return {"seconds": statistics.median(times)}


def train(arguments: argparse.Namespace, *, code: str, trainer: bool) -> dict[str, float]:
    """Train two steps from a CSV file."""
    folder, table = model(tiny=arguments.tiny), rows("short", 200, tiny=arguments.tiny)
    with tempfile.TemporaryDirectory() as place:
        table.to_csv(Path(place) / "train.csv", index=False)
        # In another process, so that nothing is there beforehand.
        command = [
            sys.executable,
            "-c",
            _IMPORTS.format(trainer=trainer) + code + _PRINT,
            folder,
            place,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    imports, seconds = map(float, done.stdout.splitlines()[-1].split())
    return {"seconds": seconds, "s_imports": imports}


_IMPORTS = """
import sys, time
began = time.perf_counter()
import headstart as hs
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.models.bert import modeling_bert
if {trainer}:
    from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments
imported, first = time.perf_counter(), []
folder, place = sys.argv[1:]
"""

_FIT = """
class Clock(hs.Callback):
    def step(self, step, loss):
        first.append(time.perf_counter())

hs.fit(model=folder, train=place + "/train.csv", text="text", strategy="full(steps=2)",
       out=place + "/run", callback=Clock())
"""

_TRAINER = """
import pandas as pd

class Clock(TrainerCallback):
    def on_step_end(self, *_, **__):
        first.append(time.perf_counter())

table, tokenizer = pd.read_csv(place + "/train.csv"), AutoTokenizer.from_pretrained(folder)
encoded = tokenizer(list(table["text"]), truncation=True, max_length=128)["input_ids"]
Trainer(
    AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2),
    TrainingArguments(place + "/out", per_device_train_batch_size=32, max_steps=2, use_cpu=True,
                      report_to=[], save_strategy="no", disable_tqdm=True),
    train_dataset=[{"input_ids": i, "labels": y} for i, y in zip(encoded, table["label"])],
    data_collator=DataCollatorWithPadding(tokenizer), callbacks=[Clock()],
).train()
"""

_PRINT = """
print(imported - began, first[0] - imported)
"""


def main() -> None:
    """Measure and print."""
    sides = {
        "fit": partial(train, code=_FIT, trainer=False),
        "Trainer": partial(train, code=_TRAINER, trainer=True),
        "help": show_help,
    }
    run(parser(__doc__).parse_args(), sides, "fit", "seconds")


if __name__ == "__main__":
    main()
