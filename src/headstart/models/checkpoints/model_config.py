"""A checkpoint's config.json: read, checked for what headstart can train, and adjusted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import transformers
from huggingface_hub.errors import StrictDataclassError

from headstart.errors import ModelError, did_you_mean
from headstart.files.contents import UnreadableError
from headstart.files.jsonfile import read_table
from headstart.models.checkpoints.encoders import encoder_loader, has_decoder
from headstart.models.checkpoints.source import CONFIG, quiet, short
from headstart.models.kinds import MODEL_CLASSES, ModelKind

NO_MODEL = (
    ValueError,  # sizes that do not fit each other, a rate above 1, an index that is no JSON
    LookupError,  # an activation that there is none of, an index without a map of the weights
    TypeError,  # a value of another type
    AttributeError,  # the same, where a name is looked up by it
    AssertionError,  # a padding token outside the vocabulary
    ArithmeticError,  # no attention heads, a size that no number holds
    RuntimeError,  # a negative size, weights that do not convert to the family's present form
    MemoryError,
)
"""What transformers lets through from a configuration or weights that make no model."""
_READS_IMAGES = ("layoutlmv2",)
"""Families with a vocabulary that need an image beside each text."""
TEMPERATURE = "calibration_temperature"
"""Field of a saved config.json: what the logits have been divided by, for whoever wants to know."""
LONG_TEXTS = "long_texts"
"""Field of a saved config.json: length and overlap of the windows that long texts are read in."""
MAX_SECONDS = "max_seconds"
"""Field of a saved config.json: seconds above which a sound is cut."""
THRESHOLD = "decision_threshold"
"""Field of a saved config.json: the probability above which one of several labels is predicted."""


def load_config(folder: str, *, trust_remote_code: bool) -> Any:
    """Load a checkpoint's configuration.

    Raises ``ModelError`` if it cannot be read, or transformers can make nothing of it.
    """
    path = Path(folder) / CONFIG
    if path.is_file():
        _check_json(path)
    try:
        with quiet():
            record, _ = transformers.PretrainedConfig.get_config_dict(folder)
            _check_values(record)
            _check_family(record, folder, trust_remote_code)
            config = transformers.AutoConfig.from_pretrained(
                folder, trust_remote_code=trust_remote_code
            )
    except OSError as error:
        # Only a hub name: the model may be gated or without config.json, the connection lost.
        raise ModelError(
            f"a model on the hub with a {CONFIG} that you may read",
            f"{folder}: {short(error)}",
            "Check the connection and, for a gated model, log in with `hf auth login`.",
        ) from None
    # A value of another type (StrictDataclassError; in fields that are not declared whatever Python
    # makes of it), or one that contradicts another (ValueError).
    except (StrictDataclassError, *NO_MODEL) as error:
        raise ModelError(
            f"a {CONFIG} that transformers can read",
            f"{folder}: {short(error)}",
            "Compare it with that of the model's origin.",
        ) from None
    if getattr(config, "quantization_config", None) is not None:
        raise ModelError(
            "a checkpoint with weights as plain numbers",
            f"{folder}, whose weights are quantised",
            "Use the model that it was made from.",
        )
    return config


def is_decoder(config: Any) -> bool:
    """Return whether each token sees only those before it, as in GPT-2.

    Its family writes text and fills no gaps, or the configuration asks for it.
    """
    causal = type(config) in transformers.AutoModelForCausalLM._model_mapping
    gaps = type(config) in transformers.AutoModelForMaskedLM._model_mapping
    alone = causal and not gaps and not has_decoder(config)
    return bool(getattr(config, "is_decoder", False)) or alone


def require_model(config: Any, source: str, kind: ModelKind, *, own: bool = False) -> None:
    """Refuse models that headstart cannot train, or that read something else.

    A head of ours (``own``) needs an encoder alone. Raises ``ModelError`` if the model reads
    something else, has both an encoder and a decoder, or needs what the rows do not tell.
    """
    found = f"{source}, a model of the family {config.model_type}"
    known = MODEL_CLASSES[kind]
    if "input_ids" not in known.inputs:
        if _main_input(config) not in known.inputs:
            raise ModelError(
                f"a model with a class for AutoModelFor{known.suffix}, which reads "
                f"{' or '.join(known.inputs)}",
                f"{found}, which reads {_main_input(config)}",
                f"Choose one, for example {known.example}.",
            )
        return
    no_text = getattr(config, "vocab_size", None) is None or _main_input(config) != "input_ids"
    if no_text or config.model_type in _READS_IMAGES:
        raise ModelError(
            "a text encoder, such as BERT or RoBERTa",
            f"{found}, which reads no text or not text alone",
            _other_column(_main_input(config)),
        )
    if has_decoder(config) and not (own and encoder_loader(config)):
        alone = "Add --head-type linear --pooling mean, which read its encoder alone, or choose"
        raise ModelError(
            "a text encoder, such as BERT or RoBERTa",
            f"{found}, which has an encoder and a decoder",
            f"{alone if encoder_loader(config) else 'Choose'} a model that has an encoder alone, "
            "for example roberta-base.",
        )
    if config.model_type == "reformer":
        raise ModelError(
            "a text encoder that takes inputs of any length",
            f"{found}, which trains on the one length that its configuration names",
            "Choose another model.",
        )
    if config.model_type == "xmod" and config.default_language is None:
        raise ModelError(
            "the language of the texts, default_language in the model's config.json",
            f"{found}, without it",
            f"Write one of {', '.join(config.languages[:5])} … into config.json.",
        )


def _other_column(main: str) -> str:
    kinds = (kind for kind, known in MODEL_CLASSES.items() if main in known.inputs)
    fits = next((kind for kind in kinds if kind in ("image", "audio")), None)
    if fits:
        return (
            f"Name the column that it reads by --{fits} in place of --text, or choose a model "
            "with a tokenizer."
        )
    return "Choose a model with a tokenizer."


def set_target(config: Any, labels: Sequence[str], problem_type: str | None) -> None:
    """Write into a configuration what the model predicts.

    ``labels`` are in the order of the logits, none for a number; ``problem_type`` is what
    transformers calls the loss, ``None`` for multiple choice, whose classes have no use for it.
    """
    names = tuple(labels) or ("score",)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: i for i, name in enumerate(names)}
    config.num_labels = len(names)
    for name in (TEMPERATURE, THRESHOLD, LONG_TEXTS, MAX_SECONDS):
        vars(config).pop(name, None)  # was that of another head
    if problem_type is not None:
        config.problem_type = problem_type


def set_dropout(config: Any, rate: float) -> None:
    """Set every dropout rate of a configuration."""
    for name, value in list(vars(config).items()):
        if "drop" in name and isinstance(value, int | float) and not isinstance(value, bool):
            setattr(config, name, rate)


def _check_json(path: Path) -> None:
    try:
        if pipes := [file.name for file in path.parent.iterdir() if file.is_fifo()]:
            raise UnreadableError(f"{pipes[0]}, a pipe that would be waited for")
        read_table(path, finite=False)
    except (OSError, UnreadableError) as error:
        raise ModelError(
            f"a {CONFIG} that is JSON",
            f"{path}: {short(error)}",
            "Copy the file again from the model's origin.",
        ) from None


def _check_values(record: dict[str, Any]) -> None:
    """Refuse what a model would be built of for ever, and what is no name where one belongs."""
    for name, value in record.items():
        if isinstance(value, int) and value > _most(name):
            raise UnreadableError(f"{name} {value}, which no model has")
    for name in ("architectures", "model_type"):
        several = isinstance(record.get(name), list) and name == "architectures"
        values = record[name] if several else [record.get(name)]
        if not all(isinstance(value, str | None) for value in values):
            raise UnreadableError(f"{name} {short(ValueError(record[name]))}, which is no name")


def _most(name: str) -> int:
    """Return the largest whole number that a field can mean, if something is made for each one."""
    return 1_000 if "layer" in name else 1_000_000 if name.startswith(("n_", "num_")) else 2**63


def _check_family(record: dict[str, Any], folder: str, trust: bool) -> None:
    family = record.get("model_type")
    # owner/name is a kernel on the hub: compiled code, fetched and run.
    named = [str(v) for k, v in record.items() if k.endswith("_implementation") and "/" in str(v)]
    if named and not trust:
        raise ModelError(
            "a model whose code is transformers' own",
            f"{folder}, which asks for the code of {named[0][:80]}",
            f"Take it out of {CONFIG}, or read that code, then pass --trust-remote-code.",
        )
    if family is None or family in transformers.CONFIG_MAPPING:
        return
    if "auto_map" in record:
        if trust:
            return
        raise ModelError(
            "a model that transformers has the code of",
            f"{folder}, which brings code of its own",
            "Read that code, then pass --trust-remote-code.",
        )
    near = did_you_mean(str(family), transformers.CONFIG_MAPPING)
    raise ModelError(
        f"a {CONFIG} with a model_type that transformers {transformers.__version__} knows",
        f"{folder} with {family!r}",
        near if near.startswith("Did") else "Perhaps a newer transformers has it.",
    )


def _main_input(config: Any) -> str:
    found = transformers.AutoModel._model_mapping.get(type(config), None)
    model = found[0] if isinstance(found, tuple | list) else found
    return getattr(model, "main_input_name", "input_ids")
