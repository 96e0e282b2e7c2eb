"""The default strategy where the rows of a class are few: they are drawn together first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.steps.types import RunSettings, Splits, gold_labels
from headstart.strategies.builtin import ALIASES
from headstart.strategies.stages import Strategy
from headstart.techniques import TECHNIQUES
from headstart.tuners._bind import bind_techniques, read_strategy

FEW = 64
"""Mean rows of a class below which they are few: between 32 and 128, the sizes where this line was
measured beside fine-tuning."""
MOST = 1280
"""Training rows above which they are not few: with more of them this line was not measured."""


def for_few_rows(settings: RunSettings, splits: Splits, model: SplitModel) -> RunSettings:
    """Decide what the default strategy is for these rows.

    Classes of few rows, read by a model that was made for sentence vectors, are drawn together
    before a head is fitted to them. A strategy that the user wrote is never changed, nor is the
    default where its length, its head, the head's rate or the preset are given, which speak of
    fine-tuning.
    """
    config = settings.config
    open_ = config.strategy == "default" and config.preset == "default"
    given = config.epochs or config.total_epochs or config.head or config.head_lr
    if not open_ or given or not settings.hyperparameters.sentence:
        return settings
    line = ALIASES["few"].line
    strategy = read_strategy(line)
    if not _suits(strategy, splits.kind.name, model):
        return settings
    labels = np.asarray(gold_labels(splits.train))
    classes = len(np.unique(labels))
    if len(labels) >= FEW * classes or len(labels) > MOST:
        return settings
    usual = ALIASES["default"].line
    note = (
        f"{len(labels) / classes:.3g} rows a class are few: rows of a class are drawn together "
        f"before the head is fitted. To fine-tune instead, write the strategy {usual!r}."
    )
    changed = config.model_copy(update={"strategy": line})
    return replace(settings, config=changed, strategy=strategy, strategy_note=note)


def _suits(strategy: Strategy, target: str, model: SplitModel) -> bool:
    """Return whether all techniques of a strategy have a meaning for these labels and model."""
    for stage in strategy.stages:
        if any(target not in TECHNIQUES.get(each.name).targets for each in stage.techniques):
            return False
        try:
            for technique in bind_techniques(stage):
                technique.check(model)
        except ModelError:
            return False
    return True
