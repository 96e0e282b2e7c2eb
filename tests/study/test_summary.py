"""What a study says: groups, pairs by seed, marks, and the table in every form."""

from __future__ import annotations

import copy
import csv
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from headstart.errors import HeadstartError
from headstart.results import RunResult
from headstart.study.formats import as_text
from headstart.study.outcome.comparison import compare
from headstart.study.outcome.summary import run_score, summarise
from headstart.study.outcome.tables import (
    CSV_HEAD,
    HEAD,
    LEGEND,
    MARKED,
    UNKNOWN,
    legend,
    notes,
    overall_rows,
    overall_title,
    rows,
    title,
)

A, B = "full", "bitfit > full"
TOUCHED = {name for name in HEAD if name not in {
    "strategy", ">seeds", ">failed", ">churn", ">seconds"}}  # fmt: skip


def record(task: str, strategy: str, seed: int, score: float, **more: Any) -> dict[str, Any]:
    """Return a finished run with 100 validation rows and a start at 0.5."""
    stage = {
        "stage": "full", "trains": "full", "attempt": 1, "planned_steps": 3, "lr": 1e-4,
        "head_lr": 1e-4, "trainable": {}, "seconds": 30.0, "start": {"score": 0.5},
    }  # fmt: skip
    result = {
        "strategy": strategy, "seed": seed, "task": {"metrics": ["accuracy"]}, "settings": {},
        "data": {"validation_rows": 100, "untouched_rows": 0}, "stages": [stage],
        "last": {"accuracy": score, "score": score}, **more,
    }  # fmt: skip
    axes = {"task": task, "model": "m", "strategy": strategy, "train_rows": None, "seed": seed}
    return {"id": f"{task}-{strategy}-{seed}", "axes": axes, "result": result}


def study(**changes: Any) -> list[dict[str, Any]]:
    """Return six seeds of two strategies on two tasks; the second wins by 1 to 6 points on one."""
    found = []
    for seed in range(6):
        found += [record("one", A, seed, 0.70), record("one", B, seed, 0.71 + seed / 100)]
        found += [record("two", A, seed, 0.80 + seed / 100), record("two", B, seed, 0.80)]
    return [r | {"result": r["result"] | changes} for r in found]


def test_pairs_are_compared_within_a_task_and_corrected_over_tasks() -> None:
    summary = summarise(study(), [], A, [A, B])
    one, two = summary.groups
    assert one.entries[0].comparison is None
    found, other = one.entries[1].comparison, two.entries[1].comparison
    assert found is not None
    assert other is not None
    assert found.difference.estimate == pytest.approx(0.035)
    # Only the two equal signs of all 64 are as extreme: 2 / 64; Holm doubles the smaller of two.
    assert found.p == pytest.approx(2 / 64)
    assert found.adjusted == pytest.approx(4 / 64)
    assert other.difference.estimate == pytest.approx(-0.025)
    assert one.entries[1].scores is not None
    assert one.entries[1].scores.worst == pytest.approx(0.71)
    assert one.entries[1].gain_per_second == pytest.approx((0.735 - 0.5) / 30)


def test_all_tasks_together_are_means_over_tasks_paired_by_seed() -> None:
    overall = summarise(study(), [], A, [A, B]).overall
    assert overall is not None
    assert overall.ranks == [1.5, 1.5]
    # Each seed gains seed + 1 points on one task and loses seed points on the other.
    assert overall.comparisons[B].difference.estimate == pytest.approx(0.005)
    assert overall.comparisons[B].difference.low == pytest.approx(0.005)
    # Demsar 2006, table 5: q = 1.960 for two; CD = q sqrt(k (k + 1) / (6 N)).
    assert overall.critical_difference == pytest.approx(1.960 * (6 / 12) ** 0.5, abs=1e-3)


def test_only_seeds_of_both_sides_are_paired() -> None:
    records = [r for r in study() if r["id"] not in {"one-full-0", f"one-{B}-5"}]
    found = summarise(records, [], A, [A, B]).groups[0].entries[1]
    assert found.comparison is not None
    assert found.comparison.seeds == 4
    assert found.comparison.difference.estimate == pytest.approx(0.035)
    assert found.scores is not None
    assert found.scores.n == 5


@pytest.mark.parametrize("side", [A, B])
def test_runs_are_paired_by_seed_in_whatever_order_they_have_ended(side: str) -> None:
    records = study()
    for each in records:  # both sides rise and fall together with the seed
        seed = each["axes"]["seed"]
        each["result"]["last"] = {"score": each["result"]["last"]["score"] + seed**2 % 7 / 50}
    wanted = summarise(records, [], A, [A, B])
    in_order = [r for r in records if r["axes"]["strategy"] != side]
    backwards = [r for r in reversed(records) if r["axes"]["strategy"] == side]
    found = summarise([*in_order, *backwards], [], A, [A, B])
    named = [{g.task: [e.comparison for e in g.entries] for g in s.groups} for s in (found, wanted)]
    assert named[0] == named[1]
    assert found.overall == wanted.overall
    one, two = (named[1][task][1] for task in ("one", "two"))
    assert one and two and wanted.overall
    assert one.difference.estimate == pytest.approx(0.035)
    assert [one.spread, two.spread] == 2 * [pytest.approx(np.std([0, 1, 2, 3, 4, 5], ddof=1) / 100)]
    assert wanted.overall.comparisons[B].spread == pytest.approx(0, abs=1e-12)


def test_each_strategy_is_corrected_over_the_tasks_alone() -> None:
    """However many strategies a study has, p of one is multiplied by its number of tasks."""
    alone = summarise(study(), [], A, [A, B]).groups[0].entries[1].comparison
    records = study()
    lines = [f"{name} > full" for name in ("head", "lora", "top")]
    for line in lines:
        more = [copy.deepcopy(r) for r in study() if r["axes"]["strategy"] == B]
        for each in more:
            each["axes"]["strategy"] = line
        records += more
    summary = summarise(records, [], A, [A, B, *lines])
    found = [e.comparison for e in summary.groups[0].entries[1:]]
    assert len(found) == 4
    assert alone is not None
    assert alone.adjusted == pytest.approx(4 / 64)
    assert {c.adjusted for c in found if c} == {alone.adjusted}


def test_sizes_models_and_settings_are_groups_of_their_own() -> None:
    records = study()[:4]
    for index, change in enumerate([{}, {"train_rows": 50}, {"model": "n"}, {"lr": 0.1}]):
        records[index]["axes"] |= {"task": "one", **change}
    assert len(summarise(records, [], A, [A, B]).groups) == 4


def test_failures_and_collapses_are_counted_and_not_averaged() -> None:
    records = study()
    records[1]["result"]["collapsed"] = True
    lost = records.pop(5)
    failure = {"id": lost["id"], "axes": lost["axes"], "error": "NaN"}
    entry = summarise(records, [failure], A, [A, B]).groups[0].entries[1]
    assert entry.crashed == [1]
    assert entry.failed_share == pytest.approx(2 / 6)
    assert entry.scores is not None
    assert entry.scores.n == 5


@pytest.mark.parametrize(
    ("changes", "marked"),
    [
        ({}, False),
        ({"selected": "best", "best": {"score": 0.9}}, True),
        ({"selected": "best", "untouched": {"score": 0.9}}, False),
        ({"selected": "earlier", "earlier": {"score": 0.9}}, True),
    ],
)
def test_scores_on_the_rows_that_selected_are_marked(changes: Any, marked: bool) -> None:
    summary = summarise(study(**changes), [], A, [A, B])
    assert summary.overall is not None
    places = [n for n, name in enumerate(HEAD) if name in TOUCHED]
    overall = [row[n] for row in overall_rows(summary.overall) for n in (1, 3, 4, 5, 6)]
    touched = [row[n] for row in rows(summary.groups[0]) for n in places] + overall
    assert all(("*" in cell) == marked for cell in touched if cell != UNKNOWN), touched
    others = [cell for row in rows(summary.groups[0]) for n, cell in enumerate(row)
              if n not in places]  # fmt: skip
    assert not any("*" in cell for cell in others)
    assert (MARKED in list(notes(summary))) == marked
    for form in ("text", "md", "latex"):
        assert (MARKED in as_text(summary, form).replace("\\*", "*")) == marked
    for row in csv.DictReader(io.StringIO(as_text(summary, "csv"))):
        assert row["selected_on_these_rows"] == str(marked)
        if row["pairs"]:
            assert row["compared_on_rows_that_selected"] == str(marked)


@pytest.mark.parametrize(
    ("select", "early", "decided"),
    [("auto", "head", True), ("last", "head", False), ("auto", "everything", False),
     ("auto", "nothing", False)],
)  # fmt: skip
def test_a_comparison_with_an_earlier_stage_is_a_choice_by_scores(
    select: str, early: str, decided: bool
) -> None:
    made = RunResult.from_dict(record("one", B, 0, 0.7, settings={"select": select})["result"])
    made.stages.insert(0, replace(made.stages[0], handed_on=early))
    assert run_score("r", made).same_rows == decided


def test_a_flattered_baseline_marks_the_differences_with_it() -> None:
    records = study()
    for each in records:
        if each["axes"]["strategy"] == A:
            each["result"] |= {"selected": "best", "best": {"score": 0.9}}
    base, ours = rows(summarise(records, [], A, [A, B]).groups[0])
    assert "*" in base[2]
    assert "*" not in ours[2]
    assert "*" in ours[HEAD.index(">difference [95 %]")]


def test_seeds_that_are_needed_and_friedman_are_told() -> None:
    records = study()
    third = [copy.deepcopy(r) for r in records if r["axes"]["strategy"] == A]
    for each in third:
        each["axes"]["strategy"] = "head > full"
        each["id"] += "-third"
    summary = summarise([*records, *third], [], A, [A, B, "head > full"])
    told = list(notes(summary))
    comparison = summary.groups[0].entries[1].comparison
    assert comparison is not None
    sd = float(np.std([0.01 * (seed + 1) for seed in range(6)], ddof=1))
    assert comparison.spread == pytest.approx(sd)
    assert rows(summary.groups[0])[1][HEAD.index(">needs")] == "6"
    assert any("6 pairs of seeds show differences from 2.7 points up" in n for n in told)
    assert any(n.startswith("that all strategies are alike: chi-square = ") for n in told)


def test_the_legend_explains_what_is_shown() -> None:
    assert len(legend()) == len(LEGEND)
    assert [text.split(":")[0] for text in legend(("strategy", ">churn"))] == ["churn"]
    assert not any("gain/min" in text for text in legend([h for h in HEAD if h != ">gain/min"]))


def test_churn_is_that_of_the_logits() -> None:
    logits = {
        f"one-full-{seed}": np.eye(2, dtype=np.float32)[[0, 0, seed % 2]] for seed in range(6)
    }
    entry = summarise(study(), [], A, [A, B], logits.get).groups[0].entries[0]
    assert entry.churn == pytest.approx(9 / 15 / 3)  # 9 of 15 pairs differ in one row of three
    assert summarise(study(), [], A, [A, B]).groups[0].entries[0].churn is None


def test_two_seeds_disagree_on_a_row_where_any_of_its_labels_differs() -> None:
    records = study()
    for record in records:
        record["result"]["task"]["target"] = "multilabel"
    rows = [[[3, -1], [1, 1], [-1, -1]], [[1, -3], [2, -1], [-9, -1]]]
    logits = {f"one-full-{seed}": np.array(rows[seed % 2], np.float32) for seed in range(6)}
    entry = summarise(records, [], A, [A, B], logits.get).groups[0].entries[0]
    assert entry.churn == pytest.approx(9 / 15 / 3)


def test_too_few_seeds_are_told() -> None:
    few = [r for r in study() if r["axes"]["seed"] < 3]
    assert any("with 3 pairs of seeds p cannot be below 0.25" in n for n in notes(
        summarise(few, [], A, [A, B])))  # fmt: skip
    assert not any("cannot be" in n for n in notes(summarise(study(), [], A, [A, B])))


def test_every_form_tells_the_same_numbers() -> None:
    summary = summarise(study(), [], A, [A, B])
    row = rows(summary.groups[0])[1]
    assert row[:6] == ["bitfit > full (eh-ft)", "6", "73.5 ± 1.9", "73.5", "71.0", "76.0"]
    assert row[7:9] == ["+3.5 [1.5, 5.5]", "0.062"]
    assert len(row) == len(HEAD)
    read = list(csv.DictReader(io.StringIO(as_text(summary, "csv"))))
    assert list(read[0]) == list(CSV_HEAD)
    assert float(read[1]["difference"]) == pytest.approx(0.035)
    assert len(read) == 4
    assert r"73.5 $\pm$ 1.9" in as_text(summary, "latex")
    assert "+3.5 [1.5, 5.5]" in as_text(summary, "md")
    assert title(summary.groups[0], summary) == "one: accuracy in %, against full (ft)"


def test_a_score_that_counts_errors_is_named_with_the_way_that_is_better() -> None:
    changes = {"task": {"metrics": ["accuracy", "rmse"]}}
    summary = summarise(study(**changes), [], A, [A, B])
    scale = "mean of accuracy, -rmse, × 100 (higher is better)"
    assert title(summary.groups[0], summary) == f"one: {scale}, against full (ft)"
    assert [note for note in notes(summary) if note.startswith("rmse: lower is better; in a score")]
    assert not any("lower is better" in n for n in notes(summarise(study(), [], A, [A, B])))


def test_what_a_user_typed_stays_text() -> None:
    records = study()
    for each in records:
        each["axes"]["task"] = "<script>|&%_" + each["axes"]["task"]
    summary = summarise(records, [], A, [A, B])
    assert "<script>" not in as_text(summary, "md").replace(r"\<script>", "")
    assert r"\<script>\|" in as_text(summary, "md")


def test_a_baseline_that_is_no_strategy_of_the_study_is_refused() -> None:
    with pytest.raises(HeadstartError, match="a baseline among the strategies"):
        summarise(study(), [], "head", [A, B])


def test_nothing_that_has_ended_gives_no_groups() -> None:
    assert summarise([], [], A, [A, B]).groups == []


def test_seeds_that_cancel_leave_no_difference_to_plan_for() -> None:
    # In floating point the mean of these differences is 4e-17 and not 0.
    ours = [0.7142857142857143, 0.9464285714285714, 0.9464285714285714]
    found = compare(ours, [0.6964285714285714, 0.9285714285714285, 0.9821428571428571])
    assert found is not None
    assert found.difference.estimate != 0
    assert found.difference.estimate == pytest.approx(0, abs=1e-15)
    assert found.seeds_needed is None


def test_errors_in_a_large_unit_have_notes_too() -> None:
    # Scores such as -rmse of prices: a point is a hundredth of a unit, the spread a thousand units.
    errors = {A: [-1500.0, -400.0, -90.0], B: [-1200.0, -700.0, -2500.0]}
    records = [
        record("prices", name, seed, score)
        for name, scores in errors.items()
        for seed, score in enumerate(scores)
    ]
    told = [*notes(summarise(records, [], A, [A, B]))]
    assert any("points up in 4 of 5 studies" in note for note in told)
    assert not any("one point takes" in note for note in told)


def test_stages_that_were_given_up_are_told() -> None:
    records = study()
    full = records[1]["result"]["stages"][0]
    attempts = [{**full, "stage": "bitfit", "attempt": n, "handed_on": "nothing"} for n in (1, 2)]
    learned = {**attempts[1], "handed_on": "head"}
    records[1]["result"]["stages"] = [*attempts, full]  # in vain, both times
    records[5]["result"]["stages"] = [attempts[0], learned, full]  # once
    told = [note for note in notes(summarise(records, [], A, [A, B])) if "learned nothing" in note]
    assert len(told) == 1
    assert told[0].startswith("bitfit > full (eh-ft): in 1 of 12 runs a stage learned nothing")


def test_calibrated_runs_are_told() -> None:
    records = study()
    assert not any("calibrated" in note for note in notes(summarise(records, [], A, [A, B])))
    for each, value in zip(records, (0.5, 2.0, 1.0), strict=False):
        each["result"]["calibration"] = {"temperature": value}
    told = [note for note in notes(summarise(records, [], A, [A, B])) if "calibrated" in note]
    assert len(told) == 1
    assert told[0].startswith("3 of 24 runs were calibrated: their logits were divided by 0.50 to")


def test_tables_of_one_task_are_not_called_tasks() -> None:
    def told(records: list[dict[str, Any]]) -> tuple[str, str]:
        summary = summarise(records, [], A, [A, B])
        return overall_title(summary), next(n for n in notes(summary) if "Nemenyi" in n)

    assert told(study())[0] == "All tasks together, in points"
    assert told(study())[1].endswith("(Nemenyi, 2 tasks)")
    sizes = study()
    for each in sizes:
        each["axes"] |= {"train_rows": 8 if each["axes"]["task"] == "one" else 9, "task": "one"}
    assert told(sizes)[0] == "All tables together, in points"
    assert "2 tables; those of one task are not independent" in told(sizes)[1]
