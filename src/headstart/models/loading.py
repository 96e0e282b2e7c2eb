"""Checkpoints and tokenizers from folders or the hub, with errors that say what is wrong."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.models.heads import EncoderClassifier, HeadSpec

ModelKind = Literal["sequence", "choice"]
OWN_HEAD_FILE = "headstart.json"
"""Beside a backbone whose head needs headstart: the head's form and the label names."""
OWN_HEAD_WEIGHTS = "head.safetensors"


@dataclass(frozen=True)
class Target:
    """What the model predicts.

    Args:
        labels: Class names in the order of the logits; empty for a number.
        kind: ``sequence`` for one text or a pair, ``choice`` for multiple choice.
        spans: Target spans whose vectors the head reads.
    """

    labels: tuple[str, ...]
    kind: ModelKind = "sequence"
    spans: int = 0

    @property
    def outputs(self) -> int:
        """Logits that the model gives for each input text."""
        return 1 if self.kind == "choice" else max(1, len(self.labels))


def find_model(source: str) -> str:
    """Resolve what the user calls a model: a run's folder means the model inside it.

    Args:
        source: Folder or hub name.

    Returns:
        Folder or hub name for transformers.
    """
    inside = Path(source) / "model"
    return str(inside) if (inside / "config.json").is_file() else source


def load_classifier(
    source: str,
    target: Target,
    *,
    head: str = "native",
    seed: int = 0,
    trust_remote_code: bool = False,
    dropout: float | None = None,
) -> SplitModel:
    """Load a checkpoint as a classifier and split it into backbone and head.

    Args:
        source: Folder or hub name.
        target: What it shall predict.
        head: ``native``, ``linear`` or ``mlp`` (see ``headstart.models.heads``).
        seed: Seed of whatever the checkpoint does not provide.
        trust_remote_code: Whether code that comes with the checkpoint may run.
        dropout: Overrides every dropout rate of the configuration.

    Returns:
        The split model in fp32, in training mode.

    Raises:
        ModelError: If there is no usable checkpoint.
    """
    config = _load_config(find_model(source), trust_remote_code)
    _set_target(config, target)
    if dropout is not None:
        _set_dropout(config, dropout)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        if head == "native" and not target.spans:
            split = _load_native(source, config, target.kind, trust_remote_code)
        else:
            spec = _own_head(head, target, dropout)
            split = _load_own(source, config, spec, trust_remote_code)
    split.model.train()
    return split


def load_saved(source: str) -> tuple[SplitModel, Target]:
    """Load a finished classifier, whichever kind of head it has.

    Args:
        source: A run, its model folder, or any sequence-classification checkpoint.

    Returns:
        The model in evaluation mode, and what it predicts.

    Raises:
        ModelError: If the checkpoint has no trained head.
    """
    folder = find_model(source)
    config = _load_config(folder, trust_remote_code=False)
    own = Path(folder) / OWN_HEAD_FILE
    with quiet():
        if own.is_file():
            target, spec, head = _read_own(Path(folder))
            split = _load_own(folder, config, spec, trust=False)
            split.load_head(head)
        else:
            kind: ModelKind = (
                "choice"
                if any("MultipleChoice" in a for a in config.architectures or ())
                else "sequence"
            )
            split = _load_native(folder, config, kind, trust=False, need_head=True)
            names = [config.id2label[i] for i in range(config.num_labels)]
            number = config.problem_type == "regression" or (kind == "sequence" and len(names) < 2)
            target = Target(() if number else tuple(names), kind)
    split.model.eval()
    return split, target


def load_tokenizer(source: str, vocabulary: int, *, trust_remote_code: bool = False) -> Any:
    """Load a checkpoint's tokenizer.

    Args:
        source: Folder or hub name.
        vocabulary: Rows of the model's embedding table.
        trust_remote_code: Whether code that comes with the checkpoint may run.

    Returns:
        The tokenizer.

    Raises:
        ModelError: If there is none, or it does not belong to the model.
    """
    folder = find_model(source)
    fix = "Copy the tokenizer's files (tokenizer.json, tokenizer_config.json …) into the folder."
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, trust_remote_code=trust_remote_code
            )
    except Exception as error:  # noqa: BLE001  the library raises many kinds for one cause
        raise ModelError(
            "a tokenizer beside the model", f"{folder}: {_short(error)}", fix
        ) from None
    # Without vocabulary files transformers builds a tokenizer that knows special tokens only.
    if len(tokenizer) <= max(len(tokenizer.all_special_tokens), 1) + 1:
        raise ModelError("a tokenizer beside the model", f"{folder} with no vocabulary file", fix)
    if len(tokenizer) > vocabulary:
        raise ModelError(
            f"a tokenizer of at most {vocabulary} tokens, the model's embedding table",
            f"one of {len(tokenizer)} tokens",
            "Use the tokenizer that belongs to this checkpoint.",
        )
    return tokenizer


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' load report and progress bars silent inside a block.

    Headstart itself says what a checkpoint does not provide.

    Yields:
        Nothing.
    """
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def positions(split: SplitModel) -> int | None:
    """Return how many tokens a model has positions for.

    Args:
        split: The model.

    Returns:
        A number of tokens; ``None`` if its positions are not limited.
    """
    limit = getattr(split.model.config, "max_position_embeddings", None)
    embedding = getattr(getattr(split.base, "embeddings", None), "position_embeddings", None)
    # RoBERTa and its kin count positions from behind the padding token's index.
    offset = getattr(embedding, "padding_idx", None)
    return None if limit is None else int(limit) - (0 if offset is None else offset + 1)


def _load_native(
    source: str, config: Any, kind: ModelKind, trust: bool, need_head: bool = False
) -> SplitModel:
    name = "SequenceClassification" if kind == "sequence" else "MultipleChoice"
    auto = getattr(transformers, f"AutoModelFor{name}")
    if type(config) not in auto._model_mapping and not trust:
        raise ModelError(
            f"a model family with a {name} class",
            f"{config.model_type}",
            "Use --head-type linear, which works on any encoder.",
        )
    model, info = _from_pretrained(auto, source, config, trust)
    missing = _not_provided(info)
    split = SplitModel(model, missing)
    _refuse_holes(split, missing, source)
    if need_head and missing:
        raise ModelError(
            "a checkpoint with a trained head",
            f"{source} without {', '.join(sorted(missing))}",
            "Train one with `headstart fit`.",
        )
    return split


def _load_own(source: str, config: Any, spec: HeadSpec, trust: bool) -> SplitModel:
    backbone, info = _from_pretrained(transformers.AutoModel, source, config, trust)
    # A pooler that nothing reads would only be dead weight, all the more one without weights.
    if getattr(backbone, "pooler", None) is not None:
        backbone.register_module("pooler", None)
    read = set(backbone.state_dict())
    missing = {f"backbone.{key}" for key in _not_provided(info) & read}
    split = SplitModel(EncoderClassifier(backbone, spec))
    _refuse_holes(split, missing, source)
    return split


def _not_provided(info: Any) -> set[str]:
    """Return the tensors that the checkpoint lacks or has in another shape."""
    return {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}


def _read_own(folder: Path) -> tuple[Target, HeadSpec, dict[str, torch.Tensor]]:
    try:
        saved = json.loads((folder / OWN_HEAD_FILE).read_text(encoding="utf-8"))
        target = Target(tuple(saved["labels"]), saved["kind"], saved["head"]["spans"])
        return target, HeadSpec(**saved["head"]), load_file(folder / OWN_HEAD_WEIGHTS)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(
            f"{OWN_HEAD_FILE} and {OWN_HEAD_WEIGHTS} as headstart wrote them",
            f"{folder}: {type(error).__name__} {_short(error)}",
            "Copy the model folder again, or repeat the run.",
        ) from None


def _from_pretrained(auto: Any, source: str, config: Any, trust: bool) -> tuple[nn.Module, Any]:
    folder = find_model(source)
    try:
        model, info = auto.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            trust_remote_code=trust,
        )
    except SafetensorError as error:
        raise ModelError(
            "a complete safetensors file",
            f"{folder}: {_short(error)}",
            "The file is cut off or damaged; copy or download it again.",
        ) from None
    except OSError as error:
        raise ModelError(
            "a checkpoint with weights as safetensors",
            f"{folder}: {_short(error)}",
            "Give a folder with config.json and model.safetensors. Files ending in .bin are "
            "pickles and are not read; save the model again with save_pretrained.",
        ) from None
    except (ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise ModelError(
            "a config.json and weights that transformers can make a model of",
            f"{folder}: {type(error).__name__} {_short(error)}",
            "Compare both files with those of the model's origin.",
        ) from None
    return model, info


def _load_config(folder: str, trust_remote_code: bool) -> Any:
    path = Path(folder)
    if path.exists() and not (path / "config.json").is_file():
        raise ModelError(
            "a model folder with config.json",
            f"{folder} without it",
            "Give the folder that save_pretrained wrote.",
        )
    try:
        with quiet():
            return transformers.AutoConfig.from_pretrained(
                folder, trust_remote_code=trust_remote_code
            )
    except Exception as error:  # noqa: BLE001  the library raises many kinds for one cause
        raise ModelError(
            "a model folder, or the name of a model that the hub or its local cache has",
            f"{folder}: {_short(error)}",
            "Check the spelling and, for a hub name, the connection.",
        ) from None


def _refuse_holes(split: SplitModel, missing: set[str], source: str) -> None:
    """Refuse a checkpoint that lacks part of the encoder: that would be noise, not a head."""
    inside = {name for name in missing if name.startswith(f"{split.prefix}.")}
    holes = sorted(name for name in inside if not split.is_above_layers(name))
    if holes:
        raise ModelError(
            f"a checkpoint that provides the whole encoder of {type(split.model).__name__}",
            f"{source} without {len(holes)} of its tensors, for example {holes[0]}",
            "Check that config.json and the weights belong together.",
        )


def _own_head(head: str, target: Target, dropout: float | None) -> HeadSpec:
    if head == "mlp" or (head == "native" and target.spans):
        choices = target.kind == "choice"
        return HeadSpec.mlp(target.outputs, choices=choices, spans=target.spans)
    rate = 0.1 if dropout is None else dropout
    return HeadSpec.linear(target.outputs, dropout=rate, spans=target.spans)


def _set_target(config: Any, target: Target) -> None:
    names = target.labels or ("score",)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: i for i, name in enumerate(names)}
    config.num_labels = len(names)
    if target.kind == "sequence":
        config.problem_type = "single_label_classification" if target.labels else "regression"


def _set_dropout(config: Any, rate: float) -> None:
    for name, value in list(vars(config).items()):
        if "drop" in name and isinstance(value, int | float) and not isinstance(value, bool):
            setattr(config, name, rate)


def _short(error: BaseException) -> str:
    line = str(error).strip().split("\n", 1)[0][:200]
    return line.rstrip(".") or type(error).__name__
