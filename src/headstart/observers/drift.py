"""How far the backbone's features of the training rows move from where they were."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.observers._features import l2_distance, linear_cka
from headstart.results import StageResult
from headstart.steps.callback import Observer
from headstart.steps.types import TrainingPlan
from headstart.training.frozen.hidden import final_states
from headstart.training.loader import ExamplesLoader, SubsetLoader
from headstart.training.seeds import stream

Floats = npt.NDArray[np.float32]
PLACES = ("first token", "mean of tokens")


class Drift(Observer):
    """Compares final-layer features after each stage with those of the pretrained backbone.

    Args:
        rows: Training rows at most, drawn by the seed.
    """

    def __init__(self, rows: int = 1000) -> None:
        self.rows = rows
        self.found: list[dict[str, Any]] = []

    def begin(self, plan: TrainingPlan) -> None:
        """Take the features of the pretrained backbone."""
        super().begin(plan)
        loader = ExamplesLoader(plan.encoded.train, plan.runtime.device)
        rng = np.random.default_rng(stream(plan.config.seed, "drift"))
        chosen = np.sort(rng.permutation(len(loader.lengths))[: self.rows])
        self.loader = SubsetLoader(loader, chosen)
        self.before = self._features()

    def _features(self) -> tuple[Floats, Floats]:
        return final_states(self.plan.model, self.loader, self.plan.runtime)

    def stage_ended(self, stage: StageResult) -> None:
        """Take the features after a stage that changes the backbone."""
        super().stage_ended(stage)
        if stage.handed_on not in {"everything", "model"}:
            return
        after = self._features()
        self.found.append({"stage": stage.stage, "read_at": {
            place: {
                "l2": l2_distance(old, new),
                "norm": float(np.linalg.norm(old, axis=1).mean()),
                "cka": _or_none(linear_cka(old, new)),
            }
            for place, old, new in zip(PLACES, self.before, after, strict=True)
        }})  # fmt: skip

    def end(self) -> dict[str, Any]:
        """Return the distances.

        Returns:
            ``stages``, each with the mean L2 distance, the mean norm before and the CKA at the
            first token and of the mean over the tokens; and the number of ``rows``. The CKA is
            ``None`` where the features of the rows do not differ.
        """
        return {"stages": self.found, "rows": len(self.before[0])}


def _or_none(value: float) -> float | None:
    """Return a number as JSON has it, which knows no NaN."""
    return value if math.isfinite(value) else None


OBSERVER = Drift
