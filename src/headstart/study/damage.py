"""What is wrong with a file of a study: truncated, or changed by hand or by a failing disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from headstart.results import RunResult
from headstart.study.summary import AXES

RESULT_KEYS = ("id", "axes", "result", "measured")
RUN_KEYS = {"id", "axes", "settings", "measure"}
_CHANGED = "was changed after it had been written"


def as_json(values: Mapping[str, Any]) -> bytes:
    """Return plain data as every file of a study holds it.

    Args:
        values: A table of plain data.

    Returns:
        JSON with a line break at its end.
    """
    return (json.dumps(values, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()


def digest(values: Mapping[str, Any]) -> str:
    """Return what tells a record that is not as it was written.

    Args:
        values: A table of plain data.

    Returns:
        16 hexadecimal digits.
    """
    text = json.dumps(json.loads(as_json(values)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def of_result(record: Mapping[str, Any] | None, identity: str) -> str:
    """Look at a result.

    Args:
        record: What its file holds.
        identity: The run that the file is named after.

    Returns:
        What is wrong, in words; nothing if it is whole.
    """
    if not record or not record.keys() >= {*RESULT_KEYS, "digest"}:
        return "is truncated or not a result"
    if record["id"] != identity:
        return f"is the result of another run, {record['id']}"
    result = record["result"]
    try:
        fault = _of_numbers(RunResult.from_dict(result), record["axes"])
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        return f"lacks what a result has ({type(error).__name__}: {error})"
    found = {"result": result, "measured": record["measured"]}
    return fault or ("" if record["digest"] == digest(found) else _CHANGED)


def of_failure(record: Mapping[str, Any] | None, identity: str) -> str:
    """Look at a failure.

    Args:
        record: What its file holds.
        identity: The run that the file is named after.

    Returns:
        What is wrong, in words; nothing if it is whole.
    """
    if not record or record.get("id") != identity or not _are_axes(record.get("axes")):
        return "is truncated or not a failure of that run"
    return ""


def of_plan(plan: Mapping[str, Any] | None, name: str) -> str:
    """Look at a plan.

    Args:
        plan: What its file holds.
        name: Its digest, which the file is named after.

    Returns:
        What is wrong, in words; nothing if it is whole.
    """
    runs = plan.get("runs") if plan else None
    if plan is None or not isinstance(runs, list):
        return "is truncated or not a plan"
    if not all(isinstance(r, Mapping) and r.keys() >= RUN_KEYS and _are_axes(r["axes"])
               for r in runs):  # fmt: skip
        return "has runs without what a run has"
    return "" if plan_name(plan) == name else _CHANGED


def plan_name(plan: Mapping[str, Any]) -> str:
    """Return the digest that a plan's file is named after.

    Args:
        plan: The plan; which number it has among others is no part of it.

    Returns:
        16 hexadecimal digits.
    """
    values = {key: value for key, value in plan.items() if key != "number"}
    return hashlib.sha256(as_json(values)).hexdigest()[:16]


def _are_axes(values: Any) -> bool:
    return isinstance(values, Mapping) and values.keys() >= set(AXES)


def _of_numbers(result: RunResult, axes: Mapping[str, Any]) -> str:
    """Look at all that a summary reads; what is missing raises."""
    chosen = {"last": result.last, "best": result.best}
    score = (result.untouched or chosen[result.selected]).get("score")
    if not isinstance(score, int | float) or isinstance(score, bool) or not score <= 1:
        return f"has no score of at most 1, but {score!r}"
    if result.seed != axes["seed"]:
        return "tells of another seed than its name"
    numbers = (result.data["validation_rows"], result.data["untouched_rows"],
               *(stage.seconds for stage in result.stages),
               *(stage.start.get("score", 0) for stage in result.stages[:1]))  # fmt: skip
    if not result.stages or not all(isinstance(number, int | float) for number in numbers):
        return "has words or nothing where numbers belong"
    if not all(isinstance(name, str) for name in (*result.task["metrics"], result.strategy)):
        return "has no names where names belong"
    return ""
