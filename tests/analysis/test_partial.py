"""Every analysis says something of whatever has ended, and of runs that are plain fine-tuning."""

from __future__ import annotations

import json

import pytest

import tiny_analyses as made
from headstart.analysis import ANALYSES
from headstart.analysis._base import Case
from headstart.analysis._page import page
from tiny_records import BITFIT, FULL

LINES = [FULL, BITFIT, "head > full"]
SEEDS = 3


def told(name: str, ended: set[tuple[int, int]]) -> None:
    """Return what is said of some runs, after a look at the page and the numbers."""
    found = made.whole(name, LINES, ended=lambda *run: run in ended)
    assert found.sentences[0].startswith("reviews")
    assert "nan" not in " ".join([*found.sentences, *(f.caption for f in found.figures)]).split()
    text = page(ANALYSES.get(name).title, found, f"headstart analyze {name}", ["2 are missing"])
    assert "2 are missing" in text
    json.dumps([found.values, [f.data for f in found.figures]], allow_nan=False)
    assert found.tables
    for table in found.tables:
        assert all(len(row) == len(table.head) for row in table.rows)


@pytest.mark.parametrize("name", ANALYSES)
def test_whatever_has_ended_of_an_interrupted_analysis_is_told(name: str) -> None:
    sides = len(made.variants(name, LINES))
    runs = [(place, seed) for seed in range(SEEDS) for place in range(sides)]
    for count in range(1, len(runs)):
        told(name, set(runs[:count]))


@pytest.mark.parametrize("name", ANALYSES)
def test_a_side_of_which_all_runs_have_failed_is_left_out(name: str) -> None:
    sides = len(made.variants(name, LINES))
    runs = {(place, seed) for seed in range(SEEDS) for place in range(sides)}
    for lost in range(sides):
        own = {(lost, seed) for seed in range(SEEDS)}
        for ended in (runs - own, own, runs - own | {(lost, 1)}):
            told(name, ended)


def without_head(case: Case, lost: set[int]) -> Case:
    """Let the guard give up stage 1 of some seeds."""
    for side in case.sides:
        for seed, run in side.runs.items():
            if seed in lost:
                for stage in run.result.stages[:-1]:
                    stage.handed_on = "nothing"
    return case


@pytest.mark.parametrize("name", sorted(set(ANALYSES) - {"head"}))  # which leaves such runs out
def test_a_run_whose_stage_1_has_not_learned_is_told_to_be_plain_fine_tuning(name: str) -> None:
    variants = made.variants(name, LINES)
    measured = [
        (v, {s: made.measured(v, place, s) for s in range(SEEDS)})
        for place, v in enumerate(variants)
    ]
    for lost, seeds in (
        ({0, 2}, "2 of 3 runs of {} (seeds 0, 2)"),
        ({1}, "1 of 3 runs of {} (seed 1)"),
    ):
        found = ANALYSES.get(name).findings([without_head(made.case(measured), lost)])
        warned = [text for text in found.sentences if "began from a fresh head" in text]
        names = [v.name for v in variants if " > " in v.strategy or " >> " in v.strategy]
        assert len(warned) == len(names) > 0
        for text, own in zip(warned, names, strict=True):
            assert f"reviews: in {seeds.format(own)}" in text
