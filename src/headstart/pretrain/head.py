"""Stage 1 alone, on a model and a tokenised data set of the user's own."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch

from headstart.config import FitConfig
from headstart.data._faults import row_numbers, some
from headstart.data.labels import LabelMap, Labels
from headstart.data.tokens.encode import Encoded
from headstart.errors import ConfigError, DataError, ModelError
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.loading import positions
from headstart.models.rescale import require_rescalable
from headstart.pretrain.tokenised import class_names_of, encode_dataset
from headstart.steps.callback import Callback
from headstart.steps.stages.plan import plan_stages
from headstart.steps.stages.runner import StrategyRunner
from headstart.steps.stages.types import TrainingArguments, TrainingData
from headstart.strategies.plan import lengths
from headstart.strategies.presets import get_preset
from headstart.strategies.stages import Strategy
from headstart.targets import TARGETS
from headstart.targets._base import TargetKind
from headstart.tasks.metrics import DEFAULTS
from headstart.training.evaluate import Judge
from headstart.training.loader import ExamplesLoader, SubsetLoader
from headstart.training.machine.precision import settle_precision
from headstart.training.machine.runtime import Runtime, accelerate_as_found
from headstart.tuners._bind import read_strategy, trains_head_alone

NEVER = 10**9


class _Silent(Callback):
    """A callback that leaves warnings to the caller."""

    def warning(self, text: str) -> None:
        """Hear something that may spoil the result."""


SHOWN_ROWS = 256
_HALVES = (torch.float16, torch.bfloat16)


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

    Raises ``ConfigError`` if the line has more than one stage.
    """
    changes = {"epochs": epochs, "lr": lr, "head_lr": head_lr}
    given = {key: value for key, value in changes.items() if value is not None}
    own = {"batch_size": batch_size, "seed": seed, "device": device}
    FitConfig.build({"model": "-", "task": "-", **own, **given})
    strategy = read_strategy(f"{line} > full")
    if len(strategy.stages) != 2:
        raise ConfigError("one tuner, for example lora(r=16)", repr(line), "Name a single stage.")
    if epochs is not None and strategy.stages[0].has_length:
        raise ConfigError("epochs, or a length in the line", "both", f"Drop epochs, or {line!r}'s.")
    if lr is not None and trains_head_alone(strategy.stages[0]):
        raise ConfigError("head_lr, for the head alone trains", "lr", f"Write head_lr={lr:g}.")
    _require_classifier(split)
    _require_same_names(class_names_of(dataset, label_column), split, label_column)
    strategy = Strategy((strategy.with_stage(0, **given).stages[0], strategy.stages[1]))
    encoded = encode_dataset(dataset, label_column, pad=_pad_token(split))
    _require_fit(encoded, split)
    encoded, kind = _fitted_to_model(encoded, split)
    with accelerate_as_found(), _as_it_was(split):
        runtime = Runtime(device)
        runner = _runner(split, strategy, encoded, kind, batch_size, seed, runtime)
        runner.run(stages=1)
        if runner.pretrained_head:
            kind.save_units(split)
    for note in runner.guard_notes:
        warnings.warn(f"headstart: {note}", stacklevel=3)


def _runner(
    split: SplitModel,
    strategy: Strategy,
    encoded: Encoded,
    kind: TargetKind,
    batch_size: int,
    seed: int,
    runtime: Runtime,
) -> StrategyRunner:
    labels = _labels(encoded)
    preset = get_preset("default")
    numbers = lengths(strategy, rows=len(encoded), batch_size=batch_size, epochs=preset.epochs)
    size = sum(p.numel() for p in split.backbone.values())
    plans = plan_stages(strategy, numbers, FitConfig(), preset, size)
    loader = ExamplesLoader(encoded, runtime.device)
    settle_precision(split, [loader], runtime)
    few = np.arange(min(len(encoded), SHOWN_ROWS))
    data = TrainingData(
        split,
        loader,
        SubsetLoader(loader, few),
        labels,
        Judge(kind, labels[few], DEFAULTS[kind.name]),
    )
    options = TrainingArguments(seed=seed, batch_size=batch_size, eval_every=NEVER)
    return StrategyRunner(strategy, plans, data, options, runtime, _Silent())


def _require_classifier(split: SplitModel) -> None:
    """Refuse models whose logits are not one row of classes, or one number, for each text."""
    name = type(split.model).__name__
    if any(part in name for part in ("MultipleChoice", "TokenClassification", "QuestionAnswering")):
        raise ModelError(
            "a sequence-classification model",
            name,
            "Load it by AutoModelForSequenceClassification; for multiple choice use fit.",
        )
    reads = getattr(split.model, "main_input_name", "input_ids")
    if reads != "input_ids":
        raise ModelError(
            "a model that reads tokens, for pretrain_head",
            f"{name}, which reads {reads}",
            "Use fit, which pretrains such heads too.",
        )
    if cast(Any, split.model.config).problem_type == "multi_label_classification":
        raise ModelError(
            "a model of classes, or of a number",
            f"{name} for several labels a row (its problem_type)",
            "Use fit, which pretrains such heads too.",
        )


def _require_same_names(names: tuple[str, ...], split: SplitModel, label: str) -> None:
    """Refuse rows that number the model's classes in another way: the head would learn theirs."""
    known: dict[int, str] = cast(Any, split.model.config).id2label or {}
    if not names or _outputs(split) < 2 or len(known) != _outputs(split):
        return
    own = LabelMap(tuple(known[index] for index in sorted(known)))
    if own.numbered:
        return
    if [name.casefold() for name in names] != [name.casefold() for name in own.names]:
        raise DataError(
            f"the classes as the model numbers them, {_numbered(own.names)}",
            f"{_numbered(names)} in column {label!r}",
            f"Renumber the rows by dataset.align_labels_with_mapping(model.config.label2id, "
            f"{label!r}), or load the model with the id2label and label2id of the rows.",
        )


def _numbered(names: tuple[str, ...]) -> str:
    return some(f"{index} = {name}" for index, name in enumerate(names))


def _require_fit(encoded: Encoded, split: SplitModel) -> None:
    """Refuse tokens that the model has no embedding or no position for."""
    most = int(encoded.features["input_ids"].max())
    words = int(cast(Any, split.model.config).vocab_size)
    if most >= words:
        raise DataError(
            f"tokens below {words}, the size of the model's vocabulary",
            f"token {most}",
            "Tokenise the rows with the model's own tokenizer.",
        )
    longest, limit = int(encoded.lengths.max()), positions(split)
    if limit is not None and longest > limit:
        raise DataError(
            f"rows of at most {limit} tokens, the model's positions",
            f"one of {longest}",
            "Tokenise with truncation=True.",
        )


def _fitted_to_model(encoded: Encoded, split: SplitModel) -> tuple[Encoded, TargetKind]:
    """Check the labels against the model's outputs, and standardise numbers."""
    labels, outputs = _labels(encoded), _outputs(split)
    if len(np.unique(labels)) < 2:
        raise DataError("labels that differ", f"{labels[0]} in every row", "Check the label.")
    if outputs > 1 and labels.dtype.kind == "f":
        raise DataError(
            f"class indices as integers for a model with {outputs} classes",
            f"numbers such as {labels[0]:g}",
            "Convert them, or load the model with num_labels=1 to predict numbers.",
        )
    if outputs > 1:
        if (unknown := labels == -1).any():
            raise DataError(
                "a class in every row", f"-1, which says that it is not known, in "
                f"{row_numbers(unknown)}", "Remove these rows, for example by dataset.filter.",
            )  # fmt: skip
        if labels.min() < 0 or labels.max() >= outputs:
            raise DataError(
                f"class indices from 0 to {outputs - 1}, the model's number of classes",
                f"{labels.min()} to {labels.max()}",
                "Load the model with a larger num_labels, or remove these rows.",
            )
        return encoded, TARGETS.get("classes")(tuple(map(str, range(outputs))))
    require_rescalable(split)
    kind = TARGETS.get("number")().fit(labels)
    return replace(encoded, labels=kind.standardise(labels)), kind


def _labels(encoded: Encoded) -> Labels:
    if encoded.labels is None:
        raise RuntimeError("encode_dataset reads the labels")
    return encoded.labels


def _outputs(split: SplitModel) -> int:
    return int(cast(Any, split.model.config).num_labels)


def _pad_token(split: SplitModel) -> int:
    pad = getattr(split.model.config, "pad_token_id", None)
    return int(pad) if pad is not None else 0


@contextlib.contextmanager
def _as_it_was(split: SplitModel) -> Iterator[None]:
    """Train in fp32 with dropout; give the model back in its modes, types, and on its device."""
    model = split.model
    device = next(model.parameters()).device
    modes = {module: module.training for module in model.modules()}
    # What would be computed again has met other kernels the first time.
    recomputed = [m for m in model.modules() if getattr(m, "gradient_checkpointing", False)]
    for module in recomputed:
        cast(Any, module).gradient_checkpointing = False
    trainable = [(p, p.requires_grad) for p in model.parameters()]
    head = split.head_state()
    halves = [(tensor, tensor.dtype) for tensor in model.parameters() if tensor.dtype in _HALVES]
    # Another tensor may stand in a buffer's place in the end.
    buffers = [
        (module, key, buffer.dtype)
        for module in model.modules()
        for key, buffer in module._buffers.items()
        if buffer is not None and buffer.dtype in _HALVES
    ]
    for module, key, _ in buffers:
        module._buffers[key] = cast(torch.Tensor, module._buffers[key]).float()
    for tensor, _ in halves:
        tensor.data = tensor.data.float()
    model.train()
    try:
        yield
    except BaseException:
        split.load_head(head)
        raise
    finally:
        # Back from fp32, in which every half has a place, the backbone's bits are the same.
        for tensor, dtype in halves:
            tensor.data = tensor.data.to(dtype)
        for module, key, dtype in buffers:
            module._buffers[key] = cast(torch.Tensor, module._buffers[key]).to(dtype)
        for parameter, wanted in trainable:
            parameter.requires_grad_(wanted)
            parameter.grad = None
        for module in recomputed:
            cast(Any, module).gradient_checkpointing = True
        for module, training in modes.items():
            module.training = training
        model.to(device)
