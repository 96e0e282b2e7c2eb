"""Heads of our own: on the first token's vector, linear or with one hidden layer.

A model class's native head needs nothing from here. These are for the settings of the paper, and
save together with a backbone that plain transformers still loads; the head itself then needs
headstart.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput


@dataclass(frozen=True)
class HeadSpec:
    """The form of a head on the first token.

    Args:
        kind: ``linear`` or ``mlp``.
        outputs: Logits per input: the number of classes, 1 for regression and for each choice.
        hidden: Width of the hidden layer; 0 for none. The paper's is 2048.
        dropout: Dropout rate in front of the first linear map.
        init_std: Standard deviation of the initial weights; biases start at 0.
        spans: Target spans whose vectors are read beside the first token's.
        one_logit: Whether two classes share one logit, trained by binary cross-entropy.
    """

    kind: str
    outputs: int
    hidden: int = 0
    dropout: float = 0.0
    init_std: float = 0.02
    spans: int = 0
    one_logit: bool = False

    @classmethod
    def linear(cls, outputs: int, *, dropout: float = 0.1, spans: int = 0) -> HeadSpec:
        """Return a linear head with BERT's usual initialisation.

        Args:
            outputs: Logits per input.
            dropout: Dropout rate in front of it.
            spans: Target spans.

        Returns:
            The form.
        """
        return cls("linear", outputs, dropout=dropout, spans=spans)

    @classmethod
    def mlp(cls, outputs: int, *, choices: bool = False, spans: int = 0) -> HeadSpec:
        """Return the paper's head (arXiv 2210.16771): 2048 wide, ReLU, weights N(0, 0.005).

        Args:
            outputs: Logits per input; two classes become one logit, as in the paper.
            choices: Whether the logit belongs to one choice of several.
            spans: Target spans.

        Returns:
            The form.
        """
        one = outputs == 2 and not choices
        return cls("mlp", 1 if one else outputs, 2048, 0.0, 0.005, spans, one)

    def to_dict(self) -> dict[str, Any]:
        """Return the form as plain data."""
        return asdict(self)


class NoPooler(nn.Module):
    """Stands where a base model has a pooler that nothing reads."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Give the first token's vector: some families go on to compute with what is pooled.

        Args:
            states: Final hidden states, (b, L, D).

        Returns:
            (b, D).
        """
        return states[:, 0]


class FirstTokenHead(nn.Module):
    """First-token vector (and span vectors) to logits.

    With two spans the input is ``[cls; w1; w2; |w1 - w2|; w1 * w2]`` (EH-FT's form for WiC), where
    ``w`` is the sum of the vectors of a span's tokens; with any other number the span vectors
    simply follow the first token's.

    Args:
        width: Width of the backbone's vectors.
        spec: The form.
    """

    def __init__(self, width: int, spec: HeadSpec) -> None:
        super().__init__()
        inputs = width * (5 if spec.spans == 2 else 1 + spec.spans)
        self.spec = spec
        self.dropout = nn.Dropout(spec.dropout)
        self.dense = nn.Linear(inputs, spec.hidden) if spec.hidden else None
        self.out = nn.Linear(spec.hidden or inputs, spec.outputs)
        for linear in filter(None, (self.dense, self.out)):
            nn.init.normal_(linear.weight, std=spec.init_std)
            nn.init.zeros_(linear.bias)

    def forward(self, states: torch.Tensor, span_masks: torch.Tensor | None = None) -> torch.Tensor:
        """Compute logits.

        Args:
            states: Final hidden states, (b, L, D).
            span_masks: 1 at the tokens of each span, (b, spans, L).

        Returns:
            Logits, (b, outputs); (b, 2) where two classes share a logit ``z``: ``[0, z]``, whose
            softmax and cross-entropy are exactly the sigmoid and binary cross-entropy of ``z``.
        """
        vector = states[:, 0]
        if self.spec.spans and span_masks is not None:
            spans = torch.bmm(span_masks.to(states.dtype), states).unbind(1)
            if len(spans) == 2:
                spans = (*spans, (spans[0] - spans[1]).abs(), spans[0] * spans[1])
            vector = torch.cat((vector, *spans), dim=-1)
        vector = self.dropout(vector)
        if self.dense is not None:
            vector = torch.relu(self.dense(vector))
        logits: torch.Tensor = self.out(vector)
        if self.spec.one_logit:
            logits = torch.cat((torch.zeros_like(logits), logits), dim=-1)
        return logits


class EncoderClassifier(nn.Module):
    """A backbone with a head of ours, called like a transformers classifier.

    Args:
        backbone: An ``AutoModel``.
        spec: The head's form.
    """

    base_model_prefix = "backbone"

    def __init__(self, backbone: nn.Module, spec: HeadSpec) -> None:
        super().__init__()
        self.backbone = backbone
        self.config: Any = backbone.config
        self.head = FirstTokenHead(backbone.config.hidden_size, spec)  # type: ignore[union-attr,arg-type]

    def forward(
        self, span_masks: torch.Tensor | None = None, **inputs: torch.Tensor
    ) -> SequenceClassifierOutput:
        """Compute logits for a batch.

        Args:
            span_masks: 1 at the tokens of each span, (b, spans, L).
            **inputs: The backbone's inputs, (b, L), or (b, choices, L) for multiple choice.

        Returns:
            An output with ``logits``: (b, outputs), or (b, choices) for multiple choice.
        """
        shape = inputs["input_ids"].shape
        if len(shape) == 3:
            inputs = {k: v.reshape(-1, shape[-1]) for k, v in inputs.items()}
        logits = self.head(self.backbone(**inputs).last_hidden_state, span_masks)
        if len(shape) == 3:
            logits = logits.reshape(shape[0], shape[1])
        return SequenceClassifierOutput(logits=logits)
