"""Checkpoints and tokenizers from folders or the hub, with errors that say what is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from safetensors import SafetensorError
from torch import nn

from headstart.errors import ModelError
from headstart.files.contents import UnreadableError
from headstart.files.jsonfile import read_table
from headstart.files.schema import as_record
from headstart.files.tensors import read_tensors
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.encoders import encoder_loader, has_decoder
from headstart.models.checkpoints.model_config import (
    NO_MODEL,
    load_config,
    require_model,
    set_dropout,
    set_target,
)
from headstart.models.checkpoints.size_limit import limited_to_weights
from headstart.models.checkpoints.source import locate, quiet, short
from headstart.models.head_choice import (
    Target,
    auto_class,
    has_class,
    is_own,
    kind_of_saved,
    own_head,
    require_head_type,
    require_pooling,
)
from headstart.models.heads import (
    EACH_STATE,
    POOLINGS,
    EncoderClassifier,
    HeadSpec,
    NoPooler,
    PooledHead,
)
from headstart.models.kinds import ModelKind
from headstart.models.rescale import require_rescalable
from headstart.models.words import ask_for_words

OWN_HEAD_FILE = "headstart.json"
"""Beside a backbone whose head needs headstart: the head's form and the label names."""
OWN_HEAD_WEIGHTS = "head.safetensors"


def load_classifier(
    source: str,
    target: Target,
    *,
    head: str = "native",
    pooling: str | None = None,
    seed: int = 0,
    trust_remote_code: bool = False,
    dropout: float | None = None,
) -> SplitModel:
    """Load a checkpoint as a classifier and split it into backbone and head.

    The head is drawn from the seed. One that the checkpoint carries is not used, so that equal
    seeds mean equal heads; the answer's ``unused_head`` says that there was one.

    Args:
        source: Folder or hub name.
        target: What it shall predict.
        head: ``native``, ``linear``, ``mlp`` or ``span`` (see ``headstart.models.heads``).
        pooling: What the head reads: ``native`` for a native head; ``first``, ``mean`` or
            ``attention`` for one of ours, where ``None`` is ``first``.
        seed: Seed of the head, and of whatever else the checkpoint does not provide.
        trust_remote_code: Whether code that comes with the checkpoint may run.
        dropout: Overrides every dropout rate of the configuration.

    Returns:
        The split model in fp32, in training mode.

    Raises:
        ModelError: If there is no usable checkpoint.
    """
    folder = locate(source)
    config = load_config(folder, trust_remote_code=trust_remote_code)
    own = is_own(head, target)
    require_model(config, source, target.kind, own=own)
    require_head_type(config, source, target, head, trust=trust_remote_code)
    require_pooling(pooling, target, own=own)
    alone = target.kind in ("choice", "tokens")  # classes of transformers with one loss each
    set_target(config, target.labels, None if alone else target.problem_type)
    if dropout is not None:
        set_dropout(config, dropout)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        if own:
            spec = own_head(head, target, dropout, pooling)
            split = _load_own(folder, config, spec, trust_remote_code)
        else:
            split, info = _load_native(folder, config, target.kind, trust_remote_code)
            if _carries_head(split, info):
                split.unused_head = folder
                _draw_head(split, seed)
    if (Path(folder) / OWN_HEAD_FILE).is_file():
        split.unused_head = folder
    if target.problem_type == "regression":
        require_rescalable(split)
    split.model.train()
    return split


def draw_head(split: SplitModel, seed: int) -> dict[str, torch.Tensor]:
    """Draw the head that ``load_classifier`` gives with this seed; it is then in the model.

    Returns copies of the head's tensors by name.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(split.model, EncoderClassifier):
            own = PooledHead(split.model.config.hidden_size, split.model.head.spec)
            split.load_head({f"head.{name}": p for name, p in own.named_parameters()})
        else:
            _draw_head(split, seed)
    return split.head_state()


def load_saved(source: str, *, trust_remote_code: bool = False) -> tuple[SplitModel, Target]:
    """Load a finished classifier, in evaluation mode, and what it predicts.

    ``source`` is a run, its model folder, or any sequence-classification checkpoint. Raises
    ``ModelError`` if the checkpoint has no trained head.
    """
    folder = locate(source)
    config = load_config(folder, trust_remote_code=trust_remote_code)
    own = Path(folder) / OWN_HEAD_FILE
    with quiet():
        if own.is_file():
            target, spec, head = _read_own(Path(folder), config.hidden_size)
            require_model(config, source, target.kind, own=True)
            split = _load_own(folder, config, spec, trust_remote_code)
            split.load_head(head)
        else:
            kind = kind_of_saved(config)
            require_model(config, source, kind)
            if not has_class(config, kind, trust_remote_code):
                raise _no_head(source, f"family {config.model_type}, which has no such class")
            split, info = _load_native(folder, config, kind, trust_remote_code)
            if missing := sorted(_not_provided(info)):
                raise _no_head(source, f"no {', '.join(missing)}")
            names = [config.id2label.get(i, f"LABEL_{i}") for i in range(config.num_labels)]
            several = config.problem_type == "multi_label_classification"
            alone = kind not in ("choice", "tokens") and len(names) < 2 and not several
            number = config.problem_type == "regression" or alone
            target = Target(() if number else tuple(names), kind, multilabel=several)
    split.model.eval()
    return split, target


def load_tokenizer(
    source: str, vocabulary: int, *, trust_remote_code: bool = False, **settings: Any
) -> Any:
    """Load a checkpoint's tokenizer.

    ``vocabulary`` is the number of rows of the model's embedding table; ``settings`` take the place
    of those that the tokenizer was saved with. Raises ``ModelError`` if there is none, or it does
    not belong to the model.
    """
    folder = locate(source)
    fix = "Copy the tokenizer's files (tokenizer.json, tokenizer_config.json …) into the folder."
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, trust_remote_code=trust_remote_code, **settings
            )
    # The files' parser, written in Rust, raises plain Exceptions.
    except Exception as error:  # noqa: BLE001
        raise ModelError("a tokenizer beside the model", f"{folder}: {short(error)}", fix) from None
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


def positions(split: SplitModel) -> int | None:
    """Return how many tokens a model has positions for; ``None`` if they are not limited."""
    limit = getattr(split.model.config, "max_position_embeddings", None)
    embedding = getattr(getattr(split.base, "embeddings", None), "position_embeddings", None)
    # RoBERTa and its kin count positions from behind the padding token's index.
    offset = getattr(embedding, "padding_idx", None)
    if limit is None or limit < 0:  # XLNet writes -1 for no limit
        return None
    return int(limit) - (0 if offset is None else offset + 1)


def _load_native(folder: str, config: Any, kind: ModelKind, trust: bool) -> tuple[SplitModel, Any]:
    """Load a model class's own head; return the loading info beside the model."""
    model, info = _from_pretrained(auto_class(kind), folder, config, trust)
    # Whisper's classifier holds the encoder alone, not the base model that its class names.
    named, plain = str(getattr(model, "base_model_prefix", "")), cast(Any, model)
    if named and not hasattr(plain, named) and hasattr(plain, "encoder"):
        plain.base_model_prefix = "encoder"
    missing = _not_provided(info)
    if kind == "tokens":
        ask_for_words(model)
    split = SplitModel(model, missing)
    _refuse_holes(split, missing, folder)
    return split, info


def _no_head(source: str, reason: str) -> ModelError:
    return ModelError(
        "a run, or a checkpoint with a trained head",
        f"{source}, a backbone without head ({reason})",
        f"Train one first: `headstart fit --model {source} …`, then give its --out folder.",
    )


def _carries_head(split: SplitModel, info: Any) -> bool:
    """Return whether the checkpoint has the last of the head's tensors, in whatever shape.

    Parts of the head that come without it are left from pre-training, and stay.
    """
    return list(split.head)[-1] not in info["missing_keys"]


@torch.no_grad()
def _draw_head(split: SplitModel, seed: int) -> None:
    """Draw the head anew, bit for bit as if the checkpoint had carried none."""
    # transformers initialises whatever does not bear this mark.
    head = {id(parameter) for parameter in split.head.values()}
    for parameter in split.head.values():
        parameter._is_hf_initialized = False  # type: ignore[attr-defined]
    for module in split.model.modules():
        if any(id(parameter) in head for parameter in module.parameters()):
            module._is_hf_initialized = False  # type: ignore[assignment]
    torch.manual_seed(seed)
    cast(Any, split.model).initialize_weights()


def _load_own(folder: str, config: Any, spec: HeadSpec, trust: bool) -> SplitModel:
    found = encoder_loader(config) if has_decoder(config) else None
    auto, renamed = found or (transformers.AutoModel, {})
    backbone, info = _from_pretrained(auto, folder, config, trust, renamed)
    # A pooler that nothing reads would only be dead weight, all the more one without weights.
    if getattr(backbone, "pooler", None) is not None:
        backbone.register_module("pooler", NoPooler())
    read = set(backbone.state_dict())
    missing = {f"backbone.{key}" for key in _not_provided(info) & read}
    split = SplitModel(EncoderClassifier(backbone, spec))
    _refuse_holes(split, missing, folder)
    return split


def _not_provided(info: Any) -> set[str]:
    """Return the tensors that the checkpoint lacks or has in another shape."""
    return {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}


def _read_own(folder: Path, width: int) -> tuple[Target, HeadSpec, dict[str, torch.Tensor]]:
    try:
        saved = read_table(folder / OWN_HEAD_FILE)
        spec = as_record(HeadSpec, saved.get("head"))
        target = as_record(Target, {**saved, "spans": spec.spans})
        head = read_tensors(folder / OWN_HEAD_WEIGHTS)
        logits = 1 if spec.one_logit and len(target.labels) == 2 else target.outputs
        if spec.pooling not in (*POOLINGS, EACH_STATE) or spec.outputs != logits:
            raise UnreadableError(f"no head for {target.outputs} classes that pools one vector")
        with torch.device("meta"):
            wanted = PooledHead(width, spec).state_dict(prefix="head.")
        if {n: t.shape for n, t in wanted.items()} != {n: t.shape for n, t in head.items()}:
            raise UnreadableError(f"{OWN_HEAD_WEIGHTS} holds a head of another form")
        return target, spec, head
    except (OSError, *NO_MODEL) as error:
        raise ModelError(
            f"{OWN_HEAD_FILE} and {OWN_HEAD_WEIGHTS} as headstart wrote them",
            f"{folder}: {type(error).__name__} {short(error)}",
            "Copy the model folder again, or repeat the run.",
        ) from None


_WRAPPED = re.compile(r"^((module|_orig_mod)\.)+")
"""What stands in front of all names where a model was saved inside torch's wrapper for several
processes, or compiled."""


def _from_pretrained(
    auto: Any, folder: str, config: Any, trust: bool, renamed: Mapping[str, str] | None = None
) -> tuple[nn.Module, Any]:
    names = dict(renamed or {})
    read = partial(
        auto.from_pretrained, folder, config=config, dtype=torch.float32, use_safetensors=True,
        ignore_mismatched_sizes=True, output_loading_info=True, trust_remote_code=trust,
    )  # fmt: skip

    def load() -> tuple[Any, Any]:
        with limited_to_weights(folder):
            return cast(tuple[Any, Any], read(key_mapping=names or None))

    try:
        state = torch.get_rng_state()
        model, info = load()
        unread = info["unexpected_keys"]
        if info["missing_keys"] and unread and all(map(_WRAPPED.match, unread)):
            torch.set_rng_state(state)  # the seed's head, whatever the names are
            names = {_WRAPPED.pattern: "", **names}
            model, info = load()
        # What is saved has the model's own names: transformers would rename them back.
        if names:
            model._weight_conversions = [
                conversion
                for conversion in getattr(model, "_weight_conversions", ())
                if not names.keys() & set(conversion.source_patterns)
            ]
    except SafetensorError as error:
        raise ModelError(
            "a complete safetensors file",
            f"{folder}: {short(error)}",
            "The file is cut off or damaged; copy or download it again.",
        ) from None
    except OSError as error:
        raise ModelError(
            "a checkpoint with weights as safetensors",
            f"{folder}: {short(error)}",
            "Give a folder with config.json and model.safetensors. Files ending in .bin are "
            "pickles and are not read; save the model again with save_pretrained.",
        ) from None
    except ImportError as error:
        raise ModelError(
            "a family whose libraries are installed",
            f"{folder}, of the family {config.model_type}: {short(error)}",
            "Install what it names, or use another model.",
        ) from None
    except NO_MODEL as error:
        raise ModelError(
            "a config.json and weights that transformers can make a model of",
            f"{folder}: {type(error).__name__} {short(error)}",
            "Compare both files with those of the model's origin.",
        ) from None
    return model, info


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
