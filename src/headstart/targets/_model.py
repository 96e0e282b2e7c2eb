"""The kind of target that a saved model predicts."""

from __future__ import annotations

from headstart.models.head_choice import ProblemType
from headstart.targets import TARGETS
from headstart.targets._base import TargetKind


def kind_of(problem_type: ProblemType) -> type[TargetKind]:
    """Find a kind of target by what transformers calls it."""
    kinds = map(TARGETS.get, TARGETS)
    return next(kind for kind in kinds if kind.problem_type == problem_type)
