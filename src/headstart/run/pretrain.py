"""Stage 1 alone, on a model and a tokenised data set of the user's own."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import numpy as np

from headstart.config import FitConfig
from headstart.data.encode import Encoded, Padding
from headstart.errors import ConfigError, DataError
from headstart.models.backbone import SplitModel
from headstart.run.listener import Listener
from headstart.run.settings import optimizer_settings
from headstart.run.stages import Materials, Options, StagePlan, StrategyRunner
from headstart.strategies.plan import lengths
from headstart.strategies.presets import get_preset
from headstart.strategies.stages import Strategy
from headstart.tasks.metrics import default_metrics
from headstart.training.evaluate import Judge
from headstart.training.feed import EncodedFeed, PartFeed
from headstart.training.runtime import Runtime
from headstart.training.stopping import chance_loss
from headstart.tuners import TUNERS
from headstart.tuners._bind import read_strategy

NEVER = 10**9
SHOWN_ROWS = 256


def pretrain(
    split: SplitModel,
    dataset: Iterable[Mapping[str, Any]],
    line: str,
    *,
    label_column: str,
    epochs: float | None,
    batch_size: int,
    lr: float | None,
    head_lr: float | None,
    seed: int,
    device: str,
) -> None:
    """Train the head in place; see ``headstart.pretrain_head``.

    Args:
        split: The model.
        dataset: Tokenised rows.
        line: One stage in the strategy notation.
        label_column: Name of the label.
        epochs: Length; until the head has learned if ``None``.
        batch_size: Rows per optimizer step.
        lr: Learning rate of the tuner.
        head_lr: Learning rate of the head.
        seed: The seed.
        device: Where to compute.

    Raises:
        ConfigError: If the line has more than one stage.
    """
    strategy = read_strategy(f"{line} > full")
    if len(strategy.stages) != 2:
        raise ConfigError("one tuner, for example lora(r=16)", repr(line), "Name a single stage.")
    changes = {"epochs": epochs, "lr": lr, "head_lr": head_lr}
    given = {key: value for key, value in changes.items() if value is not None}
    strategy = Strategy((strategy.with_stage(0, **given).stages[0], strategy.stages[1]))
    encoded = encode_dataset(dataset, label_column, pad=_pad_token(split))
    runtime = Runtime(device)
    with _as_it_was(split):
        runner = _runner(split, strategy, encoded, batch_size, seed, runtime)
        runner.run(stages=1)
    for note in runner.guard_notes:
        warnings.warn(f"headstart: {note}", stacklevel=3)


def _runner(
    split: SplitModel,
    strategy: Strategy,
    encoded: Encoded,
    batch_size: int,
    seed: int,
    runtime: Runtime,
) -> StrategyRunner:
    labels = encoded.labels
    if labels is None:
        raise RuntimeError("encode_dataset reads the labels")
    outputs = int(cast(Any, split.model.config).num_labels)
    classes = 0 if labels.dtype.kind == "f" else outputs
    if classes and int(labels.max()) >= classes:
        raise DataError(
            f"class indices below {classes}, the model's number of classes",
            f"{int(labels.max())}",
            "Load the model with a larger num_labels.",
        )
    preset = get_preset("default")
    numbers = lengths(strategy, rows=len(encoded), batch_size=batch_size, epochs=preset.epochs)
    size = sum(p.numel() for p in split.backbone.values())
    plans = tuple(
        StagePlan(
            stage,
            length,
            optimizer_settings(
                stage, TUNERS.get(stage.trains), FitConfig(), preset, size, last=number == 1
            ),
        )
        for number, (stage, length) in enumerate(zip(strategy.stages, numbers, strict=True))
    )
    feed = EncodedFeed(encoded, runtime.device)
    few = np.arange(min(len(encoded), SHOWN_ROWS))
    metrics = default_metrics("classes" if classes else "number")
    materials = Materials(
        split, feed, PartFeed(feed, few), labels, Judge(labels[few], metrics), outputs,
        chance_loss(labels, classes),
    )  # fmt: skip
    options = Options(seed=seed, batch_size=batch_size, eval_every=NEVER)
    return StrategyRunner(strategy, plans, materials, options, runtime, Listener())


def encode_dataset(dataset: Iterable[Mapping[str, Any]], label_column: str, pad: int) -> Encoded:
    """Lay out rows that the user has tokenised.

    Args:
        dataset: Rows with ``input_ids``, further inputs of the same length, and the label.
        label_column: Name of the label; ``labels`` is understood too.
        pad: The padding token.

    Returns:
        The rows, with labels.

    Raises:
        DataError: If there are no rows, or a row lacks tokens or label.
    """
    rows = [dict(row) for row in dataset]
    if not rows:
        raise DataError("tokenised rows", "none", "Give a data set with rows.")
    label = label_column if label_column in rows[0] else "labels"
    for name in ("input_ids", label):
        if name not in rows[0]:
            raise DataError(
                f"rows with input_ids and {label_column}",
                f"columns {', '.join(sorted(rows[0]))}",
                "Tokenise the rows first, and name the label by label_column=…",
            )
    tokens = [np.asarray(row["input_ids"], np.int32) for row in rows]
    sizes = np.array([len(t) for t in tokens], np.int64)
    features = {"input_ids": np.concatenate(tokens)}
    if "token_type_ids" in rows[0]:
        kinds = [np.asarray(row["token_type_ids"], np.int32) for row in rows]
        features["token_type_ids"] = np.concatenate(kinds)
    answers = np.asarray([row[label] for row in rows])
    number = answers.dtype.kind == "f"
    return Encoded(
        features=features,
        starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]),
        lengths=sizes,
        truncated=np.zeros(len(rows), np.bool_),
        padding=Padding({"input_ids": pad, "token_type_ids": 0}),
        labels=answers.astype(np.float64) if number else answers.astype(np.int64),
    )


def _pad_token(split: SplitModel) -> int:
    pad = getattr(split.model.config, "pad_token_id", None)
    return int(pad) if pad is not None else 0


@contextlib.contextmanager
def _as_it_was(split: SplitModel) -> Iterator[None]:
    """Give the model back in its mode, on its device, with the same parameters trainable."""
    model = split.model
    training, device = model.training, next(model.parameters()).device
    trainable = [(p, p.requires_grad) for p in model.parameters()]
    try:
        yield
    finally:
        for parameter, wanted in trainable:
            parameter.requires_grad_(wanted)
            parameter.grad = None
        model.train(training).to(device)
