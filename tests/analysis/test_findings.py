"""What the analyses say of runs whose measurements are set by hand."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

import tiny_analyses as made
from headstart.analysis import ANALYSES
from headstart.analysis._base import Findings
from headstart.analysis.shared.change_tensors import absolute, kinds, parts, relative, shortest
from headstart.analysis.shared.numbers import against, with_sd
from headstart.errors import ConfigError
from tiny_records import BITFIT, FULL

Numbers = list[float]


def found(name: str, full: Any, other: Any) -> Findings:
    """Return the findings of an analysis on two strategies, one measurement for each seed."""
    analysis = ANALYSES.get(name)
    options = {option.name: option.default for option in analysis.options}
    variants = analysis.variants({**options, "strategies": [FULL, BITFIT]})
    sides = [(v, dict(enumerate(m))) for v, m in zip(variants, (full, other), strict=True)]
    return analysis.findings([made.case(sides)])


def drifts(full: Numbers, other: Numbers) -> Findings:
    return found("drift", [made.drift(x) for x in full], [made.drift(x) for x in other])


def test_drift_is_told_with_its_spread_and_a_paired_interval() -> None:
    answer, compared, *_ = drifts([4.0, 4.1, 4.2], [2.0, 2.1, 2.3]).sentences
    assert answer == (
        "reviews: features move least under bitfit > full (eh-ft), by 2.13 ± 0.15, and most under "
        "full (ft), by 4.10 ± 0.10 (mean L2 distance ± sd over 3 seeds)."
    )
    # Differences -2, -2, -1.9: mean -1.967, sd 0.0577, t(2, 0.975) 4.303: half width 0.143.
    assert compared == (
        "reviews: under bitfit > full (eh-ft) features move less far than under full (ft) "
        "(-1.97, 95 % interval -2.11 to -1.82, 3 seeds); CKA: +0.000, 95 % interval "
        "0.000 to 0.000, 3 seeds."
    )


def test_a_difference_that_may_be_chance_is_told_as_such() -> None:
    assert "cannot be told from that under full (ft)" in drifts([4, 4.1], [3, 4.9]).sentences[1]
    alone = drifts([4.0], [3.0])
    assert "(-1.00, from one seed); CKA" in alone.sentences[1]
    assert "cannot be told" in alone.sentences[1]


def test_drift_in_tables_values_and_figures() -> None:
    out = drifts([4.0, 4.2], [2.0, 2.2])
    (table,) = out.tables
    assert table.rows[0] == ["full (ft)", "2", "40", "4.10 ± 0.14", "51 ± 2", "0.900 ± 0.000",
                             "70.5 ± 0.7"]  # fmt: skip
    first, second = out.values
    assert (first["l2"], first["relative"], first["seeds"]) == ([4.0, 4.2], [0.5, 0.525], [0, 1])
    assert second["measured"][1]["mean of tokens"]["l2"] == 2.2
    distances, alike, scores = out.figures
    assert [trace["x"] for trace in distances.data] == [[4.0, 4.2], [4.1], [2.0, 2.2], [2.1]]
    assert distances.data[1]["error_x"]["array"] == [pytest.approx(0.1414, abs=1e-4)]
    assert distances.layout["yaxis"]["ticktext"][0] == "full (ft)"
    assert [trace["x"] for trace in alike.data] == [[0.9, 0.9], [0.9]] * 2
    assert "full (ft): 0.900 ± 0.000" in alike.caption
    assert [trace["x"] for trace in scores.data] == [[4.0, 4.2], [2.0, 2.2]]
    assert scores.data[1]["y"] == pytest.approx([75.0, 76.0])


def test_alignment_that_there_is_none_of_is_left_out() -> None:
    out = found("drift", [made.drift(1.0, cka=None)], [made.drift(2.0)])
    (table,) = out.tables
    assert [row[5] for row in table.rows] == ["-", "0.900"]
    assert [trace["x"] for trace in out.figures[1].data] == [[0.9], [0.9]]
    assert out.sentences[1].endswith("CKA: no seed of both has finished.")


def test_too_few_rows_for_drift_are_refused() -> None:
    with pytest.raises(ConfigError, match="--rows of at least 2"):
        ANALYSES.get("drift").variants({"strategies": [FULL], "rows": 1})


def changes(full: list[Any], other: list[Any]) -> Findings:
    return found("change", [{"tensors": full}], [{"tensors": other}])


def test_change_on_a_toy() -> None:
    """Two layers, a weight and a bias each: by part and kind as worked out by hand."""
    t = made.tensor
    full = [t("embeddings", "words", 0.0, 1.0, size=80), t("layer 0", "query", 0.1, 1.0),
            t("layer 0", "query", 0.2, 0.4, bias=True, size=2), t("layer 1", "query", 0.3, 1.0),
            t("layer 1", "query", 0.1, 0.0, bias=True, size=2)]  # fmt: skip
    out = changes(full, [{**each, "change": 0.0} for each in full])
    totals, *places = out.tables
    # Weights: (10 * 0.1 + 10 * 0.3) / 100 of 1.0; biases: 0.3 / 2 = 0.15 of 0.2.
    assert totals.rows[0][:7] == ["full (ft)", "1", "20.0", "40000", "4.00", "150000", "75.0"]
    assert totals.rows[1][2:7] == ["0"] * 5
    by_place = {row[0]: row[1] for row in places[1].rows}
    assert by_place == {"embeddings": "0", "layer 0": "10.0", "layer 1": "30.0",
                        "all query": "20.0", "all words": "0"}  # fmt: skip
    biases = {row[0]: row[1] for row in places[3].rows}
    assert biases == {"layer 0": "50.0", "layer 1": "-", "all query": "75.0"}  # layer 1 was 0
    answer, compared, of_full, of_biases, of_other, *_ = out.sentences
    assert "least under bitfit > full (eh-ft), by 0 % of their mean size" in answer
    assert "most under full (ft), by 20.0 %" in answer
    assert "(-20 points, from one seed)" in compared
    assert of_full == (
        "reviews: under full (ft) weights change by 4.00 %: embeddings 0 %, layers from 10 % "
        "(layer 0) to 30 % (layer 1); query 20 %."
    )
    assert of_biases == (
        "reviews: under full (ft) biases change by 75.0 %: layer 0 50 %; query 75 %."
    )
    assert of_other.endswith("under bitfit > full (eh-ft) no parameter of the backbone changes.")
    assert out.values[0]["totals"]["biases"] == pytest.approx({"change": 0.15, "relative": 0.75})
    assert out.values[0]["tensors"][4]["relative"] is None


def test_heat_maps_share_a_scale_and_leave_gaps() -> None:
    out = found("change", [made.change(0.01), made.change(0.03)], [made.change(0.01)])
    assert len(out.figures) == 2 * 2 * 2  # weights and biases, two measures, two strategies
    for left, right in zip(out.figures[::2], out.figures[1::2], strict=True):
        (one,), (other,) = left.data, right.data
        assert one["colorbar"] == other["colorbar"]
        assert max(v for row in one["z"] for v in row if v) == 1.0 == one["zmax"]
        assert max(v for row in other["z"] for v in row if v) < 1.0 == other["zmax"]
        assert one["y"] == [*range(len(left.layout["yaxis"]["ticktext"]))]
    weights = out.figures[0].data[0]
    assert len(weights["z"][0]) == 1 + made.LAYERS + 1
    assert weights["z"][0][0] is None  # no query in the embeddings
    # The root of 4 %, mean of 0.01 and 0.03 of 0.5, in the scale of output.dense in layer 2.
    assert weights["z"][0][1] == pytest.approx((4 / (4 * 3 * 1.75)) ** 0.5)
    assert weights["colorbar"]["ticktext"] == ["0", "1.3", "5.2", "12", "21"]
    assert "layer 0: 4.00 ± 2.83 %" in weights["text"][0][1]
    assert "attention.self.query" in weights["text"][0][1]
    assert out.figures[0].layout["yaxis"]["ticktext"][0] == "query"
    assert "Greatest relative change: output.dense, layer 2" in out.figures[0].caption
    absent = next(f for f in out.figures if "relative change of biases" in f.title).data[0]["z"][0]
    assert absent == [None] * made.LAYERS  # kind 0's biases were 0 before


def test_no_change_at_all_is_drawn_as_none() -> None:
    out = found("change", [made.change(0.0)], [made.change(0.0)])
    assert {v for row in out.figures[0].data[0]["z"] for v in row} == {0.0, None}
    assert out.figures[0].caption == "No change of weights."


def test_tensors_together() -> None:
    t = made.tensor
    some = [t("layer 10", "a", 1.0, 2.0), t("above", "c", 3.0, 0.0, size=30),
            t("layer 2", "b.x", 0.0, 1.0), t("embeddings", "d.x", 0.0, 1.0)]  # fmt: skip
    assert absolute(some[:2]) == (10 * 1 + 30 * 3) / 40
    assert relative(some[:2]) == (10 * 1 + 30 * 3) / (10 * 2)
    assert relative(some[1:2]) is None
    assert absolute([]) is None
    assert parts(some) == ["embeddings", "layer 2", "layer 10", "above"]
    assert kinds(some) == ["a", "b.x", "c", "d.x"]


def test_names_are_shortened_as_far_as_they_differ() -> None:
    names = ["attention.self.query", "attention.output.dense", "output.dense", "LayerNorm",
             "embeddings.LayerNorm"]  # fmt: skip
    assert list(shortest(names).values()) == [
        "query", "attention.output.dense", "output.dense", "LayerNorm", "embeddings.LayerNorm",
    ]  # fmt: skip


def test_numbers_in_words() -> None:
    assert with_sd([]) == "-"
    assert with_sd([1.0]) == "1.00"
    assert with_sd([1.0, 3.0], ".1f") == "2.0 ± 1.4"
    assert [with_sd([x]) for x in (123.4, 12.34, 0.01234, 0.0)] == ["123", "12.3", "0.0123", "0"]
    assert against({0: 1.0}, {1: 1.0}) == (0, "no seed of both has finished")
    assert against({0: 2.0, 1: 3.0}, {0: 1.0, 1: 2.0, 2: 9.0})[0] == 1  # equal differences
    assert against({0: 1.0, 1: 2.0}, {0: 2.0, 1: 3.0}) == (
        -1, "-1.00, 95 % interval -1.00 to -1.00, 2 seeds",
    )  # fmt: skip


@pytest.mark.parametrize("name", ANALYSES)
def test_every_analysis_says_something_in_plain_data(name: str) -> None:
    """What an observer finds is set by hand in tests/tiny_analyses.py."""
    out = made.whole(name, [FULL, BITFIT], ("reviews", "more"))
    assert out.sentences
    assert out.tables
    assert all(len(row) == len(table.head) for table in out.tables for row in table.rows)
    assert json.loads(json.dumps(out.values, allow_nan=False)) is not None
    assert len({figure.id for figure in out.figures}) == len(out.figures)


@pytest.mark.parametrize("name", list(ANALYSES))
@pytest.mark.parametrize(
    ("metric", "scale"),
    [("accuracy", "accuracy in %"), ("log_loss", "-log_loss × 100 (higher is better)")],
)
def test_scores_are_named_with_their_scale(name: str, metric: str, scale: str) -> None:
    out = made.whole(name, [FULL, BITFIT], metric=metric)
    assert f"Score: {scale}." in out.sentences
    told = [text for text in out.sentences if text.startswith("log_loss: lower is better")]
    assert len(told) == (metric == "log_loss")
    columns = [head for table in out.tables for head in table.head if "score" in head]
    assert columns or name in {"head", "convergence"}
    axes = [figure.layout[a]["title"]["text"] for figure in out.figures for a in ("xaxis", "yaxis")]
    assert (scale in axes) == (name not in {"change", "calibration"})
    if metric == "log_loss":
        assert all("-log_loss × 100" in column for column in columns)
        page = f"{out.sentences} {out.tables} {[(f.caption, f.layout) for f in out.figures]}"
        assert not re.findall(r".{20}scores? (?:in )?%", page)
