"""Final-layer states of whole rows: padding and batches leave no trace in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from headstart.models.backbone import SplitModel
from headstart.training.frozen import hidden
from headstart.training.frozen.hidden import final_states
from headstart.training.machine.runtime import Runtime

ROWS = 11
Make = Callable[..., Any]


def alone(split: SplitModel, loader: Any, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute a row without any padding, each of its texts on its own."""
    batch = loader.batch(np.array([row]))
    first, mean = [], []
    flat = {k: v.reshape(-1, v.shape[-1]) for k, v in batch.items() if k != "labels"}
    for text in range(len(flat["input_ids"])):
        real = flat["attention_mask"][text].bool()
        own = {k: v[text : text + 1, real] for k, v in flat.items()}
        with torch.no_grad():
            states = split.base(**own).last_hidden_state[0]
        first.append(states[0].numpy())
        mean.append(states.mean(0).numpy())
    return np.mean(first, axis=0), np.mean(mean, axis=0)


@pytest.mark.parametrize(
    ("family", "kind", "left"),
    [*((family, "sequence", False) for family in tiny.FAMILIES),
     ("bert", "choice", False), ("roberta", "choice", False),
     ("roberta", "sequence", True), ("modernbert", "sequence", True)],
)  # fmt: skip
def test_each_row_is_what_it_is_alone(
    family: str, kind: str, left: bool, make_loader: Make, runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    split = SplitModel(tiny.build(family, kind=kind))
    loader = make_loader(ROWS, choices=3 if kind == "choice" else 1, left=left)
    monkeypatch.setattr(hidden, "TOKENS_PER_BATCH", 60)
    first, mean = final_states(split, loader, runtime)
    assert first.shape == mean.shape == (ROWS, 32)
    assert len(loader.asked) > 1
    for row in range(ROWS):
        begins, whole = alone(split, loader, row)
        np.testing.assert_allclose(first[row], begins, atol=2e-5)
        np.testing.assert_allclose(mean[row], whole, atol=2e-5)


def test_dropout_is_off_and_every_mode_is_put_back(make_loader: Make, runtime: Runtime) -> None:
    split = SplitModel(tiny.build("bert", hidden_dropout_prob=0.5))
    plain = final_states(split, make_loader(), runtime)
    split.model.train()
    again = final_states(split, make_loader(), runtime)
    assert all(np.array_equal(a, b) for a, b in zip(plain, again, strict=True))
    assert all(module.training for module in split.model.modules())
    assert not split.base._forward_hooks
