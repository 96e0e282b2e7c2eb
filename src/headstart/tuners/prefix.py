"""Trainable keys and values in front of every layer's own: prefix tuning (P-tuning v2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import nn

from headstart.models.backbone import SplitModel
from headstart.plugins.cards import Card
from headstart.plugins.ranges import ABOVE_0, ONE_OR_MORE, Range
from headstart.tuners._base import Tuner
from headstart.tuners._prefix_attention import PrefixedAttention


@dataclass
class Prefix(Tuner):
    """Every layer attends to ``tokens`` trainable keys and values beside those of the text.

    Li and Liang 2021, arXiv 2101.00190; Liu et al. 2022, arXiv 2110.07602. The keys and values
    train directly, without the small network that some implementations put before them. All tokens
    of the text see the whole prefix, in layers with a sliding window too. Where layers share their
    weights (ALBERT) they share the prefix.

    Args:
        tokens: Length of the prefix.
        init_std: Standard deviation of its initial values.
    """

    where: ClassVar[str] = "before the keys and values of every layer"
    formula: ClassVar[str] = (
        "2 · tokens · width for each layer (layers that share weights count once)"
    )
    serves: ClassVar[frozenset[str]] = frozenset({"text", "image"})
    lr: ClassVar[float] = 5e-3
    head_lr: ClassVar[float] = 5e-3
    no_merge: ClassVar[str] = "A prefix acts beside the weights and cannot be written into them."
    ranges: ClassVar[Mapping[str, Range]] = {"tokens": ONE_OR_MORE, "init_std": ABOVE_0}
    tokens: int = 17
    init_std: float = 0.01
    _attention: PrefixedAttention | None = field(default=None, init=False, repr=False)

    def attach(self, split: SplitModel, *, reversible: bool = True) -> dict[str, nn.Parameter]:  # noqa: ARG002
        """Put a prefix before every layer's keys and values: (heads, tokens, head width), by name.

        ``reversible`` is without effect: the backbone's weights stand still in any case. Raises
        ``ModelError`` if the model's family is not supported.
        """
        self._attention = PrefixedAttention(split)
        return self._attention.install(self.tokens, self.init_std)

    def detach(self, split: SplitModel) -> None:  # noqa: ARG002  the contract's signature
        """Take every prefix away. Raises ``RuntimeError`` if the tuner is not attached."""
        if self._attention is None:
            raise RuntimeError("detach() needs attach()")
        self._attention.remove()
        self._attention = None

    def count(self, split: SplitModel) -> int:
        """Compute how many numbers will train beside the head."""
        return PrefixedAttention(split).count(self.tokens)


TUNER = Prefix
CARD = Card(
    idea="Every layer attends to a few trainable keys and values beside those of the text. They "
    "act on what the layer reads, and leave every weight as it is. All tokens of the text see the "
    "whole prefix.",
    equation="softmax(q · [P_K; K]ᵀ / √d) · [P_V; V]    P_K, P_V: tokens × width, per layer",
    helps="When the backbone must stay as it is. As stage 1 the paper finds it as good as biases.",
    harms="Slow to learn with few rows, and it makes attention's work larger. It cannot be merged.",
    citation="Li and Liang: Prefix-Tuning (2021), arXiv 2101.00190; Liu et al.: P-Tuning v2 "
    "(2022), arXiv 2110.07602.",
    sources={"tokens": "EH-FT's code", "init_std": "EH-FT, appendix"},
    deviations="The keys and values train directly, without the small network that some "
    "implementations put before them. Layers that share weights share the prefix.",
    notes="Families: BERT, RoBERTa, XLM-R, CamemBERT, ELECTRA, DistilBERT, ALBERT, ModernBERT "
    "(with a transformers newer than 5.0), MPNet and DeBERTa-v2; in the last two the prefix takes "
    "no part in the position terms. `peft`'s prefix tuning is not used: it needs "
    "`past_key_values`, which most encoders do not have.",
)
