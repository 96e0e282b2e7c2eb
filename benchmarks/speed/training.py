"""Time of a training step: Hugging Face's Trainer against ``headstart fit``, same rows and batch.

Useful GFLOP/s are 6 x non-embedding parameters x tokens without padding / seconds; the first three
steps are not counted. ``matmul`` is what the machine reaches on one product of this size.
headstart, the tuned Trainer and the product use bf16 where the processor multiplies it natively,
else fp32.
Both sides go through the same rows the same number of times, for Trainer's grouping begins with the
longest, and the first batch of each length takes longer on either side.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from typing import Any

from _rows import LONGEST, model, rows
from _turns import native, parser, run

BATCH, SKIPPED = 32, 3


def ours(
    arguments: argparse.Namespace, *, folder: str = "", batch: int = BATCH, **settings: Any
) -> dict[str, float]:
    """Train with headstart: the demo's encoder, or one in a folder."""
    import headstart as hs

    ends: list[float] = []

    class Clock(hs.Callback):
        def step(self, step: int, loss: float) -> None:  # noqa: ARG002
            ends.append(time.perf_counter())

    table = rows(arguments.length, arguments.rows, tiny=arguments.tiny)
    with tempfile.TemporaryDirectory() as place:
        result = hs.fit(
            model=folder or model(tiny=arguments.tiny), train=table, validation=table.head(8),
            text="text", strategy=f"{arguments.strategy}(steps={arguments.steps})",
            batch_size=batch, max_length=LONGEST[arguments.length], eval_every=10**6, guard=False,
            out=f"{place}/run", callback=Clock(), **settings,
        )  # fmt: skip
    stage = result.stages[0]
    size = 0 if arguments.tiny else 10_600_000
    return _figures(ends[: stage.steps], stage.tokens / stage.steps, size, batch)


def trainer(
    arguments: argparse.Namespace, *, tuned: bool, folder: str = "", batch: int = BATCH
) -> dict[str, float]:
    """Train with Trainer: native precision, grouping, fused AdamW if tuned, else its defaults."""
    import transformers
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = folder or model(tiny=arguments.tiny)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    table = rows(arguments.length, arguments.rows, tiny=arguments.tiny)
    longest = LONGEST[arguments.length]
    encoded = tokenizer(list(table["text"]), truncation=True, max_length=longest)["input_ids"]
    data = [{"input_ids": i, "labels": y} for i, y in zip(encoded, table["label"], strict=True)]
    network = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    if arguments.strategy == "lora":
        from peft import LoraConfig, get_peft_model

        targets = ["query", "key", "value", "attention.output.dense"]  # as ours
        network = get_peft_model(network, LoraConfig("SEQ_CLS", r=8, target_modules=targets))
    elif arguments.strategy == "bitfit":
        for name, parameter in network.named_parameters():
            parameter.requires_grad = name.endswith("bias") or name.startswith("classifier")
    elif arguments.strategy == "head":
        for name, parameter in network.named_parameters():
            parameter.requires_grad = name.startswith("classifier")
    ends: list[float] = []
    tokens: list[int] = []

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            ends.append(time.perf_counter())

    pad = transformers.DataCollatorWithPadding(tokenizer)

    def collate(batch: list[dict[str, object]]) -> object:
        made = pad(batch)
        tokens.append(int(made["attention_mask"].sum()))
        return made

    tuning = {
        "bf16": native() == "bf16",
        "optim": "adamw_torch_fused",
        "train_sampling_strategy": "group_by_length",
    }
    with tempfile.TemporaryDirectory() as out:
        settings = transformers.TrainingArguments(
            out, per_device_train_batch_size=batch, max_steps=arguments.steps, use_cpu=True,
            report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
            **(tuning if tuned else {}),
        )  # fmt: skip
        transformers.Trainer(
            model=network, args=settings, train_dataset=data, data_collator=collate,
            callbacks=[Clock()],
        ).train()  # fmt: skip
    counted = tokens[SKIPPED : arguments.steps]
    size = 0 if arguments.tiny else 10_600_000
    return _figures(ends, sum(counted) / len(counted), size, batch)


def matmul(arguments: argparse.Namespace) -> dict[str, float]:
    """Measure a product as large as a layer's on a batch."""
    import statistics

    import torch

    count = BATCH * (4 if arguments.tiny else {"short": 28, "long": 208}[arguments.length])
    kind = {"bf16": torch.bfloat16, "fp32": torch.float32}[native()]
    x, w = torch.randn(count, 384).to(kind), torch.randn(384, 1536).to(kind)
    times = []
    for _ in range(60):
        began = time.perf_counter()
        x @ w
        times.append(time.perf_counter() - began)
    return {"gflops": 2 * x.numel() * w.shape[1] / statistics.median(times[10:]) / 1e9}


def _figures(ends: list[float], tokens: float, parameters: int, batch: int) -> dict[str, float]:
    seconds = (ends[-1] - ends[SKIPPED - 1]) / (len(ends) - SKIPPED)
    rate = 6 * parameters * tokens / seconds / 1e9
    # A step's tokens differ between the sides, so the ratio is that of times for a token.
    return {
        "ms_step": 1e3 * seconds, "us_token": 1e6 * seconds / tokens, "tokens_row": tokens / batch,
        **({"gflops": rate} if parameters else {}),
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--length", choices=LONGEST, default="short")
    options.add_argument("--strategy", choices=("full", "bitfit", "lora", "head"), default="full")
    options.add_argument("--rows", type=int, default=1600)
    options.add_argument("--epochs", type=int, default=3)
    arguments = options.parse_args()
    arguments.rows = 4 * BATCH if arguments.tiny else arguments.rows
    arguments.steps = arguments.rows // BATCH * arguments.epochs
    sides = {
        "headstart": ours,
        "tuned Trainer": lambda a: trainer(a, tuned=True),
        "default Trainer": lambda a: trainer(a, tuned=False),
        "matmul": matmul,
    }
    run(arguments, sides, "headstart", "us_token")


if __name__ == "__main__":
    main()
