"""Step 3: the model with a head for the task, and the rows as it reads them."""

from __future__ import annotations

import torch

from headstart.config import FitConfig
from headstart.data.examples import Examples
from headstart.errors import ConfigError, DataError
from headstart.imports import without_collection
from headstart.inputs import INPUTS
from headstart.inputs._base import InputSettings, Preprocessor
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.loading import draw_head, load_classifier
from headstart.models.checkpoints.source import quiet
from headstart.models.head_init import initialise_head
from headstart.models.headfile import Head
from headstart.models.rescale import require_divisible
from headstart.steps.types import (
    EncodedSplits,
    Hyperparameters,
    LoadedModel,
    RunSettings,
    Splits,
    gold_labels,
)
from headstart.training.seeds import stream
from headstart.untrusted import shown


def load_model(settings: RunSettings, splits: Splits) -> LoadedModel:
    """Load the model, put a head on it, and turn the rows into what it reads.

    Raises ``HeadstartError`` if model, head and rows do not fit together.
    """
    config, hyperparameters = settings.config, settings.hyperparameters
    # Transformers imports a model's code when it is first asked for.
    with quiet(), without_collection():
        model = read_model(config, hyperparameters, splits)
        preprocessor = INPUTS.get(splits.task.shape).for_training(
            model, splits.target, _input_settings(config, hyperparameters)
        )
    train, validation, untouched = (
        _standardised(preprocessor.encode(rows), splits) if rows is not None else None
        for rows in (splits.train, splits.validation, splits.untouched)
    )
    if train is None or validation is None:
        raise RuntimeError("rows for training and validation are there")
    encoded = EncodedSplits(train, validation, untouched)
    if config.calibrate:
        require_calibratable(config, splits, encoded, model)
    fingerprint, warnings = model.fingerprint(), preprocessor.warnings(train, "training rows")
    if model.unused_head and not config.head:
        warnings.insert(
            0, "The checkpoint's own head is not used; "
            f"give --head {model.unused_head} to start from it.",
        )  # fmt: skip
    _start_head(config, splits, model, preprocessor)

    def pristine() -> dict[str, torch.Tensor]:
        again = read_model(config, hyperparameters, splits)
        return {**again.backbone, **dict(again.buffers())}

    return LoadedModel(model, preprocessor, encoded, fingerprint, pristine, tuple(warnings))


def _input_settings(config: FitConfig, hyperparameters: Hyperparameters) -> InputSettings:
    return InputSettings(
        config.model, config.trust_remote_code, config.max_length,
        hyperparameters.preset.max_length, config.long_texts, config.window_overlap,
        hyperparameters.pooling, config.max_seconds, config.augment,
    )  # fmt: skip


def _start_head(
    config: FitConfig, splits: Splits, model: SplitModel, preprocessor: Preprocessor
) -> None:
    """Load the head that the user gave, or initialise the one that was drawn."""
    ignore = config.ignore_backbone_mismatch
    head = Head.from_pretrained(config.head) if config.head else None
    if head is not None and config.takes_whole_head:
        head.apply(model, splits.kind.names, ignore_backbone=ignore)
        splits.kind.load_units(model)
        return
    if head is not None:
        head.apply_hidden(model, splits.target.outputs, ignore_backbone=ignore)
    # After the hidden layers, which label names go through.
    initialise_head(model, config.head_init, splits.target, preprocessor.tokenizer)


def require_calibratable(
    config: FitConfig, splits: Splits, encoded: EncodedSplits, model: SplitModel
) -> None:
    """Refuse, before any training, what cannot be calibrated after it.

    Raises ``HeadstartError`` if the target has no temperature, the held-out rows are of one class
    only, or the head does not end in a linear map.
    """
    if not splits.kind.calibrates:
        # Numbers alone may have been meant as classes: other labels have names.
        may_be_classes = not config.task and not splits.kind.names
        fix = ", or give --target classes if the numbers are such" if may_be_classes else ""
        raise ConfigError(
            "--calibrate beside one class for each row",
            f"the target {splits.kind.name}, for which no temperature is fitted",
            f"Drop --calibrate{fix}.",
        )
    held_out = gold_labels(encoded.validation)
    if (held_out == held_out[0]).all():
        rows = "row" if len(held_out) == 1 else "rows"
        only = splits.kind.names[int(held_out[0])]
        raise DataError(
            "held-out rows of two classes or more to fit the temperature of --calibrate on",
            f"{len(held_out)} {rows}, all {shown(only)} ({splits.origin})",
            "Hold out more rows, or drop --calibrate.",
        )
    require_divisible(model, splits.target.outputs)


def read_model(config: FitConfig, hyperparameters: Hyperparameters, splits: Splits) -> SplitModel:
    """Read the checkpoint, with a new head for the target."""
    return load_classifier(
        config.model,
        splits.target,
        head=hyperparameters.head,
        pooling=hyperparameters.pooling,
        seed=stream(config.seed, "head"),
        trust_remote_code=config.trust_remote_code,
        dropout=config.dropout,
    )


def fresh_head(
    model: SplitModel, splits: Splits, preprocessor: Preprocessor, init: str, seed: int
) -> dict[str, torch.Tensor]:
    """Draw a head anew, its last map started as asked for; it is then in the model.

    ``init`` is ``normal``, ``zero`` or ``labels``. Returns copies of the head's tensors by name.
    """
    draw_head(model, stream(seed, "head"))
    initialise_head(model, init, splits.target, preprocessor.tokenizer)
    return model.head_state()


def _standardised(examples: Examples, splits: Splits) -> Examples:
    return examples.with_labels(splits.kind.standardise(gold_labels(examples)))
