"""``headstart study soup`` makes one run of many seeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import headstart as hs
import tiny_runs
import tiny_studies
from cli.rows import Run
from headstart.results import RunResult
from headstart.study.running.main import carry_out_study


def test_a_soup_of_a_study_is_a_run_like_any_other(tmp_path: Path, cli: Run) -> None:
    study = tiny_studies.study(tmp_path, strategies=["full(steps=3)"], seeds=3)
    carry_out_study(study, tiny_studies.Here())
    address = study.store.address
    answer = cli("study", "soup", address, "--out", tmp_path / "soup")
    assert answer.code == 0, answer
    assert "score of the mean with it" in answer.out
    record = RunResult.read(tmp_path / "soup" / "result.json")
    assert "greedy soup" in record.rule
    assert "chosen by the score" in record.rule
    rows = tiny_runs.inputs(tmp_path)["validation"]
    found = hs.evaluate(str(tmp_path / "soup"), data=rows)
    assert found["score"] == pytest.approx(record.last["score"])
    alone = [
        json.loads(path.read_text())["result"]["last"]["score"]
        for path in (Path(address) / "results").glob("*.json")
    ]
    assert len(alone) == 3
    assert record.last["score"] >= max(alone)


def test_a_study_of_several_strategies_wants_one_named(tmp_path: Path, cli: Run) -> None:
    study = tiny_studies.study(tmp_path)
    carry_out_study(study, tiny_studies.Here())
    answer = cli("study", "soup", study.store.address, "--out", tmp_path / "soup")
    assert answer.code == 2
    assert "--strategy, one of the study's" in answer.err
