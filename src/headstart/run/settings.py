"""What the user left open, filled in from the preset, the task, the tuner and the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headstart.config import FitConfig
from headstart.errors import ConfigError, NotationError
from headstart.models.encoders import encoder_loader, has_decoder
from headstart.models.headfile import Head
from headstart.models.heads import EncoderClassifier
from headstart.models.model_config import load_config
from headstart.models.sentence import sentence_pooling
from headstart.models.source import find_model, locate
from headstart.run.stages.types import Options, StagePlan
from headstart.strategies.plan import Length
from headstart.strategies.presets import Preset, fine_tuning_rate, get_preset
from headstart.strategies.stages import Stage, Strategy
from headstart.tasks.spec import TaskSpec
from headstart.techniques import TECHNIQUES
from headstart.training.optim import OptimizerSettings
from headstart.tuners import TUNERS
from headstart.tuners._base import Tuner

OWN_CLASS = EncoderClassifier.__name__


@dataclass(frozen=True)
class Choices:
    """Numbers that hold for a whole run.

    Args:
        preset: The preset with the user's and the task's values put in.
        epochs: Epochs of fine-tuning, or ``total_epochs``'s if that is given.
        total_epochs: Epochs of all stages together, or ``None``.
        share: Share of the total for stages before the last, where they carry no length.
        head: Kind of head.
        pooling: What the head reads.
        sentence: Whether the model was made for sentence vectors, and that decided the head.
    """

    preset: Preset
    epochs: float
    total_epochs: float | None
    share: float | None
    head: str
    pooling: str
    sentence: bool = False


def choose(config: FitConfig, task: TaskSpec, *, look: bool = False) -> Choices:
    """Decide what the user left open.

    Args:
        config: The settings.
        task: The task; the paper's preset takes its epochs from it.
        look: Whether to look at the model, which must be there: one that was made for sentence
            vectors decides the head.

    Returns:
        The numbers of the run.
    """
    preset = get_preset(config.preset)
    total = config.total_epochs
    if config.preset == "paper" and task.paper_epochs and not (config.epochs or total):
        # The paper counts both stages together; a tenth of them is stage 1.
        total = float(task.paper_epochs)
    given = {
        name: value
        for name in ("batch_size", "max_length", "weight_decay", "clip", "warmup")
        if (value := getattr(config, name)) is not None
    }
    spans = task.span_use == "vectors" and bool(task.spans)
    pooled = _sentence_pooling(config, task, preset) if look else None
    alone = look and not pooled and not spans and _encoder_alone(config, preset)
    linear = bool(pooled) or alone
    head = config.head_type or ("span" if spans else "linear" if linear else preset.head)
    first = "mean" if alone else "first" if spans or head != "native" else "native"
    pooling = config.pooling or pooled or first
    epochs = config.epochs or preset.epochs
    made = replace(preset, **given)
    return Choices(made, epochs, total, preset.share, head, pooling, bool(pooled))


def with_enough_steps(choices: Choices, config: FitConfig, rows: int) -> Choices:
    """Give fine-tuning more epochs where the rows are so few that it would be starved of steps.

    Args:
        choices: The numbers of the run.
        config: The settings; a length that the user gave stays.
        rows: Training rows.

    Returns:
        The numbers of the run.
    """
    preset = choices.preset
    if config.epochs or choices.total_epochs:
        return choices
    wanted = preset.least_steps / math.ceil(rows / preset.batch_size)
    return replace(choices, epochs=max(choices.epochs, min(wanted, preset.most_epochs)))


def _sentence_pooling(config: FitConfig, task: TaskSpec, preset: Preset) -> str | None:
    """Return what a model for sentence vectors pools, where no other head is asked for.

    A head that is given decides its own form, and so do tasks whose head reads more than one text.
    """
    open_ = config.head_type is None and config.pooling is None and preset.head == "native"
    if not open_ or task.shape == "choice" or task.spans:
        return None
    name = find_model(config.model)
    pooled = sentence_pooling(name if Path(name).is_dir() else locate(name))
    if pooled and config.head and Head.from_pretrained(config.head).model_class != OWN_CLASS:
        return None
    return pooled


def _encoder_alone(config: FitConfig, preset: Preset) -> bool:
    """Return whether the model's family has a decoder too, which only a head of ours does without.

    Its encoder was not trained to gather a text in the first token, so a mean is read.
    """
    if config.head_type is not None or config.pooling is not None or preset.head != "native":
        return False
    found = load_config(locate(config.model), trust_remote_code=config.trust_remote_code)
    return has_decoder(found) and encoder_loader(found) is not None


def unused_settings(config: FitConfig, strategy: Strategy) -> list[NotationError]:
    """Return settings of the last stage that its own line overrules.

    Args:
        config: The settings.
        strategy: The stages that will run.

    Returns:
        One error for each; it points into the line.
    """
    last = strategy.stages[-1]
    own = {"epochs": _length_name(strategy), "lr": "lr", "head_lr": "head_lr"}
    return [
        NotationError(
            config.strategy, *last.places.get(name, last.place),
            f"{name} of the last stage, or --{option.replace('_', '-')}", "both",
            "Keep the one that you mean.",
        )
        for option, name in own.items()
        if name and getattr(config, option) is not None and getattr(last, name) is not None
    ]  # fmt: skip


def _length_name(strategy: Strategy) -> str | None:
    """Return what the last stage's line gives as its length, if that makes ``epochs`` unused."""
    last = strategy.stages[-1]
    if any(stage.share is not None for stage in strategy.stages):
        return None
    return next((name for name in ("epochs", "steps") if getattr(last, name) is not None), None)


def resolved(config: FitConfig, choices: Choices, strategy: Strategy, max_length: int) -> FitConfig:
    """Write what was decided into the settings, so that they repeat the run by themselves.

    Args:
        config: The settings as given.
        choices: The numbers of the run.
        strategy: The stages that will run.
        max_length: Longest input in tokens.

    Returns:
        Settings in which only the stages' own learning rates may still be open.
    """
    preset = choices.preset
    decided = {
        "total_epochs": choices.total_epochs,
        "epochs": None if choices.total_epochs or _length_name(strategy) else choices.epochs,
        "validation_share": config.held_out_share,
        "head_type": choices.head,
        "pooling": choices.pooling,
        "max_length": max_length,
        **{k: getattr(preset, k) for k in ("batch_size", "weight_decay", "clip", "warmup")},
    }
    return config.model_copy(update=decided)


def require_use(config: FitConfig, strategy: Strategy) -> None:
    """Refuse a setting that no stage has a use for.

    Args:
        config: The settings.
        strategy: The stages that will run.

    Raises:
        ConfigError: If activations shall be computed twice where none are kept, or the update shall
            be elsewhere than a technique that acts inside it.
    """
    frozen = all(TUNERS.get(stage.trains).frozen_features for stage in strategy.stages)
    if config.gradient_checkpointing and frozen:
        raise ConfigError(
            "--gradient-checkpointing beside a stage that trains the backbone",
            strategy.name,
            "Drop it: a frozen backbone keeps no activations.",
        )
    inside = [
        addition.name
        for stage in strategy.stages
        for addition in stage.techniques
        if TECHNIQUES.get(addition.name).updates
    ]
    if config.offload_optimizer and inside:
        raise ConfigError(
            f"an update where the parameters are, beside {inside[0]}",
            "--offload-optimizer",
            f"Drop it, or {inside[0]}, which acts inside the update.",
        )


def stage_options(config: FitConfig, choices: Choices, stages: Sequence[StagePlan]) -> Options:
    """Gather what holds for every stage.

    Args:
        config: The settings.
        choices: The numbers of the run.
        stages: The stages, decided.

    Returns:
        The options.
    """
    return Options(
        seed=config.seed,
        batch_size=choices.preset.batch_size,
        micro_batch_size=config.micro_batch_size,
        eval_every=config.eval_every,
        guard=config.guard,
        budget=total_steps(choices, stages),
        select=config.select,
        gradient_checkpointing=config.gradient_checkpointing,
    )


def total_steps(choices: Choices, stages: Sequence[StagePlan]) -> int | None:
    """Return the steps of all stages together.

    Args:
        choices: The numbers of the run.
        stages: The stages, decided.

    Returns:
        The steps; ``None`` where no total was asked for.
    """
    shared = choices.total_epochs or any(plan.stage.share for plan in stages)
    return sum(plan.length.steps for plan in stages) if shared else None


def plan_stages(
    strategy: Strategy,
    numbers: Sequence[Length],
    config: FitConfig,
    preset: Preset,
    backbone: int,
) -> tuple[StagePlan, ...]:
    """Decide everything about each stage.

    Args:
        strategy: The stages.
        numbers: Their lengths.
        config: The settings.
        preset: The preset with the user's values put in.
        backbone: Numbers in the backbone.

    Returns:
        One plan for each stage.
    """
    return tuple(
        StagePlan(
            stage,
            length,
            optimizer_settings(
                stage, TUNERS.get(stage.trains), config, preset, backbone,
                last=stage is strategy.stages[-1],
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
    last: bool,
    solved: bool = False,
) -> OptimizerSettings:
    """Decide a stage's learning rates and constants.

    In falling order of precedence: the stage's own line, ``--lr`` and ``--head-lr`` (last stage
    only), the preset, the tuner's default.

    Args:
        stage: The stage.
        tuner: Its tuner.
        config: The settings.
        preset: The preset with the user's values put in.
        backbone: Numbers in the backbone.
        last: Whether this is the last stage.
        solved: Whether a stage of the strategy fits the head to its optimum.

    Returns:
        The optimizer's settings.
    """
    rate, head_rate = preset.rates.get(stage.trains, (tuner.lr, tuner.head_lr))
    if tuner.rate_follows_size and stage.trains not in preset.rates:
        scale = fine_tuning_rate(backbone, solved=solved) / fine_tuning_rate(0)
        rate, head_rate = rate * scale, head_rate * scale
    lr = stage.lr or (config.lr if last else None) or rate
    head_lr = stage.head_lr or (config.head_lr if last else None) or head_rate
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
