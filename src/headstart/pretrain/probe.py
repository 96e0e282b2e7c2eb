"""Linear probes of several seeds and learning rates, all trained at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headstart.config import FitConfig
from headstart.errors import ConfigError, HeadstartError, raise_all
from headstart.steps.model import fresh_head, load_model
from headstart.steps.rows import Frames, read_rows
from headstart.steps.settings import decide_settings, with_task
from headstart.steps.types import Hyperparameters, gold_labels
from headstart.steps.undefined import require_score
from headstart.training.evaluate import Judge
from headstart.training.frozen.features import frozen_features
from headstart.training.frozen.probe import probe_logits, train_heads
from headstart.training.loader import ExamplesLoader
from headstart.training.machine.precision import settle_precision
from headstart.training.machine.runtime import Runtime
from headstart.training.optim import OptimizerSettings

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

    The seed of ``config`` splits and samples the rows; ``frames`` are rows that are already there,
    by split. Raises ``ConfigError`` if a setting has no meaning here, or the features cannot be
    kept.
    """
    raise_all(_faults(config, seeds, rates))
    settings = decide_settings(config.model_copy(update={"strategy": "head"}))
    splits = read_rows(config, settings.task, frames)
    settings = with_task(settings, splits.task)
    require_score(splits, "heads that are compared by it")
    loaded = load_model(settings, splits)
    runtime = Runtime(config.device, config.precision, config.threads)
    model, encoded = loaded.model, loaded.encoded
    model.train_only({})
    model.model.to(runtime.device)
    starts = [
        fresh_head(model, splits, loaded.preprocessor, config.head_init, seed) for seed in seeds
    ]
    loaders = [ExamplesLoader(rows, runtime.device) for rows in (encoded.train, encoded.validation)]
    settle_precision(model, loaders, runtime, training=False)
    kind, numbers = splits.kind, settings.hyperparameters
    judge = Judge(kind, gold_labels(encoded.validation), splits.task.metrics)
    with frozen_features(model, list(loaders), runtime) as stored:
        if stored is None:
            raise ConfigError(
                "an encoder whose features can be kept",
                "too many of them, or a head that reads more than they hold",
                "Use headstart fit --strategy head, with fewer or shorter rows.",
            )
        heads = train_heads(
            model, stored[0], starts, seeds, rates, kind, steps=_steps(len(encoded.train), numbers),
            batch_size=numbers.preset.batch_size, settings=_optimizer(numbers),
        )  # fmt: skip
        logits = probe_logits(model, stored[1], heads, kind.outputs)
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


def _steps(rows: int, numbers: Hyperparameters) -> int:
    per_epoch = math.ceil(rows / numbers.preset.batch_size)
    return max(1, round(numbers.epochs * per_epoch))


def _optimizer(numbers: Hyperparameters) -> OptimizerSettings:
    preset = numbers.preset
    return OptimizerSettings(
        0.0, 0.0, preset.weight_decay, preset.betas, preset.eps, preset.clip, preset.warmup
    )
