"""Batches on demand, parts of a loader, and the loss of each row."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from headstart.targets.classes import Classes
from headstart.targets.number import Number
from headstart.training.loader import SubsetLoader, send


def test_a_batch_is_padded_to_its_longest_row(make_loader: Callable[..., Any]) -> None:
    loader = make_loader()
    rows = np.array([3, 0, 7])
    batch = loader.batch(rows)
    assert batch.keys() == {"input_ids", "attention_mask", "labels"}
    assert batch["input_ids"].shape == (3, loader.lengths[rows].max())
    assert batch["attention_mask"].sum(1).tolist() == loader.lengths[rows].tolist()
    assert batch["labels"].tolist() == loader.labels[rows].tolist()


def test_a_part_counts_its_own_rows(make_loader: Callable[..., Any]) -> None:
    loader = make_loader()
    part = SubsetLoader(loader, np.array([9, 2, 5, 11]))
    assert part.lengths.tolist() == loader.lengths[[9, 2, 5, 11]].tolist()
    batch = part.batch(np.array([3, 1]))
    assert loader.asked[-1] == [11, 2]
    assert batch["attention_mask"].sum(1).tolist() == loader.lengths[[11, 2]].tolist()


def test_a_copy_to_a_gpu_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    pinned = SimpleNamespace(to=lambda *args, **kwargs: calls.append((args, kwargs)))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda _: pinned)
    tensor, gpu = torch.zeros(2), torch.device("cuda", 0)
    assert send(tensor, torch.device("cpu")) is tensor
    assert calls == []
    send(tensor, gpu)
    assert calls == [((gpu,), {"non_blocking": True})]


def test_each_row_has_its_own_loss() -> None:
    logits = torch.randn(5, 3, dtype=torch.bfloat16)
    labels = torch.tensor([0, 2, 1, 1, 0])
    losses = Classes(("a", "b", "c")).row_losses(logits, labels)
    assert losses.dtype == torch.float32
    expected = -logits.float().log_softmax(-1)[torch.arange(5), labels]
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(losses.mean(), functional.cross_entropy(logits.float(), labels))

    numbers = torch.tensor([0.5, -1.0, 2.0])
    found = Number().row_losses(torch.tensor([[1.0], [1.0], [2.5]]), numbers)
    torch.testing.assert_close(found, torch.tensor([0.25, 4.0, 0.25]))
