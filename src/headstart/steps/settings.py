"""Step 1: what the user left open, filled in from the preset, the task and the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from headstart.config import FitConfig
from headstart.errors import ConfigError, NotationError, raise_all
from headstart.inputs import INPUTS
from headstart.inputs.text.longtexts import require_windows
from headstart.models.checkpoints.encoders import encoder_loader, has_decoder
from headstart.models.checkpoints.model_config import load_config
from headstart.models.checkpoints.sentence import sentence_pooling
from headstart.models.checkpoints.source import find_model, locate
from headstart.models.headfile import Head
from headstart.models.heads import EncoderClassifier
from headstart.models.kinds import MODEL_CLASSES
from headstart.steps.types import Hyperparameters, RunSettings
from headstart.strategies.presets import Preset, get_preset
from headstart.strategies.stages import Strategy
from headstart.tasks.builtin import get_task
from headstart.tasks.metrics import canonical_names, metric_faults
from headstart.tasks.spec import TaskSpec
from headstart.tasks.userfile import from_columns
from headstart.techniques import TECHNIQUES
from headstart.techniques._base import trains_head
from headstart.tuners import TUNERS
from headstart.tuners._bind import bind_techniques, read_strategy, trains_head_alone

OWN_CLASS = EncoderClassifier.__name__


def decide_settings(config: FitConfig) -> RunSettings:
    """Decide what the user left open, and refuse settings that contradict one another.

    Raises ``HeadstartError`` if a setting is at fault, or the model is not there.
    """
    strategy, task, warnings = read_strategy(config.strategy), find_task(config), []
    hyperparameters = decide_hyperparameters(config, task, look=True)
    if config.takes_whole_head and strategy.hands_on_a_head:
        kept = Strategy(strategy.stages[strategy.main :])
        strategy = replace(kept, line=kept.name)
        warnings.append(f"The head is given, so no stage runs before fine-tuning: {strategy.name}.")
    raise_all(unused_settings(config, strategy))
    if config.long_texts == "windows":
        require_windows(task)
    _require_heard(config, task)
    require_use(config, strategy)
    return RunSettings(config, task, strategy, hyperparameters, warnings=tuple(warnings))


def _require_heard(config: FitConfig, task: TaskSpec) -> None:
    """Refuse settings of rows that their kind of input has no use for.

    Raises ``ConfigError`` if there are any.
    """
    kind = INPUTS.get(task.shape)
    texts, as_is = "input_ids" in MODEL_CLASSES[kind.model].inputs, "which are read as they are"
    table = (
        (not config.augment and not kind.augments, "--no-augment",
         "rows that are changed at random in training", as_is, ""),
        (config.max_seconds is not None and not kind.lasts, "--max-seconds", "sound",
         "without a length in seconds", ""),
        (config.max_length is not None and not texts, "--max-length", "texts",
         "without a length in tokens", " Use --max-seconds." if kind.lasts else ""),
    )  # fmt: skip
    raise_all(
        ConfigError(f"{wanted}, for {option}", f"{kind.noun}, {why}", f"Drop {option}.{instead}")
        for wrong, option, wanted, why, instead in table
        if wrong
    )


def default_out(config: FitConfig) -> Path:
    """Return the folder of a run whose user named none: ``runs/<data>-<strategy>-seed<n>``."""
    name = f"{source_name(config, find_task(config))}-{config.strategy}-seed{config.seed}"
    clean = "".join(c if c.isalnum() or c in "-_.=" else "-" for c in name)
    while "--" in clean:
        clean = clean.replace("--", "-")
    return Path("runs") / clean.strip("-")


def with_task(settings: RunSettings, task: TaskSpec) -> RunSettings:
    """Decide anew what depends on the kind of input, where the labels have told another one."""
    if task.shape == settings.task.shape:
        return settings
    hyperparameters = decide_hyperparameters(settings.config, task, look=True)
    return replace(settings, task=task, hyperparameters=hyperparameters)


def decide_hyperparameters(
    config: FitConfig, task: TaskSpec, *, look: bool = False
) -> Hyperparameters:
    """Decide what the user left open.

    The paper's preset takes its epochs from the task. With ``look`` the model, which must be there,
    may decide the head: one that was made for sentence vectors does.
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
    kind = INPUTS.get(task.shape)
    texts = "input_ids" in MODEL_CLASSES[kind.model].inputs
    alone = look and texts and not pooled and not spans and _encoder_alone(config, preset)
    linear = bool(pooled) or alone
    head = config.head_type or ("span" if spans else "linear" if linear else preset.head)
    own = "mean" if alone else kind.pooling
    first = own if spans or head != "native" else "native"
    pooling = config.pooling or pooled or first
    epochs = config.epochs or preset.epochs
    made = replace(preset, **given)
    return Hyperparameters(made, epochs, total, preset.share, head, pooling, bool(pooled))


def _sentence_pooling(config: FitConfig, task: TaskSpec, preset: Preset) -> str | None:
    """Return what a model for sentence vectors pools, where no other head is asked for.

    A head that is given decides its own form, and so do tasks whose head reads more than one text.
    """
    open_ = config.head_type is None and config.pooling is None and preset.head == "native"
    if not open_ or not INPUTS.get(task.shape).sentence_vectors or task.spans:
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
    """Return an error for each setting that the strategy's line overrules; it points there."""
    last = strategy.stages[strategy.main]
    own = {"epochs": strategy.length_name, "lr": "lr", "head_lr": "head_lr"}
    shares = [
        NotationError(
            config.strategy, *stage.places.get("share", stage.place), "--budget or a share", "both",
            "The one counts seconds, the other steps of all stages. Drop one.",
        )
        for stage in strategy.stages
        if config.budget and stage.share is not None
    ]  # fmt: skip
    unheard = [
        NotationError(config.strategy, *last.place, f"a stage that trains {part}, for {option}",
                      str(last), fix)
        for part, option, fix, idle in (
            ("the head", "--head-lr", "Drop --head-lr.",
             config.head_lr is not None and not trains_head(bind_techniques(last))),
            ("more than the head", "--lr", "Write --head-lr, which is the rate of the head.",
             config.lr is not None and trains_head_alone(last)),
        )
        if idle
    ]  # fmt: skip
    return shares + unheard + [
        NotationError(
            config.strategy, *last.places.get(name, last.place),
            f"{name} of {last.trains}, or --{option.replace('_', '-')}", "both",
            "Keep the one that you mean.",
        )
        for option, name in own.items()
        if name and getattr(config, option) is not None
        and (option == "epochs" or getattr(last, name) is not None)
    ]  # fmt: skip


def require_use(config: FitConfig, strategy: Strategy) -> None:
    """Refuse a setting that no stage has a use for.

    Raises ``ConfigError`` if activations shall be computed twice where none are kept, or the update
    shall be elsewhere than a technique that acts inside it.
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


def find_task(config: FitConfig) -> TaskSpec:
    """Return the task that the settings describe, built in or made of the user's columns.

    The target of user columns may still be open.
    """
    if config.task:
        task = get_task(config.task)
        if config.label:
            task = replace(task, label=config.label, label_columns=())
        if config.metrics:
            chosen = canonical_names(config.metrics)
            raise_all(metric_faults(chosen, task.target))
            return replace(task, metrics=chosen)
        return task
    return from_columns(
        config.text,
        config.label or "label",
        image=config.image,
        audio=config.audio,
        choices=config.choices,
        span=config.span,
        target=config.target,
        label_columns=config.label_columns,
        label_separator=config.label_separator,
        metrics=config.metrics or None,
    )


def source_name(config: FitConfig, task: TaskSpec) -> str:
    """Return a short name for the data: the task's, or the training file's stem."""
    return Path(config.train).stem if config.train and not config.task else task.name
