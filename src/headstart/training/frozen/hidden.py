"""Final-layer states of whole rows: what an encoder makes of a text."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from headstart.data.batching import budget_batches
from headstart.models.backbone import SplitModel
from headstart.models.evaluating import evaluating
from headstart.models.heads import mask_of_states
from headstart.training.loader import BatchLoader
from headstart.training.machine.runtime import Runtime

Floats = npt.NDArray[np.float32]
TOKENS_PER_BATCH = 4096


def _mask(split: SplitModel, states: torch.Tensor, given: torch.Tensor | None) -> torch.Tensor:
    """Return 1 at states of a row, 0 at those of padding, (b, L, 1)."""
    if given is not None:
        found = mask_of_states(split.base, states, given.reshape(len(states), -1))
        return cast(torch.Tensor, found).unsqueeze(-1).to(states.dtype)
    return torch.ones_like(states[..., :1])


@torch.no_grad()
def final_states(split: SplitModel, loader: BatchLoader, runtime: Runtime) -> tuple[Floats, Floats]:
    """Run every row through the base model, without dropout.

    Gives the final layer's states at the first token and their mean over all tokens but padding,
    (n, D) each; of rows with several texts, the mean over the texts.
    """
    heard: list[Any] = []
    first: list[torch.Tensor] = [torch.empty(0)] * len(loader.lengths)
    mean: list[torch.Tensor] = [torch.empty(0)] * len(loader.lengths)
    with split.base.register_forward_hook(lambda _, __, output: heard.append(output)):
        for rows in budget_batches(loader.lengths, TOKENS_PER_BATCH, 256, loader.apart):
            batch = loader.batch(rows)
            batch.pop("labels", None)
            with evaluating(split.model), runtime.autocast():
                split.model(**batch)
            states = heard.pop().last_hidden_state.float()
            if states.ndim == 4:  # a map of places, (b, D, H, W), as convolutions give
                states = states.flatten(2).transpose(1, 2)
            mask = _mask(split, states, batch.get("attention_mask"))
            whole = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            start = mask[..., 0].argmax(1)  # rows may be filled up in front
            begins = states[torch.arange(len(states), device=states.device), start]
            for target, values in ((first, begins), (mean, whole)):
                of_rows = values.unflatten(0, (len(rows), -1)).mean(1).cpu()
                for place, row in enumerate(rows):
                    target[row] = of_rows[place]
    return torch.stack(first).numpy(), torch.stack(mean).numpy()
