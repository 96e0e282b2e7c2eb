"""Linear probing: a whole `head` stage against Hugging Face's Trainer on a frozen backbone.

``s_epoch`` is a stage's wall time over its epochs, an evaluation in each included: of ours with the
features computed once, which ``s_features`` shows; of the Trainer measured on its second epoch, for
all are alike. ``grid`` trains several seeds and learning rates at once; its ``s_epoch`` is for one
of these heads.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence

from _rows import LONGEST, model, rows
from _turns import native, parser, run

BATCH, VALIDATION = 32, 400
RATES = (1e-3, 3e-3, 1e-2)


def ours(arguments: argparse.Namespace) -> dict[str, float]:
    """Train one head with ``fit``."""
    import headstart as hs

    starts: list[float] = []

    class Clock(hs.Callback):
        def stage_started(self, *_: object) -> None:
            starts.append(time.perf_counter())

        def point(self, _: object) -> None:
            starts.append(time.perf_counter())

        def stage_ended(self, _: object) -> None:
            starts.append(time.perf_counter())

    train, validation = _tables(arguments)
    with tempfile.TemporaryDirectory() as folder:
        hs.fit(
            model=model(tiny=arguments.tiny), train=train, validation=validation, text="text",
            strategy=f"head(epochs={arguments.epochs})", batch_size=BATCH, guard=False,
            max_length=LONGEST[arguments.length], out=f"{folder}/run", callback=Clock(),
        )  # fmt: skip
    return {
        "s_epoch": (starts[-1] - starts[0]) / arguments.epochs,
        "s_features": starts[1] - starts[0],
        "ms_step": 1e3 * (starts[-1] - starts[1]) / arguments.epochs / -(-len(train) // BATCH),
    }


def grid(arguments: argparse.Namespace) -> dict[str, float]:
    """Train heads of several seeds and learning rates at once."""
    import headstart as hs

    train, validation = _tables(arguments)

    def seconds(seeds: int, rates: Sequence[float], epochs: int) -> float:
        began = time.perf_counter()
        hs.probe(
            model=model(tiny=arguments.tiny), train=train, validation=validation, text="text",
            seeds=seeds, lrs=rates, epochs=epochs, batch_size=BATCH,
            max_length=LONGEST[arguments.length],
        )  # fmt: skip
        return time.perf_counter() - began

    seconds(1, RATES[:1], 1)  # imports
    features = seconds(1, RATES[:1], 1)
    found = seconds(arguments.seeds, RATES, arguments.epochs)
    heads = arguments.seeds * len(RATES)
    steps = arguments.epochs * -(-len(train) // BATCH)
    return {
        "s_epoch": found / arguments.epochs / heads, "s_features": features,
        "ms_step": 1e3 * (found - features) / steps / heads, "heads": heads,
    }  # fmt: skip


def trainer(arguments: argparse.Namespace) -> dict[str, float]:
    """Train the head with Trainer: native precision, length grouping, fused AdamW."""
    import transformers
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = model(tiny=arguments.tiny)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    for name, parameter in network.named_parameters():
        parameter.requires_grad = name.startswith("classifier")
    ends: list[float] = []

    class Clock(transformers.TrainerCallback):
        def on_epoch_begin(self, *_: object, **__: object) -> None:
            ends.append(time.perf_counter())

        def on_train_end(self, *_: object, **__: object) -> None:
            ends.append(time.perf_counter())

    def encoded(table: object) -> list[dict[str, object]]:
        texts, longest = list(table["text"]), LONGEST[arguments.length]  # type: ignore[index]
        ids = tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
        labels = table["label"]  # type: ignore[index]
        return [{"input_ids": i, "labels": y} for i, y in zip(ids, labels, strict=True)]

    train, validation = map(encoded, _tables(arguments))
    with tempfile.TemporaryDirectory() as out:
        settings = transformers.TrainingArguments(
            out, per_device_train_batch_size=BATCH, per_device_eval_batch_size=128,
            num_train_epochs=2, use_cpu=True, report_to=[], save_strategy="no",
            logging_strategy="no", disable_tqdm=True, bf16=native() == "bf16",
            optim="adamw_torch_fused",
            train_sampling_strategy="group_by_length", eval_strategy="epoch",
        )  # fmt: skip
        transformers.Trainer(
            model=network, args=settings, train_dataset=train, eval_dataset=validation,
            data_collator=transformers.DataCollatorWithPadding(tokenizer), callbacks=[Clock()],
        ).train()  # fmt: skip
    seconds = ends[2] - ends[1]
    return {"s_epoch": seconds, "ms_step": 1e3 * seconds / -(-len(train) // BATCH)}


def _tables(arguments: argparse.Namespace) -> tuple[object, object]:
    table = rows(arguments.length, arguments.rows + VALIDATION, tiny=arguments.tiny)
    return table.head(arguments.rows), table.tail(VALIDATION)


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--length", choices=LONGEST, default="short")
    options.add_argument("--epochs", type=int, default=15)
    options.add_argument("--rows", type=int, default=1600)
    options.add_argument("--seeds", type=int, default=10)
    arguments = options.parse_args()
    sides = {"headstart": ours, "headstart, grid": grid, "tuned Trainer": trainer}
    run(arguments, sides, "headstart", "s_epoch")


if __name__ == "__main__":
    main()
