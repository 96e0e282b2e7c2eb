"""What must be the same when a run is resumed, for its bits to be the same."""

from __future__ import annotations

from typing import Any

from headstart.errors import RunError
from headstart.steps.types import TrainingPlan, data_record


def origin_of(plan: TrainingPlan) -> dict[str, Any]:
    """Return what identifies the rows and the backbone of a run.

    Args:
        plan: The run.

    Returns:
        Plain data.
    """
    return {"rows": data_record(plan.splits), "backbone": plan.fingerprint}


def require_same(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with other rows or another backbone.

    Args:
        before: From ``origin_of``, when the run was started.
        now: The same now.

    Raises:
        RunError: If they differ.
    """
    changed = [name for name in now if before[name] != now[name]]
    if changed:
        raise RunError(
            "the rows and the backbone with which the run was started",
            f"another {' and another '.join(changed)}".replace("another rows", "other rows"),
            "Put back what has changed, or start again with --overwrite.",
        )
