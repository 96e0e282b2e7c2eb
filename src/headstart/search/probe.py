"""Linear probes of several seeds and learning rates, all trained at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headstart.config import FitConfig
from headstart.errors import ConfigError, HeadstartError, raise_all
from headstart.run.model import Prepared, fresh_head, prepare
from headstart.run.rows import Frames, find_task
from headstart.run.settings import Choices, choose
from headstart.training.evaluate import Judge
from headstart.training.features import frozen_features
from headstart.training.loader import EncodedFeed
from headstart.training.optim import OptimizerSettings
from headstart.training.precision import settle_precision
from headstart.training.probe import probe_logits, train_heads
from headstart.training.runtime import Runtime

UNUSED = (
    "strategy", "total_epochs", "guard", "head", "head_part", "ignore_backbone_mismatch", "lr",
    "head_lr", "micro_batch_size", "dropout", "eval_every", "select", "selection",
    "checkpoint_minutes", "checkpoint_steps", "resume", "overwrite", "out",
    "gradient_checkpointing", "offload_optimizer", "budget",
)  # fmt: skip
"""Settings of a run that say nothing about a probe."""

Scores = list[dict[str, float]]


def run_probe(
    config: FitConfig, seeds: Sequence[int], rates: Sequence[float], frames: Frames | None = None
) -> Scores:
    """Train a head for every seed and learning rate on the frozen backbone; see ``probe``.

    Args:
        config: The settings; its seed splits and samples the rows.
        seeds: Seeds of head and data order.
        rates: Peak learning rates.
        frames: Rows that are already there, by split.

    Returns:
        For each seed and rate both of them, the metrics, ``score`` and ``loss``.

    Raises:
        ConfigError: If a setting has no meaning here, or the features cannot be kept.
    """
    raise_all(_faults(config, seeds, rates))
    task = find_task(config)
    choices = choose(config, task, look=True)
    runtime = Runtime(config.device, config.precision, config.threads)
    prepared = prepare(config, task, choices, frames)
    split, splits = prepared.split, prepared.splits
    split.train_only({})
    split.model.to(runtime.device)
    starts = [fresh_head(prepared, config.head_init, seed) for seed in seeds]
    feeds = [EncodedFeed(rows, runtime.device) for rows in (prepared.train, prepared.validation)]
    settle_precision(split, feeds, runtime, training=False)
    labels = prepared.validation.labels
    if labels is None:
        raise RuntimeError("rows for training carry labels")
    judge = Judge(labels, splits.task.metrics, splits.mean, splits.scale)
    with frozen_features(split, list(feeds), runtime) as stored:
        if stored is None:
            raise ConfigError(
                "an encoder whose features can be kept",
                "too many of them, or a head that reads more than they hold",
                "Use headstart fit --strategy head, with fewer or shorter rows.",
            )
        heads = train_heads(
            split, stored[0], starts, seeds, rates, steps=_steps(prepared, choices),
            batch_size=choices.preset.batch_size, settings=_optimizer(choices),
        )  # fmt: skip
        logits = probe_logits(split, stored[1], heads, max(1, len(splits.label_names)))
    return [
        {"seed": seed, "lr": rate, **judge(logits[i, j])}
        for i, seed in enumerate(seeds)
        for j, rate in enumerate(rates)
    ]


def _faults(
    config: FitConfig, seeds: Sequence[int], rates: Sequence[float]
) -> list[HeadstartError]:
    fields = type(config).model_fields
    found: list[HeadstartError] = [
        ConfigError("settings of rows and head", name, f"Drop {name}: a probe has no use for it.")
        for name in UNUSED
        if getattr(config, name) != fields[name].default
    ]
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        fix = "Give a number of seeds, or a list."
        found.append(ConfigError("different seeds from 0 on", repr(list(seeds)), fix))
    if not rates or not all(math.isfinite(rate) and rate > 0 for rate in rates):
        fix = "Give for example 1e-3 and 1e-2."
        found.append(ConfigError("learning rates above 0", repr(list(rates)), fix))
    return found


def _steps(prepared: Prepared, choices: Choices) -> int:
    per_epoch = math.ceil(len(prepared.train) / choices.preset.batch_size)
    return max(1, round(choices.epochs * per_epoch))


def _optimizer(choices: Choices) -> OptimizerSettings:
    preset = choices.preset
    return OptimizerSettings(
        0.0, 0.0, preset.weight_decay, preset.betas, preset.eps, preset.clip, preset.warmup
    )
