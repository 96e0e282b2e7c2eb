"""The default strategy where the rows of a class are few: they are drawn together first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.steps.types import RunSettings, Splits, gold_labels
from headstart.strategies.builtin import ALIASES
from headstart.techniques.contrast import Contrast
from headstart.tuners._bind import read_strategy

FEW = 16
"""Mean rows of a class below which they are few: measured with 8 and with 32."""


def for_few_rows(settings: RunSettings, splits: Splits, model: SplitModel) -> RunSettings:
    """Decide what the default strategy is for these rows.

    Classes of few rows, read by a model that was made for sentence vectors, are drawn together
    before a head is fitted to them. A strategy that the user wrote is never changed, nor is the
    default where its length, its head or the preset are given, which speak of fine-tuning.
    """
    config = settings.config
    open_ = config.strategy == "default" and config.preset == "default"
    given = config.epochs or config.total_epochs or config.head
    if not open_ or given or not settings.hyperparameters.sentence:
        return settings
    if splits.kind.name not in Contrast.targets or not _can_compare(model):
        return settings
    labels = np.asarray(gold_labels(splits.train))
    classes = len(np.unique(labels))
    if len(labels) >= FEW * classes:
        return settings
    line = ALIASES["few"].line
    note = (
        f"{len(labels) / classes:.3g} rows a class are few: rows of a class are drawn together "
        f"before the head is fitted ({line}); --strategy fine-tunes otherwise."
    )
    changed = config.model_copy(update={"strategy": line})
    return replace(
        settings, config=changed, strategy=read_strategy(line), notes=(*settings.notes, note)
    )


def _can_compare(model: SplitModel) -> bool:
    try:
        Contrast().check(model)
    except ModelError:
        return False
    return True
