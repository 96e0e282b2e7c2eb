"""Each stage with everything decided: its length, its learning rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from headstart.config import FitConfig
from headstart.steps.stages.types import StagePlan, TrainingArguments
from headstart.steps.types import Hyperparameters
from headstart.strategies.plan import Length
from headstart.strategies.presets import Preset, fine_tuning_rate
from headstart.strategies.stages import Stage, Strategy
from headstart.techniques._base import trains_head
from headstart.training.optim import OptimizerSettings
from headstart.tuners import TUNERS
from headstart.tuners._base import Tuner
from headstart.tuners._bind import bind_techniques


def with_enough_steps(
    hyperparameters: Hyperparameters, config: FitConfig, rows: int
) -> Hyperparameters:
    """Raise the epochs of fine-tuning where the rows are too few for enough steps.

    A length that the user gave stays.
    """
    preset = hyperparameters.preset
    if config.epochs or hyperparameters.total_epochs:
        return hyperparameters
    wanted = preset.least_steps / math.ceil(rows / preset.batch_size)
    return replace(
        hyperparameters, epochs=max(hyperparameters.epochs, min(wanted, preset.most_epochs))
    )


def stage_options(
    config: FitConfig, hyperparameters: Hyperparameters, stages: Sequence[StagePlan]
) -> TrainingArguments:
    """Gather what holds for every stage."""
    return TrainingArguments(
        seed=config.seed,
        batch_size=hyperparameters.preset.batch_size,
        micro_batch_size=config.micro_batch_size,
        eval_every=config.eval_every,
        guard=config.guard,
        budget=total_steps(hyperparameters, stages),
        select=config.select,
        gradient_checkpointing=config.gradient_checkpointing,
    )


def total_steps(hyperparameters: Hyperparameters, stages: Sequence[StagePlan]) -> int | None:
    """Return the steps of all stages together; ``None`` where no total was asked for."""
    shared = hyperparameters.total_epochs or any(plan.stage.share for plan in stages)
    return sum(plan.length.expected for plan in stages) if shared else None


def plan_stages(
    strategy: Strategy,
    numbers: Sequence[Length],
    config: FitConfig,
    preset: Preset,
    backbone: int,
) -> tuple[StagePlan, ...]:
    """Decide everything about each stage."""
    return tuple(
        StagePlan(
            stage,
            length,
            optimizer_settings(
                stage, TUNERS.get(stage.trains), config, preset, backbone,
                main=stage is strategy.stages[strategy.main],
                solved=any(s.until == "optimum" for s in strategy.stages),
            ),
        )
        for stage, length in zip(strategy.stages, numbers, strict=True)
    )  # fmt: skip


def optimizer_settings(
    stage: Stage,
    tuner: type[Tuner],
    config: FitConfig,
    preset: Preset,
    backbone: int,
    *,
    main: bool,
    solved: bool = False,
) -> OptimizerSettings:
    """Decide a stage's learning rates and constants.

    In falling order of precedence: the stage's own line, ``--lr`` and ``--head-lr`` (main stage
    only), the preset, the tuner's default. ``solved`` says that a stage of the strategy fits the
    head to its optimum.
    """
    rate, head_rate = preset.rates.get(stage.trains, (tuner.lr, tuner.head_lr))
    if tuner.rate_follows_size and stage.trains not in preset.rates:
        still = not trains_head(bind_techniques(stage))
        scale = fine_tuning_rate(backbone, solved=solved, still=still) / fine_tuning_rate(0)
        rate, head_rate = rate * scale, head_rate * scale
    lr = stage.lr or (config.lr if main else None) or rate
    head_lr = stage.head_lr or (config.head_lr if main else None) or head_rate
    return OptimizerSettings(
        lr=lr,
        head_lr=head_lr,
        weight_decay=preset.weight_decay,
        betas=preset.betas,
        eps=preset.eps,
        clip=preset.clip,
        warmup=preset.warmup if stage.warmup is None else stage.warmup,
        offload=config.offload_optimizer,
    )
