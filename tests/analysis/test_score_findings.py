"""What the analyses of scores say of finished runs: certain or not, tables, figures, the page."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

import tiny_records as made
from analysis.score_cases import (
    NAMES,
    Score,
    case,
    from_one_start,
    level,
    variants,
    with_gains,
)
from headstart.analysis import ANALYSES
from headstart.analysis._base import Case, Findings, Side, Variant
from headstart.analysis._page import page
from headstart.report.figures import label
from headstart.results import Point, RunResult
from headstart.strategies.plan import lengths
from headstart.tuners._bind import read_strategy
from tiny_records import NASTY


def findings(name: str, *cases: Case) -> Findings:
    """Return what an analysis says of cases."""
    found = ANALYSES.get(name).findings(cases)
    json.dumps(found.values, allow_nan=False)
    for table in found.tables:
        assert all(len(row) == len(table.head) for row in table.rows)
    assert len({figure.id for figure in found.figures}) == len(found.figures)
    return found


def one(name: str, score: Score, seeds: int = 8, **options: Any) -> Findings:
    """Return what an analysis says of one case."""
    return findings(name, case(variants(name, **options), score, seeds))


def column(found: Findings, table: int, title: str) -> list[str]:
    """Return the cells of a column."""
    place = list(found.tables[table].head).index(title)
    return [row[place] for row in found.tables[table].rows]


def test_a_certain_difference_is_told_with_interval_p_and_seeds() -> None:
    text = one("rank", with_gains({"rank": 0.03}, 0.002)).sentences[1]
    assert re.search(
        r"^reviews: against plain fine-tuning, rank 2 scores higher \(\+\d\.\d points, "
        r"95 % interval \d\.\d to \d\.\d, 8 seeds\), p = 0\.016; rank 8 scores higher .* "
        r"after Holm's correction over 2 comparisons\.$", text,
    )  # fmt: skip


def test_a_lower_score_is_told_as_lower_and_the_rest_as_not_certain() -> None:
    found = one("share", with_gains({"share=0.5": -0.05}, 0.03))
    assert "bitfit(share=0.5) > full scores lower than plain fine-tuning (-" in found.sentences[0]
    assert found.sentences[0].endswith("; of 1 other no difference is certain.")
    assert "no difference is certain, as each 95 % interval holds 0" in found.sentences[1]


def test_an_interval_without_0_is_not_certain_where_seeds_are_few() -> None:
    text = one("rank", with_gains({"rank 8": 0.03}, 0.001), seeds=3).sentences[1]
    assert "no difference is certain: rank 8 scores higher (+" in text
    assert "but p = 0.500 after Holm's correction over 2 comparisons" in text
    assert text.endswith("; 3 seeds cannot make it smaller than 0.05, 7 can.")


def test_one_seed_has_no_interval() -> None:
    for name in NAMES:
        found = one(name, with_gains({"bitfit": 0.1}), seeds=1)
        assert "no difference is certain: with one seed, chance and a real" in found.sentences[0]
        assert "interval" not in found.sentences[0]


def test_equal_scores_are_level() -> None:
    for name in NAMES:
        found = findings(name, case(variants(name), level, change=from_one_start))
        assert re.search(r"no difference is certain, as (each|its) 95 % interval holds 0",
                         found.sentences[0])  # fmt: skip
        assert "is level (+0.0 points" in found.sentences[0]


def test_differences_are_paired_by_the_seeds_of_both() -> None:
    whole = case(variants("reserve"), lambda v, seed: 0.6 + 0.05 * seed + 0.01 * (">>" in v.name))
    short = [
        Side(s.variant, {k: r for k, r in s.runs.items() if k < 5 or ">>" not in s.variant.name})
        for s in whole.sides
    ]
    found = findings("reserve", Case("reviews", "tiny-model", None, {}, short))
    assert found.tables[0].rows == [
        ["bitfit", "5", "+1.0 [1.0, 1.0]", "0.125", "60%"],
        ["lora", "5", "+1.0 [1.0, 1.0]", "0.125", "60%"],
    ]
    assert column(found, 1, ">runs") == ["8", "8", "5", "8", "5"]
    assert column(found, 1, ">pairs") == ["-", "8", "5", "8", "5"]


def test_kept_is_compared_with_dropped_and_both_with_plain_fine_tuning() -> None:
    found = one("reserve", with_gains({"bitfit >>": 0.04, "lora": 0.02}, 0.002))
    assert found.sentences[0].startswith(
        "reviews: kept minus dropped, bitfit scores higher kept than dropped (+"
    )
    assert "of 1 other no difference is certain" in found.sentences[0]
    beside = found.sentences[1]
    assert "bitfit >> full (eh-ft-reserve) scores higher" in beside
    assert "lora > full (eh-ft-lora) scores higher" in beside
    assert "bitfit > full (eh-ft) scores" not in beside
    plain, dropped, kept = found.figures[0].data
    assert (plain["mode"], dropped["mode"], kept["mode"]) == ("lines", "markers", "markers")
    assert kept["y"][0] - dropped["y"][0] == pytest.approx(4, abs=0.3)


def test_the_trend_over_ranks_is_a_slope_for_each_doubling() -> None:
    def score(variant: Variant, seed: int) -> float:
        doublings = {2: 1, 4: 2, 8: 3}.get(variant.facts.get("rank", 0), 0)
        return 0.7 + seed / 50 + doublings * (0.01 + seed / 10_000)

    found = one("rank", score, ranks="2,4,8")
    assert found.sentences[0].startswith(
        "reviews: the rank matters: each doubling of the rank raises the score (+1.0 points, "
    )
    assert found.values[1]["per_doubling"]["mean"] == pytest.approx(0.01035)
    assert found.values[1]["rank"] == 2
    assert any("alpha is 2 r" in sentence for sentence in found.sentences)


def as_planned(rows: int = 200, epochs: float = 4.0) -> Any:
    """Return a change that gives the stages of a run the steps that they are planned with."""

    def change(variant: Variant, result: RunResult) -> None:
        strategy = read_strategy(variant.strategy)
        plan = lengths(strategy, rows=rows, batch_size=32, epochs=epochs)
        for stage, length in zip(result.stages, plan, strict=True):
            stage.steps = length.steps

    return change


def test_the_steps_of_all_shares_are_checked_by_the_records() -> None:
    compared = variants("share")
    told = findings("share", case(compared, with_gains({}), 2, change=as_planned()))
    assert told.sentences[2] == (
        "reviews: by the records, every run with the total fixed has taken 28 optimizer steps, and "
        "every stage 2 that was fixed as well."
    )
    assert column(told, 0, ">share %") == ["0", "25", "50"]
    assert column(told, 0, ">steps of stage 1") == ["0", "7", "14"]
    assert column(told, 0, ">steps of stage 2") == ["28", "21", "14"]
    assert column(told, 1, ">steps of stage 1") == ["0", "7", "14"]
    assert column(told, 1, ">steps of stage 2") == ["28", "28", "28"]
    assert [figure.data[0]["x"] for figure in told.figures] == [[0, 25, 50]] * 2

    def one_more(variant: Variant, result: RunResult) -> None:
        as_planned()(variant, result)
        result.stages[-1].steps += "share=0.5" in variant.name

    told = findings("share", case(compared, with_gains({}), 2, change=one_more))
    assert told.sentences[2] == (
        "reviews: these runs have other steps than the 28 that were asked: "
        "bitfit(share=0.5) > full."
    )


def with_curve(curves: dict[str, list[tuple[int, float]]]) -> Any:
    """Return a change that sets the curve of the last stage, by a word of the variant's name."""

    def change(variant: Variant, result: RunResult) -> None:
        points = next(own for word, own in curves.items() if word in variant.name)
        wobble = result.seed / 1000
        result.stages[-1].curve = [Point(s, None, {"score": v + wobble}) for s, v in points]
        result.stages[0].training_seconds = 2.0

    return change


CURVES = {
    "epochs=1": [(0, 0.5), (10, 0.75), (20, 0.8), (40, 0.8)],
    "epochs=2": [(0, 0.5), (10, 0.6), (20, 0.6), (40, 0.6)],
    "full": [(0, 0.4), (10, 0.5), (20, 0.7), (40, 0.8)],
}


def test_convergence_is_measured_by_the_area_and_by_steps_to_shares_of_the_end() -> None:
    told = findings(
        "convergence", case(variants("convergence"), with_gains({}), 8, change=with_curve(CURVES))
    )
    first = told.sentences[0]
    # Areas by trapezoids over 40 steps: 0.75 and 0.5875 against 0.6375.
    assert "bitfit(epochs=1) > full converges faster than plain fine-tuning (+11.3 points" in first
    assert (
        "bitfit(epochs=2) > full converges more slowly than plain fine-tuning (-5.0 points" in first
    )
    assert told.values[1]["mean_along"][0] == pytest.approx(0.75)
    # The goals are 0.9 and 0.95 times the mean end, 0.8035; those of 95 % are reached by no seed
    # of the slower one.
    head = [title for title in told.tables[0].head if title.startswith(">to ")]
    assert head == [">to 90%", ">to 95%"]
    assert column(told, 0, head[0]) == ["40 (8 of 8)", "10 (8 of 8)", "- (0 of 8)"]
    assert column(told, 0, head[1]) == ["40 (8 of 8)", "20 (8 of 8)", "- (0 of 8)"]
    assert told.values[1]["steps_to_share"] == {"0.9": [10] * 8, "0.95": [20] * 8}
    assert "stage 1 costs" in told.sentences[2]
    assert "bitfit(epochs=1) > full 40 steps in 2.0 s" in told.sentences[2]
    widths = [t["line"]["width"] for t in told.figures[0].data if t["mode"] == "lines+markers"]
    assert widths == [4, 2, 2]


def test_a_goal_that_is_met_before_the_first_step_is_told() -> None:
    early = {**CURVES, "epochs=1": [(0, 0.75), (40, 0.8)]}
    told = findings(
        "convergence", case(variants("convergence"), with_gains({}), 2, change=with_curve(early))
    )
    warned = [sentence for sentence in told.sentences if "before stage 2 has begun" in sentence]
    assert len(warned) == 1
    assert "2 of 6 runs are at 90% of plain fine-tuning's end" in warned[0]


def test_a_given_up_attempt_is_no_part_of_stage_1_and_is_told() -> None:
    def change(variant: Variant, result: RunResult) -> None:
        if variant.facts.get("plain") is None and result.seed == 0:
            result.stages[0].handed_on = "nothing"

    for name in NAMES:
        found = findings(name, case(variants(name), with_gains({}), 2, change=change))
        count = len(variants(name)) - 1
        told = f"In {count} of {2 * count + 2} runs the guard gave up an attempt at stage 1."
        assert told in found.sentences


def test_collapsed_runs_are_told() -> None:
    def change(variant: Variant, result: RunResult) -> None:
        result.collapsed = variant.facts.get("plain", False)

    found = findings("rank", case(variants("rank"), with_gains({}), 2, change=change))
    assert "2 of 6 runs ended at chance or predict one class." in found.sentences


def test_several_cases_are_answered_together_first() -> None:
    for name in NAMES:
        compared = variants(name)
        cases = [case(compared, level, task=task, change=from_one_start) for task in ("one", "two")]
        found = findings(name, *cases)
        assert found.sentences[0] == "No difference is certain in any of 2 cases."
    rising = case(variants("rank"), with_gains({"rank 2": 0.03, "rank 8": 0.06}, 0.002), task="two")
    found = findings("rank", case(variants("rank"), level, task="one"), rising)
    assert found.sentences[0] == "Some difference is certain in 1 of 2 cases: two."


@pytest.mark.parametrize("name", NAMES)
def test_a_side_without_runs_is_left_out(name: str) -> None:
    whole = case(variants(name), with_gains({}))
    for place in range(len(whole.sides)):
        sides = [s if i != place else Side(s.variant, {}) for i, s in enumerate(whole.sides)]
        found = findings(name, Case("reviews", "tiny-model", None, {}, sides))
        assert whole.sides[place].variant.name not in [v["name"] for v in found.values]
    alone = [s if not i else Side(s.variant, {}) for i, s in enumerate(whole.sides)]
    found = findings(name, Case("reviews", "tiny-model", None, {}, alone))
    assert "nothing can be compared yet" in found.sentences[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_page_holds_the_answer_and_shows_names_as_text(name: str) -> None:
    found = findings(name, case(variants(name), with_gains({"bitfit": 0.02}), task=NASTY))
    text = page(ANALYSES.get(name).title, found, f"headstart analyze {name} --task '{NASTY}'")
    shown = re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    answer = re.search(r'<p class="answer"><strong>(.*?)</strong></p>', shown, re.S)
    assert answer
    assert answer[1].startswith("&lt;script&gt;alert(1)&lt;/script&gt;")
    assert "points" in answer[1]
    assert "<script>alert" not in shown
    data = json.dumps([figure.data for figure in found.figures])
    assert "<" not in data.replace("<br>", "")
    assert all(label(f.title) and len(f.caption) > 60 for f in found.figures)
    assert made.NASTY in found.figures[0].title
