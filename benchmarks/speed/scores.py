"""Accuracy of fine-tuning or of LoRA: headstart, with all that makes it fast, against Trainer.

Film sentences; the same rows, optimizer, learning rates, schedule, batch and epochs on either side,
products in bf16 where that is native, seeds 0, 1, 2 … Printed are mean accuracies in per cent,
their standard deviation over the seeds, their difference, and its 95 % confidence interval by
Student's t for pairs of the same seed. If the interval leaves zero out, speed has its price.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from typing import Any

from _rows import model, rows
from _turns import native, parser, run

BATCH, WARMUP, DECAY = 32, 0.1, 0.01
RATES = {"full": 5e-5, "lora": 1e-3}


def tables(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """Return rows to train on and as many others to judge by."""
    table = rows("short", 2 * arguments.rows, tiny=arguments.tiny)
    return table.head(arguments.rows), table.tail(arguments.rows)


def ours(arguments: argparse.Namespace, seed: int) -> float:
    """Return the accuracy of headstart."""
    import headstart as hs

    train, validation = tables(arguments)
    with tempfile.TemporaryDirectory() as folder:
        result = hs.fit(
            model=model(tiny=arguments.tiny), train=train, validation=validation, text="text",
            strategy=arguments.strategy, epochs=arguments.epochs, batch_size=BATCH,
            lr=RATES[arguments.strategy], head_lr=RATES[arguments.strategy],
            precision=native(), warmup=WARMUP, weight_decay=DECAY, max_length=128, seed=seed,
            guard=False, eval_every=10**6, out=f"{folder}/run",
        )  # fmt: skip
    return result.last["accuracy"]


def trainer(arguments: argparse.Namespace, seed: int) -> float:
    """Return the accuracy of Trainer."""
    import numpy as np
    import transformers
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = model(tiny=arguments.tiny)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    transformers.set_seed(seed)
    network = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    if arguments.strategy == "lora":
        from peft import LoraConfig, get_peft_model

        targets = ["query", "key", "value", "attention.output.dense"]  # as ours, and the scale
        options = LoraConfig("SEQ_CLS", r=8, lora_alpha=16, target_modules=targets)
        network = get_peft_model(network, options)

    def encoded(table: Any) -> list[dict[str, Any]]:
        ids = tokenizer(list(table["text"]), truncation=True, max_length=128)["input_ids"]
        return [{"input_ids": i, "labels": y} for i, y in zip(ids, table["label"], strict=True)]

    train, validation = map(encoded, tables(arguments))
    with tempfile.TemporaryDirectory() as out:
        settings = transformers.TrainingArguments(
            out, per_device_train_batch_size=BATCH, per_device_eval_batch_size=128, seed=seed,
            num_train_epochs=arguments.epochs, use_cpu=True, report_to=[], save_strategy="no",
            logging_strategy="no", disable_tqdm=True, bf16=native() == "bf16",
            optim="adamw_torch_fused",
            learning_rate=RATES[arguments.strategy], warmup_steps=WARMUP, weight_decay=DECAY,
            adam_beta2=0.98, adam_epsilon=1e-6, train_sampling_strategy="group_by_length",
        )  # fmt: skip
        runner = transformers.Trainer(
            model=network, args=settings, train_dataset=train, eval_dataset=validation,
            data_collator=transformers.DataCollatorWithPadding(tokenizer),
        )  # fmt: skip
        runner.train()
        found = runner.predict(validation)
    return float(np.mean(found.predictions.argmax(axis=1) == found.label_ids))


def every_seed(arguments: argparse.Namespace, measure: Callable[..., float]) -> dict[str, float]:
    """Measure one side for every seed."""
    scores = [100 * measure(arguments, seed) for seed in range(arguments.seeds)]
    error = 100 - sum(scores) / len(scores)
    return {"error": error, **{f"seed {n}": score for n, score in enumerate(scores)}}


def compare(ours: dict[str, float], theirs: dict[str, float]) -> str:
    """Return the difference of accuracies in words."""
    import numpy as np
    from scipy import stats

    seeds = [name for name in ours if name.startswith("seed")]
    a, b = (np.array([side[name] for name in seeds]) for side in (ours, theirs))
    mean, spread = float((a - b).mean()), float((a - b).std(ddof=1) / len(seeds) ** 0.5)
    reach = float(stats.t.ppf(0.975, len(seeds) - 1)) * spread
    sides = f"{a.mean():.1f} ± {a.std(ddof=1):.1f} and {b.mean():.1f} ± {b.std(ddof=1):.1f}"
    return f"{sides}; difference {mean:+.2f}, 95 % from {mean - reach:+.2f} to {mean + reach:+.2f}"


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--strategy", choices=RATES, default="full")
    options.add_argument("--rows", type=int, default=1000)
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--seeds", type=int, default=10)
    arguments = options.parse_args()
    if arguments.tiny:
        arguments.rows, arguments.epochs, arguments.seeds = 64, 1, 2
    arguments.rounds = 1
    sides = {
        "headstart": lambda a: every_seed(a, ours),
        "Trainer": lambda a: every_seed(a, trainer),
    }
    medians = run(arguments, sides, "headstart", "error")
    if len(medians) == 2:
        print("\n" + compare(medians["headstart"], medians["Trainer"]))


if __name__ == "__main__":
    main()
