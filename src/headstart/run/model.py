"""From settings to what a run works on: rows, tokens, model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from headstart.config import FitConfig
from headstart.data.checks import length_warnings
from headstart.data.encode import Encoded, resolve_max_length
from headstart.data.rows import Rows
from headstart.data.tokencache import encode_cached
from headstart.errors import ConfigError, DataError, ModelError
from headstart.imports import without_collection
from headstart.models.backbone import SplitModel
from headstart.models.head_init import initialise_head
from headstart.models.loading import draw_head, load_classifier, load_tokenizer, positions
from headstart.models.model_config import is_decoder
from headstart.models.rescale import require_divisible
from headstart.run.rows import Frames, Splits, read_splits
from headstart.run.settings import Choices
from headstart.tasks.spec import TaskSpec
from headstart.training.seeds import stream
from headstart.untrusted import shown


@dataclass
class Prepared:
    """Everything a run trains with.

    Args:
        splits: The rows.
        split: The model.
        tokenizer: Its tokenizer.
        train: Encoded training rows; numbers standardised.
        validation: Encoded validation rows; numbers standardised.
        untouched: The same for the untouched rows, if there are any.
        max_length: Longest input in tokens.
    """

    splits: Splits
    split: SplitModel
    tokenizer: Any
    train: Encoded
    validation: Encoded
    untouched: Encoded | None
    max_length: int


def prepare(
    config: FitConfig, task: TaskSpec, choices: Choices, frames: Frames | None = None
) -> Prepared:
    """Make ready everything that a run trains with.

    Args:
        config: The settings.
        task: The task.
        choices: The numbers of the run.
        frames: Rows that are already there, by split.

    Returns:
        Rows, model, tokenizer, tokens.
    """
    splits = read_splits(config, task, frames)
    with without_collection():  # transformers imports a model's code when it is first asked for
        split = _load(config, choices, splits)
        model_config: Any = split.model.config
        tokenizer = load_tokenizer(
            config.model, model_config.vocab_size, trust_remote_code=config.trust_remote_code
        )
    longest = resolve_max_length(
        tokenizer, positions(split), config.max_length, default=choices.preset.max_length
    )
    train, validation, untouched = (
        _standardised(encode_cached(rows, tokenizer, longest), splits) if rows is not None else None
        for rows in (splits.train, splits.validation, splits.untouched)
    )
    _require_mask(train, choices.pooling)  # type: ignore[arg-type]
    if is_decoder(model_config):
        # Decoders find a row's last token by the padding token.
        model_config.pad_token_id = train.padding.values["input_ids"]  # type: ignore[union-attr]
    splits.warnings += length_warnings(train, "training rows")  # type: ignore[arg-type]
    return Prepared(splits, split, tokenizer, train, validation, untouched, longest)  # type: ignore[arg-type]


def require_calibratable(config: FitConfig, prepared: Prepared) -> None:
    """Refuse, before any training, what cannot be calibrated after it.

    Args:
        config: The settings.
        prepared: Rows and model.

    Raises:
        HeadstartError: If the target is a number, the held-out rows are of one class only, or the
            head does not end in a linear map.
    """
    splits = prepared.splits
    if splits.labels is None:
        raise ConfigError(
            "--calibrate beside classes",
            "a number as target, which has no probabilities",
            "Drop --calibrate."
            if config.task
            else "Drop --calibrate, or give --target classes if the labels are classes.",
        )
    held_out = gold_labels(prepared.validation)
    if (held_out == held_out[0]).all():
        rows = "row" if len(held_out) == 1 else "rows"
        only = splits.label_names[int(held_out[0])]
        raise DataError(
            "held-out rows of two classes or more to fit the temperature of --calibrate on",
            f"{len(held_out)} {rows}, all {shown(only)} ({splits.origin})",
            "Hold out more rows, or drop --calibrate.",
        )
    require_divisible(prepared.split, splits.target.outputs)


def gold_labels(rows: Encoded | Rows) -> npt.NDArray[Any]:
    """Return the labels of rows that a model is measured on, which always carry some.

    Args:
        rows: The rows, as text or as tokens.

    Returns:
        Class indices or numbers, (n,).
    """
    if rows.labels is None:
        raise RuntimeError("rows that a model is measured on carry labels")
    return rows.labels


def _load(config: FitConfig, choices: Choices, splits: Splits) -> SplitModel:
    return load_classifier(
        config.model,
        splits.target,
        head=choices.head,
        pooling=choices.pooling,
        seed=stream(config.seed, "head"),
        trust_remote_code=config.trust_remote_code,
        dropout=config.dropout,
    )


def pristine_backbone(
    config: FitConfig, choices: Choices, prepared: Prepared
) -> dict[str, torch.Tensor]:
    """Read the checkpoint's backbone again.

    Args:
        config: The settings.
        choices: The numbers of the run.
        prepared: What the run trains with.

    Returns:
        Its parameters and saved buffers by name.
    """
    split = _load(config, choices, prepared.splits)
    return {**split.backbone, **dict(split.buffers())}


def fresh_head(prepared: Prepared, init: str, seed: int) -> dict[str, torch.Tensor]:
    """Draw a head anew, and start its last map as asked for; it is then in the model.

    Args:
        prepared: Model and rows.
        init: ``normal``, ``zero`` or ``labels``.
        seed: The run's seed.

    Returns:
        Copies of the head's tensors by name.
    """
    split = prepared.split
    draw_head(split, stream(seed, "head"))
    initialise_head(split, init, prepared.splits.target, prepared.tokenizer)
    return split.head_state()


def _require_mask(encoded: Encoded, pooling: str) -> None:
    if pooling in ("mean", "attention") and not encoded.attention_mask:
        raise ModelError(
            f"a tokenizer that tells tokens from padding, for --pooling {pooling}",
            "one whose model_input_names have no attention_mask",
            "Use --pooling first, or add attention_mask to the tokenizer's model_input_names.",
        )


def _standardised(encoded: Encoded, splits: Splits) -> Encoded:
    if splits.labels is not None or encoded.labels is None:
        return encoded
    numbers = np.asarray(encoded.labels, np.float64)
    return replace(encoded, labels=(numbers - splits.mean) / splits.scale)
