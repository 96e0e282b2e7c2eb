"""Stage 1 alone, on a model and a tokenised data set of the user's own."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from headstart.data.encode import Encoded
from headstart.errors import ConfigError, DataError
from headstart.models.backbone import SplitModel
from headstart.run.listener import Listener
from headstart.run.settings import optimizer_settings
from headstart.run.stages import Materials, Options, StagePlan, StrategyRunner
from headstart.strategies.plan import lengths
from headstart.strategies.presets import get_preset
from headstart.strategies.stages import Strategy
from headstart.training.evaluate import Judge
from headstart.training.feed import EncodedFeed
from headstart.training.runtime import Runtime
from headstart.training.stopping import chance_loss
from headstart.tuners import TUNERS
from headstart.tuners._bind import read_strategy

NEVER = 10**9


def pretrain(
    split: SplitModel,
    dataset: Iterable[Mapping[str, Any]],
    line: str,
    *,
    label_column: str,
    epochs: float | None,
    batch_size: int,
    lr: float | None,
    head_lr: float | None,
    seed: int,
    device: str,
) -> None:
    """Train the head in place; see ``headstart.pretrain_head``."""
