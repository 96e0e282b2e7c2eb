"""Which head fits onto which model; others are refused with advice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import transformers

from headstart.errors import ModelError
from headstart.models.checkpoints.model_config import is_decoder
from headstart.models.heads import EACH_STATE, POOLINGS, HeadSpec
from headstart.models.kinds import MODEL_CLASSES, ModelKind, kind_of_architecture

ProblemType = Literal[
    "single_label_classification", "multi_label_classification", "regression",
    "token_classification",
]  # fmt: skip


@dataclass(frozen=True)
class Target:
    """The outputs of a model: labels, kind of head, spans.

    Args:
        labels: Label names in the order of the logits; empty for a number.
        kind: Which class of model carries the head.
        spans: Target spans whose vectors the head reads.
        multilabel: Whether each label is there or not by itself, several or none of them.
    """

    labels: tuple[str, ...]
    kind: ModelKind = "sequence"
    spans: int = 0
    multilabel: bool = False

    @property
    def outputs(self) -> int:
        """Logits that the model gives for each input text."""
        return 1 if self.kind == "choice" else max(1, len(self.labels))

    @property
    def problem_type(self) -> ProblemType:
        """What transformers calls the loss that it is trained by; for words, the task."""
        if self.kind == "tokens":
            return "token_classification"
        if self.multilabel:
            return "multi_label_classification"
        number = not self.labels and self.kind != "choice"
        return "regression" if number else "single_label_classification"


def is_own(head: str, target: Target) -> bool:
    """Return whether a head is one of ours: no model class reads target spans."""
    return head != "native" or bool(target.spans)


def own_head(head: str, target: Target, dropout: float | None, pooling: str | None) -> HeadSpec:
    """Return the form of a head of ours.

    ``native`` with target spans means ``span``. By default the dropout in front of a linear head is
    0.1, and the first token's vector is pooled.
    """
    pooling, spans = pooling or "first", target.spans
    if target.kind == "tokens":
        pooling = EACH_STATE
    if head == "mlp":
        apart = target.multilabel or target.kind == "choice"
        return HeadSpec.mlp(target.outputs, apart=apart, spans=spans, pooling=pooling)
    if head != "linear":
        apart = target.multilabel
        return HeadSpec.span(target.outputs, apart=apart, spans=spans, pooling=pooling)
    rate = 0.1 if dropout is None else dropout
    return HeadSpec.linear(target.outputs, dropout=rate, spans=spans, pooling=pooling)


def auto_class(kind: ModelKind) -> Any:
    """Return the ``AutoModelFor…`` class that loads native heads of a kind."""
    return getattr(transformers, f"AutoModelFor{MODEL_CLASSES[kind].suffix}")


def kind_of_saved(config: Any) -> ModelKind:
    """Return which kind of head a saved model has.

    What its class is called tells it; where it is called as those for texts, as Wav2Vec2's, the
    kind of class that its family has.
    """
    named = kind_of_architecture(config.architectures)
    other: tuple[ModelKind, ...] = ("image", "audio")
    if named == "sequence" and not has_class(config, "sequence", trust=False):
        return next((kind for kind in other if has_class(config, kind, trust=False)), named)
    return named


def has_class(config: Any, kind: ModelKind, trust: bool) -> bool:
    """Return whether a family has a native head of a kind.

    That is as far as can be told: code that comes with the checkpoint brings a class if it may run.
    """
    return trust or type(config) in auto_class(kind)._model_mapping


def require_head_type(config: Any, source: str, target: Target, head: str, *, trust: bool) -> None:
    """Refuse a head that task or family cannot carry; what is advised instead is one they can.

    Raises ``ModelError`` if the head does not fit.
    """
    own = is_own(head, target)
    native, decoder = has_class(config, target.kind, trust), is_decoder(config)
    found = f"{source}, a model of the family {config.model_type}"
    encoder = "Choose an encoder, for example roberta-base"
    if head == "span" and not target.spans:
        raise ModelError(
            "a task whose head is told of target spans, for --head-type span",
            "a task without them, or one that marks them in the text",
            "Use --head-type mlp, the same head without spans; or a task such as wic or wsc, or a "
            "task file with spans and `span_use: vectors`.",
        )
    if own and decoder:
        fix = f"{encoder}."
        if target.spans:
            fix = f"{encoder}, or let the task mark the spans in the text (span_use: mark)."
        elif native:
            fix = "Use --head-type native, which reads the last token, or an encoder."
        raise ModelError(
            "an encoder for a head on the first token",
            f"{found}, a decoder, whose first token sees nothing of the text",
            fix,
        )
    if own and MODEL_CLASSES[target.kind].inputs != ("input_ids",):
        _require_vectors(config, found)
    if not own and not native:
        raise ModelError(
            f"a model family with a class for {auto_class(target.kind).__name__}",
            f"{found}, which has none",
            f"{encoder}." if decoder else "Use --head-type linear, which works on any encoder.",
        )


def _require_vectors(config: Any, found: str) -> None:
    if not isinstance(getattr(config, "hidden_size", None), int):
        raise ModelError(
            "a model that gives a list of vectors as wide as its hidden_size, for a head of "
            "headstart's own",
            f"{found}, whose config.json has no hidden_size",
            "Use --head-type native.",
        )


def require_pooling(pooling: str | None, target: Target, *, own: bool) -> None:
    """Refuse a pooling that a head does not have; ``None`` is the head's own.

    Raises ``ModelError`` if the head does not have it.
    """
    given = f"--pooling {pooling}"
    if target.kind == "tokens" and pooling not in (None, "first", "native"):
        raise ModelError(
            "no --pooling where each word has logits of its own", given, f"Drop {given}."
        )
    if own and pooling not in (None, *POOLINGS):
        raise ModelError(
            f"--pooling {', '.join(POOLINGS)} for a head of headstart's own",
            given,
            "Drop it, or use --head-type native.",
        )
    if not own and pooling not in (None, "native"):
        raise ModelError(
            "--pooling native beside a native head, which pools as its model class does",
            given,
            f"Add --head-type linear or mlp, or drop {given}.",
        )
