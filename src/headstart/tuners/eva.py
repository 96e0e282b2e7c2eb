"""LoRA that begins with the main directions of the task's own activations: EVA."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from headstart.models.backbone import SplitModel
from headstart.models.evaluating import evaluating
from headstart.plugins.cards import Card
from headstart.tuners._base import Batch
from headstart.tuners._peft import LowRankTuner, wrapped

_BATCHES = 32
"""Batches of training rows that the decomposition sees at most."""


@dataclass
class Eva(LowRankTuner):
    """``A`` begins as the first right singular vectors of what the map reads on the task's rows.

    Paischer et al. 2024, arXiv 2410.07170, section 3. ``B`` is zero, so training starts from the
    checkpoint's own output. One pass over the first rows of the training set comes before training.
    """

    wants_rows: ClassVar[bool] = True

    def prepare(
        self,
        split: SplitModel,
        batches: Callable[[], Iterator[Batch]],
        run: Callable[[Batch], object],
    ) -> None:
        """Set every ``A`` from what its map reads."""
        sums = {name: _Reader(layer) for name, layer in wrapped(split).items()}
        with contextlib.ExitStack() as hooks, evaluating(split.model), torch.no_grad():
            for reader in sums.values():
                hooks.enter_context(reader.handle)
            for batch in itertools.islice(batches(), _BATCHES):
                mask = batch.get("attention_mask")
                for reader in sums.values():
                    reader.mask = mask
                run(batch)
        for name, layer in wrapped(split).items():
            narrow = layer.lora_A["default"].weight
            narrow.data.copy_(main_directions(sums[name].products, self.r))


class _Reader:
    """Adds up the products of a map's inputs, those of padding left out."""

    def __init__(self, layer: Any) -> None:
        width = layer.lora_A["default"].weight
        size = width.shape[1]
        self.products = torch.zeros(size, size, dtype=torch.float64, device=width.device)
        self.mask: torch.Tensor | None = None
        self.handle = layer.register_forward_pre_hook(self._read)

    def _read(self, layer: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        del layer
        states = inputs[0].detach()
        kept = states.reshape(-1, states.shape[-1])
        if self.mask is not None:
            mask = self.mask.reshape(-1, self.mask.shape[-1])
            if mask.shape == states.shape[:2]:
                kept = states[mask.bool()]
        kept = kept.double()
        self.products += kept.T @ kept


def main_directions(products: torch.Tensor, r: int) -> torch.Tensor:
    """Return the first right singular vectors of X, of which Xᵀ X is given.

    ``products`` is (inputs, inputs), in fp64. There is one a row, those of the largest singular
    values first, (r, inputs); where there are not as many inputs, the rest are zero. Their signs
    are such that the largest entry of each is positive.
    """
    vectors = torch.linalg.eigh(products).eigenvectors.flip(1).T[:r]
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    vectors = vectors * largest.sign()
    return torch.nn.functional.pad(vectors, (0, 0, 0, r - len(vectors)))


TUNER = Eva
CARD = Card(
    idea="LoRA's first matrix decides which directions of its input can matter, and is drawn at "
    "random. Here it is what the task's own rows show: the directions in which the map's inputs "
    "vary most. The other matrix is zero as in LoRA, so nothing changes at first.",
    equation="X: inputs of the map on training rows (tokens × inputs);  X = U S Vᵀ,  A = V_rᵀ,  B "
    "= 0",
    helps="With small ranks, where random directions waste most.",
    harms="It costs a pass over some training rows first, and a wide map costs an eigenvalue "
    "decomposition.",
    citation="Paischer et al.: Parameter Efficient Fine-tuning via Explained Variance Adaptation "
    "(2024), arXiv 2410.07170.",
    deviations="The decomposition is exact over the first 32 batches instead of incremental until "
    "it settles, and every map keeps the rank r (the paper's ρ = 1): ranks are not moved between "
    "maps.",
    sources={
        "r": "as for lora, so that the two compare",
        "alpha": "as for lora",
        "dropout": "as for lora",
        "targets": "as for lora",
    },
)
