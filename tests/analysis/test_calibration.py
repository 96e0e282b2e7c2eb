"""What the analysis of calibration says, of measurements set by hand."""

from __future__ import annotations

from typing import Any

import pytest

import tiny_records
from headstart.analysis import ANALYSES
from headstart.analysis._base import Case, Side
from headstart.report.read import Run

ANALYSIS = ANALYSES.get("calibration")


def judged(log_loss: float, ece: float, confidence: float, accuracy: float) -> dict[str, Any]:
    """Return measures with all rows in one bin."""
    return {
        "log_loss": log_loss, "brier": log_loss / 2, "ece": ece,
        "count": [0, 40], "confidence": [None, confidence], "accuracy": [None, accuracy],
    }  # fmt: skip


def case(*eces: float) -> Case:
    """Return a case with a strategy of two seeds for each ECE."""
    lines = [tiny_records.FULL, tiny_records.BITFIT][: len(eces)]
    sides = []
    for variant, ece in zip(ANALYSIS.variants({"strategies": lines}), eces, strict=True):
        runs = {}
        for seed in range(2):
            axes = tiny_records.axes(variant.strategy, seed)
            measured = {
                "before": judged(0.8 + seed / 10, ece, 0.9, 0.75),
                "after": judged(0.6 + seed / 10, ece / 2, 0.7, 0.75),
                "temperature": 1.5 if seed else None, "rows": 40, "same": True,
            }  # fmt: skip
            record = tiny_records.result(axes, 0.75)
            runs[seed] = Run(f"{variant.name}{seed}", axes, record, measured)
        sides.append(Side(variant, runs))
    return Case("reviews", "tiny-model", None, {}, sides)


def test_best_and_worst_are_named() -> None:
    first = ANALYSIS.findings([case(0.15, 0.02)]).sentences[0]
    assert "least apart under bitfit > full (eh-ft), by 2.0 points" in first
    assert "most under full (ft), by 15.0 (means over 2 seeds)" in first


def test_the_gap_is_compared_with_the_first_strategy() -> None:
    told = ANALYSIS.findings([case(0.15, 0.02)]).sentences[1]
    assert (
        "the gap of bitfit > full (eh-ft) is smaller than that of full (ft) (-13.0 points" in told
    )


def test_a_strategy_under_two_names_is_one() -> None:
    assert len(ANALYSIS.variants({"strategies": ["ft", "full"]})) == 1


def test_one_strategy_is_neither() -> None:
    first = ANALYSIS.findings([case(0.15)]).sentences[0]
    assert first.startswith("reviews: confidence and accuracy of full (ft) are 15.0 points apart")


def test_the_table_tells_before_and_after() -> None:
    (table,) = ANALYSIS.findings([case(0.15, 0.02)]).tables
    cells = dict(zip(table.head, table.rows[0], strict=True))
    assert cells[">log loss"] == "0.850 → 0.650"
    assert cells[">ECE"] == "0.150 → 0.075"
    assert cells[">temperature"] == "1.50"


def test_the_diagram_pools_the_seeds_and_leaves_out_empty_bins() -> None:
    figure = ANALYSIS.findings([case(0.15)]).figures[0]
    before = next(trace for trace in figure.data if trace["name"] == "before scaling")
    assert (before["x"], before["y"]) == ([90.0], [75.0])
    assert "before scaling 15.0 points too sure" in figure.caption
    assert "after scaling 5.0 points less sure than right" in figure.caption


@pytest.mark.parametrize("same", [True, False])
def test_the_page_says_which_rows_fit_the_temperature(same: bool) -> None:
    made = case(0.15)
    for run in made.sides[0].runs.values():
        run.measured["same"] = same  # type: ignore[index]
    told = " ".join(ANALYSIS.findings([made]).sentences)
    assert ("each half of the validation rows" in told) == same


def test_the_change_comes_with_its_interval() -> None:
    (told,) = [s for s in ANALYSIS.findings([case(0.15)]).sentences if "changes the log loss" in s]
    assert "by -0.200, 95 % interval -0.200 to -0.200, 2 seeds" in told
