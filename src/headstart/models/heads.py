"""Heads of our own: on one vector pooled of the text, linear or with one hidden layer.

A model class's native head needs nothing from here. These are for the settings of the paper, and
save together with a backbone that plain transformers still loads; the head itself then needs
headstart.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

POOLINGS = {
    "first": "first token vector",
    "mean": "mean of the token vectors",
    "attention": "attention-weighted mean of the token vectors",
}
"""What a head of ours can read, in words."""
EACH_STATE = "tokens"
"""In place of a pooling, of heads that give each token logits of its own."""


@dataclass(frozen=True)
class HeadSpec:
    """The form of a head of ours.

    Args:
        kind: ``linear``, ``mlp`` or ``span``, which is ``mlp`` on a task with target spans.
        outputs: Logits per input: the number of classes, 1 for regression and for each choice.
        hidden: Width of the hidden layer; 0 for none. The paper's is 2048.
        dropout: Dropout rate in front of the first linear map.
        init_std: Standard deviation of the initial weights; biases start at 0.
        spans: Target spans whose vectors are read beside the first token's.
        one_logit: Whether two classes share one logit, trained by binary cross-entropy.
        pooling: Which vector of the text is read: one of ``POOLINGS``, or ``tokens``: each token's.
    """

    kind: str
    outputs: int
    hidden: int = 0
    dropout: float = 0.0
    init_std: float = 0.02
    spans: int = 0
    one_logit: bool = False
    pooling: str = "first"

    @classmethod
    def linear(
        cls, outputs: int, *, dropout: float = 0.1, spans: int = 0, pooling: str = "first"
    ) -> HeadSpec:
        """Return a linear head with BERT's usual initialisation, ``dropout`` in front of it."""
        return cls("linear", outputs, dropout=dropout, spans=spans, pooling=pooling)

    @classmethod
    def mlp(
        cls, outputs: int, *, apart: bool = False, spans: int = 0, pooling: str = "first"
    ) -> HeadSpec:
        """Return the paper's head (arXiv 2210.16771): 2048 wide, ReLU, weights N(0, 0.005).

        Two classes become one logit, as in the paper, unless each output stands for itself
        (``apart``): one choice of several, or one label beside others.
        """
        one = outputs == 2 and not apart
        return cls("mlp", 1 if one else outputs, 2048, 0.0, 0.005, spans, one, pooling)

    @classmethod
    def span(
        cls, outputs: int, *, spans: int, apart: bool = False, pooling: str = "first"
    ) -> HeadSpec:
        """Return the paper's head on a text with target spans, as in WiC and WSC.

        Two classes become one logit, unless each output stands for itself (``apart``).
        """
        return replace(cls.mlp(outputs, apart=apart, spans=spans, pooling=pooling), kind="span")

    def to_dict(self) -> dict[str, Any]:
        """Return the form as plain data."""
        return asdict(self)


class NoPooler(nn.Module):
    """Stands where a base model has a pooler that nothing reads."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Give the first token's vector, (b, D): some families compute on with what is pooled."""
        return states[:, 0]


def mean_of_tokens(states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the mean, (b, D), of the vectors of a text's tokens, (b, L, D).

    ``mask``, (b, L), is 1 at tokens, 0 at padding; every place is a token without it.
    """
    if mask is None:
        return states.mean(1)
    weights = mask.to(states.dtype)
    weights = weights / weights.sum(1, keepdim=True).clamp(min=1)
    return (states * weights.unsqueeze(-1)).sum(1)


REDUCES = "_get_feature_vector_attention_mask"
"""Method of transformers' models of sound: from a mask of samples to one of states."""


def mask_of_states(
    backbone: nn.Module, states: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor | None:
    """Return a mask, (b, L), of a backbone's states where its input is longer, as of sound.

    ``states`` are (b, L, D), ``mask`` is that of the input, (b, n).
    """
    if mask is None or mask.shape[-1] == states.shape[1]:
        return mask
    reduce: Any = getattr(backbone, REDUCES, None)
    if reduce is None:  # of the states the first alone is there, which is no padding
        return mask
    found: torch.Tensor = reduce(states.shape[1], mask)
    return found


class PooledHead(nn.Module):
    """A vector pooled of the text (and span vectors) to logits.

    With two spans the input is ``[p; w1; w2; |w1 - w2|; w1 * w2]`` (EH-FT's form for WiC), where
    ``p`` is what is pooled, by default the first token's vector, and ``w`` the sum of the vectors
    of a span's tokens; with any other number the span vectors simply follow ``p``.

    Attention pooling is ``p = sum_i a_i h_i`` with ``a = softmax_i(q . h_i / sqrt(D))`` over the
    tokens that are no padding. Its query ``q`` is part of the head and starts at zero, where ``p``
    is the mean.

    Args:
        width: Width of the backbone's vectors.
        spec: The form.
    """

    def __init__(self, width: int, spec: HeadSpec) -> None:
        super().__init__()
        inputs = width * (5 if spec.spans == 2 else 1 + spec.spans)
        self.spec = spec
        if spec.pooling == "attention":
            self.query = nn.Parameter(torch.zeros(width))
        self.dropout = nn.Dropout(spec.dropout)
        self.dense = nn.Linear(inputs, spec.hidden) if spec.hidden else None
        self.out = nn.Linear(spec.hidden or inputs, spec.outputs)
        for linear in filter(None, (self.dense, self.out)):
            nn.init.normal_(linear.weight, std=spec.init_std)
            nn.init.zeros_(linear.bias)

    def pool(self, states: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return one vector, (b, D), for the final hidden states, (b, L, D), of each text.

        ``mask``, (b, L), is 1 at tokens, 0 at padding; every place is a token without it. Where
        each token has logits of its own it is the states.
        """
        if self.spec.pooling == EACH_STATE:
            return states
        if self.spec.pooling == "first":
            return states[:, 0]
        if self.spec.pooling == "mean":
            return mean_of_tokens(states, mask)
        scores: torch.Tensor = (states * self.query).sum(-1) / states.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(mask == 0, torch.finfo(scores.dtype).min)
        return (states * scores.softmax(-1).unsqueeze(-1)).sum(1)

    def forward(
        self,
        states: torch.Tensor,
        span_masks: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Compute logits.

        Args:
            states: Final hidden states, (b, L, D).
            span_masks: 1 at the tokens of each span, (b, spans, L).
            mask: 1 at tokens, 0 at padding, (b, L); every place is a token without it.

        Returns:
            Logits, (b, outputs); (b, 2) where two classes share a logit ``z``: ``[0, z]``, whose
            softmax and cross-entropy are exactly the sigmoid and binary cross-entropy of ``z``.
        """
        vector = self.pool(states, mask)
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
    """A backbone with a head of ours, called like a transformers classifier."""

    base_model_prefix = "backbone"

    def __init__(self, backbone: nn.Module, spec: HeadSpec) -> None:
        super().__init__()
        self.backbone = backbone
        self.config: Any = backbone.config
        self.head = PooledHead(backbone.config.hidden_size, spec)  # type: ignore[union-attr,arg-type]

    def forward(
        self,
        span_masks: torch.Tensor | None = None,
        word_places: torch.Tensor | None = None,
        **inputs: torch.Tensor,
    ) -> SequenceClassifierOutput:
        """Compute logits for a batch.

        Args:
            span_masks: 1 at the tokens of each span, (b, spans, L).
            word_places: Which tokens of the batch laid end to end are asked for, (words,).
            **inputs: The backbone's inputs; texts are (b, L), or (b, choices, L) for choices.

        Returns:
            An output with ``logits``: (b, outputs), or (b, choices) for multiple choice; of tokens
            (words, outputs), or (b, L, outputs) where none are asked for.
        """
        shape = inputs["input_ids"].shape if "input_ids" in inputs else ()
        if len(shape) == 3:
            inputs = {k: v.reshape(-1, shape[-1]) for k, v in inputs.items()}
        states = self.backbone(**inputs).last_hidden_state
        mask = None  # what reads single vectors has no use for it
        if self.head.spec.pooling in ("mean", "attention"):
            mask = mask_of_states(self.backbone, states, inputs.get("attention_mask"))
        logits = self.head(states, span_masks, mask)
        if len(shape) == 3:
            logits = logits.reshape(shape[0], shape[1])
        if word_places is not None:
            logits = logits.flatten(0, 1)[word_places]
        return SequenceClassifierOutput(logits=logits)
