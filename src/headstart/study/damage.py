"""Checks of a study's files: truncated, or changed by hand or by a failing disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from headstart.files.contents import UnreadableError
from headstart.files.schema import as_record
from headstart.results import RunResult

RESULT_KEYS = ("id", "axes", "result", "measured")
_Name = Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")]


class _Axes(BaseModel):
    """The axes of every run; settings of the grid may follow."""

    model_config = ConfigDict(strict=True)
    task: str
    model: str
    strategy: str
    train_rows: int | None
    seed: int


class _Run(BaseModel):
    id: _Name
    axes: _Axes
    settings: dict[str, Any]
    measure: dict[str, Any] | None


class _Plan(BaseModel):
    runs: list[_Run]
    strategies: list[str] = []
    baseline: str | None = None
    number: int = 0
    analysis: str | None = None


class _Failure(BaseModel):
    id: _Name
    axes: _Axes
    error: str = ""


_CHANGED = "was changed after it had been written"


def as_json(values: Mapping[str, Any]) -> bytes:
    """Return plain data as every file of a study holds it."""
    return (json.dumps(values, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()


def digest(values: Mapping[str, Any]) -> str:
    """Return a digest, 16 hexadecimal digits, that tells a record that is not as it was written."""
    text = json.dumps(json.loads(as_json(values)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def of_result(record: Mapping[str, Any] | None, identity: str) -> str:
    """Return what is wrong with the record of a run's result, in words; empty if it is whole."""
    if not record or not record.keys() >= {*RESULT_KEYS, "digest"}:
        return "is truncated or not a result"
    if record["id"] != identity:
        return f"is the result of another run, {record['id']}"
    result = record["result"]
    try:
        fault = _of_numbers(RunResult.from_dict(result), record["axes"])
    except (KeyError, TypeError, AttributeError, IndexError, UnreadableError) as error:
        return f"lacks what a result has ({type(error).__name__}: {error})"
    found = {"result": result, "measured": record["measured"]}
    return fault or ("" if record["digest"] == digest(found) else _CHANGED)


def of_failure(record: Mapping[str, Any] | None, identity: str) -> str:
    """Return what is wrong with the record of a run's failure, in words; empty if it is whole."""
    try:
        told = as_record(_Failure, record)
    except UnreadableError as error:
        return f"is truncated or not a failure of that run ({error})"
    return "" if told.id == identity else "is truncated or not a failure of that run"


def of_plan(plan: Mapping[str, Any] | None, name: str) -> str:
    """Return what is wrong with the plan of a digest, in words; empty if it is whole."""
    if not plan or not isinstance(plan.get("runs"), list):
        return "is truncated or not a plan"
    try:
        as_record(_Plan, plan)
    except UnreadableError as error:
        return f"has runs without what a run has ({error})"
    return "" if plan_name(plan) == name else _CHANGED


def plan_name(plan: Mapping[str, Any]) -> str:
    """Return the digest, 16 hexadecimal digits, that a plan's file is named after.

    Which number it has among others is no part of it.
    """
    values = {key: value for key, value in plan.items() if key != "number"}
    return hashlib.sha256(as_json(values)).hexdigest()[:16]


def _of_numbers(result: RunResult, axes: Mapping[str, Any]) -> str:
    """Return what is wrong with the numbers that a summary reads; missing ones raise."""
    chosen = {"last": result.last, "best": result.best, "earlier": result.earlier}
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
