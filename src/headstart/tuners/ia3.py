"""Keys, values and what the second feed-forward map reads are rescaled: IA3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from peft import IA3Config, PeftConfig
from torch import nn

from headstart.models.backbone import SplitModel
from headstart.plugins.cards import Card
from headstart.tuners._peft import PeftTuner, keys_and_values, sizes
from headstart.tuners._places import find_places


@dataclass
class Ia3(PeftTuner):
    """A trainable number for each column of keys, values and inner feed-forward states.

    Liu et al. 2022, arXiv 2205.05638, section 3.3. The numbers start at one, so training starts
    from the checkpoint's own output.
    """

    lr: ClassVar[float] = 3e-2
    head_lr: ClassVar[float] = 1e-3
    where: ClassVar[str] = (
        "at the keys and values of every layer, and before its second feed-forward map"
    )
    formula: ClassVar[str] = "outputs of the maps of keys and values + inputs of the second map"

    def maps(self, split: SplitModel) -> dict[str, nn.Module]:
        """Choose the maps of keys and values and the second feed-forward maps."""
        return {**self._attention(split), **_seconds(split)}

    def config(self, names: list[str]) -> PeftConfig:
        """Write the settings as ``peft`` has them."""
        second = [name for name in names if name in self._inner]
        return IA3Config(target_modules=names, feedforward_modules=second)

    def attach(self, split: SplitModel, *, reversible: bool = True) -> dict[str, nn.Parameter]:
        """Wrap the maps."""
        self._inner = {name.removeprefix(f"{split.prefix}.") for name in _seconds(split)}
        return super().attach(split, reversible=reversible)

    def count(self, split: SplitModel) -> int:
        """Compute how many numbers will train beside the head."""
        outer = sum(sizes(module)[1] for module in self._attention(split).values())
        return outer + sum(sizes(module)[0] for module in _seconds(split).values())

    def _attention(self, split: SplitModel) -> dict[str, nn.Module]:
        return keys_and_values(split, "ia3", keys=True)


def _seconds(split: SplitModel) -> dict[str, nn.Module]:
    seconds = {id(places.second) for places in find_places(split)}
    return {name: m for name, m in split.model.named_modules() if id(m) in seconds}


TUNER = Ia3
CARD = Card(
    idea="Each column of the keys, of the values and of the inner feed-forward states is "
    "multiplied by a trainable number. The numbers start at one, and nothing is added. They can "
    "be multiplied into the weights in the end.",
    equation="softmax(q · (l_k ⊙ k)ᵀ / √d) · (l_v ⊙ v);   W₂ (l_ff ⊙ act(W₁ x))",
    helps="When fewer numbers than biases may train, as for many models on one backbone.",
    harms="With more than a few hundred rows low-rank changes reach more.",
    citation="Liu et al.: Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than "
    "In-Context Learning (2022), arXiv 2205.05638.",
    notes="The learning rate was chosen on training rows of the small demo encoder, where 1e-2 "
    "hardly leaves chance in 120 steps.",
)
