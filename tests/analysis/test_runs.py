"""From variants to runs with identities, and back from their records to cases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_analyses
import tiny_records
import tiny_studies
from headstart.analysis import ANALYSES
from headstart.analysis._base import Variant
from headstart.analysis.shared.runs import Runs, begin, cases, in_order, planned
from headstart.errors import HeadstartError
from headstart.study.plan import read_plan
from headstart.study.running.main import planned_runs

FULL, BITFIT = "full(steps=3)", "bitfit(steps=3) > full(steps=3)"
NO_LOGITS = np.zeros((2, 2), np.float32)


def identities(folder: Path, measure: Mapping[str, Any] | None, **own: Any) -> list[str]:
    """Return the identities of a variant's runs."""
    plan = read_plan(tiny_studies.values(folder, strategies=[FULL]))
    (runs,) = planned(plan, [Variant(FULL, "x", measure=measure, **own)]).values()
    return [run.id for run in runs]


def test_what_is_measured_is_part_of_a_runs_identity(tmp_path: Path) -> None:
    measures = (
        None,
        {"name": "change"},
        {"name": "drift", "rows": 5},
        {"name": "drift", "rows": 6},
    )
    found = [identities(tmp_path, measure) for measure in measures]
    assert all(len(ids) == 2 for ids in found)
    assert len({identity for ids in found for identity in ids}) == 8
    assert found == [identities(tmp_path, measure) for measure in measures]
    assert identities(tmp_path, {"rows": 5, "name": "drift"}) == found[2]


def test_without_a_measure_a_run_is_that_of_a_study(tmp_path: Path) -> None:
    plan = read_plan(tiny_studies.values(tmp_path, strategies=[FULL]))
    assert identities(tmp_path, None) == [run.id for run in planned_runs(plan)]
    assert identities(tmp_path, None, settings={"weight_decay": 0.1}) != identities(tmp_path, None)


def grid(folder: Path, variants: list[Variant], **more: Any) -> tuple[Any, Runs]:
    """Return a plan and the runs of some variants."""
    lines = list(dict.fromkeys(v.strategy for v in variants))
    plan = read_plan(tiny_studies.values(folder, strategies=lines, **more))
    return plan, planned(plan, variants)


def test_runs_come_seed_by_seed_and_once(tmp_path: Path) -> None:
    same = [Variant(FULL, "a"), Variant(BITFIT, "b"), Variant(FULL, "c")]
    _, runs = grid(tmp_path, same)
    assert runs[0] == runs[2]
    found = [(run.axes["seed"], run.axes["strategy"]) for run in in_order(runs)]
    assert found == [(0, FULL), (0, BITFIT), (1, FULL), (1, BITFIT)]


def test_cases_hold_what_has_ended_under_the_variant_that_asked(tmp_path: Path) -> None:
    variants = [
        Variant(FULL, "small", {"weight_decay": 0.1}, {"name": "change"}, {"size": "small"}),
        Variant(FULL, "plain", measure={"name": "change"}, axes={"size": "plain"}),
        Variant(BITFIT, "other", measure={"name": "change"}),
    ]
    plan, runs = grid(tmp_path, variants, train_rows=[8, 16])
    study = begin("change", plan, runs, str(tmp_path / "x"))
    assert cases(study.store, variants, runs) == ([], [])
    done = [run for run in study.runs if run.axes["train_rows"] == 16 and run.axes["seed"] == 1]
    for place, run in enumerate(done):
        plain = tiny_records.result({**run.axes, "strategy": "full"}, 0.7 + place / 10).to_plain()
        study.store.put(run, plain, NO_LOGITS, tiny_analyses.change(place))
    ((case,), damaged) = cases(study.store, variants, runs)
    assert (case.task, case.train_rows, damaged) == ("letters", 16, [])
    assert case.name == "letters, 16 training rows"
    assert [side.variant.name for side in case.sides] == ["small", "plain", "other"]
    assert all(list(side.runs) == [1] for side in case.sides)
    scores = {run.id: 0.7 + place / 10 for place, run in enumerate(done)}
    for place, side in enumerate(case.sides):
        (asked,) = (r for r in runs[place] if r.axes["train_rows"] == 16 and r.axes["seed"] == 1)
        assert side.runs[1].id == asked.id
        assert side.runs[1].result.scores["score"] == scores[asked.id]


def test_a_damaged_result_is_told_and_left_out(tmp_path: Path) -> None:
    variants = [Variant(FULL, "x", measure={"name": "change"})]
    plan, runs = grid(tmp_path, variants)
    study = begin("change", plan, runs, str(tmp_path / "x"))
    study.store.write(f"results/{study.runs[0].id}.json", b"{")
    found, damaged = cases(study.store, variants, runs)
    assert found == []
    assert "truncated" in damaged[0]


@pytest.mark.parametrize("faulty", ["ful", "bitfit > "])
def test_a_strategy_that_cannot_be_read_is_refused(faulty: str) -> None:
    with pytest.raises(HeadstartError):
        ANALYSES.get("change").variants({"strategies": [faulty]})
