"""A model with a running statistic."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.models.bert.modeling_bert import BertEmbeddings

import tiny


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let BERT keep a running statistic, as batch normalisation does: its training passes."""
    make, compute = BertEmbeddings.__init__, BertEmbeddings.forward

    def with_count(self: Any, config: Any) -> None:
        make(self, config)
        self.register_buffer("passes", torch.zeros(()))

    def counting(self: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.passes.add_(float(self.training))
        return compute(self, *args, **kwargs)

    monkeypatch.setattr(tiny, "_files", tiny._files.__wrapped__)  # those at hand are without it
    monkeypatch.setattr(BertEmbeddings, "__init__", with_count)
    monkeypatch.setattr(BertEmbeddings, "forward", counting)
