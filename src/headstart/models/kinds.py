"""The classes of transformers for each kind of head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ModelKind = Literal["sequence", "choice", "tokens", "image", "audio"]


@dataclass(frozen=True)
class ModelClass:
    """The classes of transformers that carry one kind of head.

    Args:
        suffix: What follows ``AutoModelFor``, and ends the names of the families' own classes.
        inputs: Names of the main input that such models have.
        example: A model that has such a class, for advice.
    """

    suffix: str
    inputs: tuple[str, ...] = ("input_ids",)
    example: str = "roberta-base"


MODEL_CLASSES: dict[ModelKind, ModelClass] = {
    "sequence": ModelClass("SequenceClassification"),
    "choice": ModelClass("MultipleChoice"),
    "tokens": ModelClass("TokenClassification"),
    "image": ModelClass("ImageClassification", ("pixel_values",), "google/vit-base-patch16-224"),
    "audio": ModelClass(
        "AudioClassification", ("input_values", "input_features"), "facebook/wav2vec2-base"
    ),
}


def kind_of_architecture(names: Sequence[str] | None) -> ModelKind:
    """Return which kind of head a saved model has.

    ``sequence`` where the ``architectures`` of its configuration tell nothing.
    """
    found = (
        kind
        for kind, known in MODEL_CLASSES.items()
        for name in names or ()
        if f"For{known.suffix}" in name  # DeiT's ends in WithTeacher
    )
    return next(found, "sequence")
