"""A run's record: whole after a way through JSON, refused when damaged or of another form."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from headstart.errors import RunError
from headstart.files.schema import as_record
from headstart.results import SCHEMA_VERSION, Point, RunResult, StageResult


def stage(**more: Any) -> StageResult:
    values: dict[str, Any] = {
        "stage": "bitfit(epochs=3)", "trains": "bitfit", "attempt": 2, "planned_steps": 9,
        "lr": 1e-3, "head_lr": 2e-3, "trainable": {"head": 3, "tuner": 4, "frozen": 5},
        "steps": 8, "ended": "learned", "seconds": 2.5, "training_seconds": 2.0, "tokens": 500,
        "start": {"score": 0.5}, "end": {"score": 0.75}, "best_step": 4, "best": {"score": 0.8},
        "curve": [Point(0, None, {"score": 0.5, "loss": 0.7}), Point(8, 0.1, {"score": 0.75})],
        "train_adjusted_score": 0.25, "learned": True, "handed_on": "head",
    }  # fmt: skip
    return StageResult(**{**values, **more})


def result() -> RunResult:
    return RunResult(
        "bitfit(epochs=3) > full", 3, {"name": "rte", "labels": ["a", "é"]}, {"lr": 5e-5},
        data={"rows": 7}, backbone={"fingerprint": "sha256:0"}, machine={"device": "cpu"},
        versions={"torch": "2"}, stages=[stage(), stage(trains="full", learned=None)],
        last={"score": 0.7}, best={"score": 0.8}, earlier={"score": 0.65}, untouched={"score": 0.6},
        selected="best",
        calibration={"temperature": 1.5}, rule="best of 3",
        notes=["n"], warnings=["w"], guard=["g"], collapsed=True, status="failed", error="e",
        started="2024-01-01T00:00:00Z", seconds=1.25,
    )  # fmt: skip


def test_every_field_survives_the_way_through_json(tmp_path: Path) -> None:
    for record, blank in ((result(), RunResult("", 0, {}, {})), (stage(), None)):
        for f in fields(record):
            if blank and f.name != "schema_version":
                assert getattr(record, f.name) != getattr(blank, f.name), f.name
    (tmp_path / "result.json").write_text(result().to_json(), encoding="utf-8")
    again = RunResult.read(tmp_path / "result.json")
    assert again == result()
    assert isinstance(again.stages[0].curve[1], Point)
    assert as_record(StageResult, asdict(stage())) == stage()


def test_the_file_is_readable_by_people_and_other_programs(tmp_path: Path) -> None:
    text = result().to_json()
    values = json.loads(text)
    assert values["schema_version"] == SCHEMA_VERSION
    assert values["stages"][0]["tokens_per_second"] == 250.0
    assert "é" in text
    assert text.endswith("}\n")
    assert json.loads(RunResult("full", 0, {}, {"out": tmp_path}).to_json())["settings"] == {
        "out": str(tmp_path)
    }


def test_the_scores_are_those_of_the_saved_state() -> None:
    assert result().selecting == {"score": 0.8}
    assert result().scores == result().untouched == {"score": 0.6}
    assert RunResult("full", 0, {}, {}, last={"a": 1}, best={"a": 2}).scores == {"a": 1}


def test_throughput() -> None:
    assert stage().tokens_per_second == 250
    assert stage(training_seconds=0.0).tokens_per_second == 0
    assert math.isfinite(stage(tokens=0).tokens_per_second)


@pytest.mark.parametrize("length", [0, 1, 40, -3])
def test_a_cut_off_file_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "result.json"
    path.write_text(result().to_json()[:length], encoding="utf-8")
    with pytest.raises(RunError, match=r"result\.json"):
        RunResult.read(path)


@pytest.mark.parametrize(
    "content",
    [None, b"[]", b"3", b"\xff\xfe", b"{}"]
    + [
        json.dumps({"schema_version": SCHEMA_VERSION, **more}).encode()
        for more in ({}, {"stages": []}, {"stages": [{}]}, {"stages": [3]}, {"stages": None})
    ],
)
def test_a_file_that_is_no_whole_record_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "result.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=r"result\.json"):
        RunResult.read(path)


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1, None, "1"])
def test_another_schema_version_is_told(tmp_path: Path, version: Any) -> None:
    values = result().to_dict() | {"schema_version": version}
    (tmp_path / "result.json").write_text(json.dumps(values))
    with pytest.raises(RunError) as error:
        RunResult.read(tmp_path / "result.json")
    assert f"schema version {SCHEMA_VERSION}" in error.value.expected
    assert f"version {version}" in error.value.found
