"""How far a run's probabilities can be believed, before and after temperature scaling."""

from __future__ import annotations

import math
from typing import Any

from headstart.config import FitConfig
from headstart.errors import ConfigError
from headstart.steps.calibrate import final_logits
from headstart.steps.callback import Observer
from headstart.steps.rows import read_rows
from headstart.steps.settings import find_task
from headstart.steps.types import Splits, TrainingPlan, gold_labels
from headstart.tasks.calibration import (
    Array,
    cross_fitted,
    fit_temperature,
    measure,
    reliability,
    softmax,
)
from headstart.training.seeds import stream


class Calibration(Observer):
    """Judges the final model's probabilities on rows that were not trained on.

    No row is judged by a temperature that was fitted on it: carved rows fit it where there are any,
    else the validation rows do both, in halves.
    """

    def check(self, config: FitConfig) -> None:
        """Refuse what has no probabilities, or will be calibrated already.

        Raises ``ConfigError`` if the target is a number, or the run calibrates its model itself.
        """
        self._refuse(config, read_rows(config, find_task(config)))

    def begin(self, plan: TrainingPlan) -> None:
        """Refuse the same."""
        super().begin(plan)
        self._refuse(plan.config, plan.splits)

    @staticmethod
    def _refuse(config: FitConfig, splits: Splits) -> None:
        if not splits.kind.calibrates:
            raise ConfigError(
                "a task with one class for each row",
                f"{splits.task.name}, whose target is {splits.kind.name}",
                "Its probabilities are not judged here; choose another task.",
            )  # fmt: skip
        if config.calibrate:
            raise ConfigError(
                "runs that do not calibrate their model", "calibrate=true",
                "Drop it: this analysis fits the temperatures itself.",
            )  # fmt: skip

    def end(self) -> dict[str, Any]:
        """Judge the final model.

        ``before`` and ``after`` have log loss, Brier score, ECE and the bins of the reliability
        diagram; the ``temperature`` is fitted on all rows that fit one, ``None`` where they
        determine none; ``rows`` are judged, and ``same`` is whether they fit the temperature in
        halves.
        """
        encoded = self.plan.encoded
        before: Array
        after: Array
        fitting = final_logits(self.plan, encoded.validation)
        found = fit_temperature(fitting, gold_labels(encoded.validation))
        if encoded.untouched is None:
            gold, before = gold_labels(encoded.validation), fitting
            after = cross_fitted(before, gold, stream(self.plan.config.seed, "calibration"))
        else:
            gold = gold_labels(encoded.untouched)
            before = final_logits(self.plan, encoded.untouched)
            after = before / (1.0 if found.bound else found.value)
        return {
            "before": _judged(before, gold), "after": _judged(after, gold),
            "temperature": None if found.bound else found.value, "rows": len(gold),
            "same": encoded.untouched is None,
        }  # fmt: skip


def _judged(logits: Array, gold: Any) -> dict[str, Any]:
    bins = reliability(softmax(logits), gold)
    return {
        **measure(logits, gold),
        "count": bins.count.tolist(),
        "confidence": [None if math.isnan(v) else v for v in bins.confidence.tolist()],
        "accuracy": [None if math.isnan(v) else v for v in bins.accuracy.tolist()],
    }


OBSERVER = Calibration
