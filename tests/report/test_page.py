"""The report as text: its answer, its sections, and that what a user typed stays text."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import tiny_records as made
from headstart.cli.report import report
from headstart.errors import ConfigError, RunError
from headstart.report import repeat
from headstart.report.answer import answer
from headstart.report.card import section
from headstart.report.curves import band, convergence, learning
from headstart.report.document import Section, document, figures
from headstart.report.figures import Figure, by_cost, by_seed, by_size, label, looks
from headstart.report.page import build
from headstart.report.read import Evidence, read_study
from headstart.results import RunResult
from headstart.study.outcome.read import split_lines
from headstart.study.plan import read_plan
from tiny_records import BITFIT, FULL, NASTY, PROBED


def data_of(page: str) -> dict[str, Any]:
    """Return what the figures are drawn from."""
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S)
    assert found
    values: dict[str, Any] = json.loads(found[1])
    return values


def told(evidence: Evidence) -> str:
    """Return the two sentences."""
    found = answer(evidence.summary)
    return f"{found.best} {found.sure}"


def test_a_clear_win_is_told_with_interval_p_and_seeds() -> None:
    text = told(made.evidence(made.noisy({BITFIT: 0.05})))
    assert text.startswith(
        "bitfit > full (eh-ft) scores highest on this data: better than full (ft)"
    )
    assert re.search(r"\(\+\d\.\d points, 95 % interval \d\.\d to \d\.\d, 8 seeds\)", text)
    assert "unlikely to be chance (p = 0.008)" in text


@pytest.mark.parametrize(
    ("metric", "scale", "better"),
    [
        ("accuracy", "accuracy in %", False),
        ("log_loss", "-log_loss × 100 (higher is better)", True),
        ("mae", "-mae × 100 (higher is better)", True),
    ],
)
def test_all_scores_are_named_with_their_scale(metric: str, scale: str, better: bool) -> None:
    sign = -1 if better else 1
    study = made.evidence(
        lambda _, seed: sign * (0.3 + seed / 100), sizes=(100, 200), metric=metric
    )
    page = build(study)
    assert "score in %" not in page
    drawn = data_of(page)
    assert {name.split("-")[0] for name in drawn} == {"seeds", "curve", "last", "sizes", "cost"}
    assert {figure["layout"]["yaxis"]["title"]["text"] for figure in drawn.values()} == {scale}
    text = re.sub(r"<[^>]+>", "", page[: page.index('id="figures"')])
    assert text.count(f": {scale}, against full (ft)") == 2
    for where in (f"Mean {scale} and", f"Mean {scale}, with bars", f"{scale}, mean over 8 seeds"):
        assert where in text, where
    told = [c for c in answer(study.summary).cautions if c.startswith(f"{metric}: lower is better")]
    assert len(told) == text.count(told[0]) == 1 if better else not told
    markdown = section(study).replace("\\", "")
    assert markdown.count("lower is better") == better
    assert f": {scale}, against" in markdown


def test_p_is_corrected_over_the_strategies_and_the_next_best_is_named() -> None:
    found = made.evidence(made.noisy({BITFIT: 0.05, PROBED: 0.049}), (FULL, BITFIT, PROBED))
    assert "p = 0.016 after Holm's correction over 2 strategies" in told(found)
    assert "it cannot be told from the next best, head > full (lp-ft)" in told(found)


def test_no_difference_is_told_with_the_seeds_it_would_take() -> None:
    text = told(made.evidence(made.noisy({BITFIT: 0.002}, 0.02)))
    assert text.startswith("No strategy is shown to be better than full (ft): bitfit > full")
    assert "may well be chance (p = 0." in text
    assert "no proof that they are equal" in text
    assert re.search(r"about [\d,]+ seeds are needed", text)


def test_equal_scores_are_told_as_equal() -> None:
    text = told(made.evidence(lambda *_: 0.7))
    assert "scores the same as full (ft)" in text
    assert "do not say how many more" in text


def test_a_baseline_that_wins_is_told() -> None:
    text = told(made.evidence(made.noisy({BITFIT: -0.05})))
    assert text.startswith("full (ft), the baseline, scores highest on this data: bitfit > full")
    assert "scores lower than full (ft) (-" in text


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [(1, "With one seed, chance"), (3, "With 3 seeds p cannot be below 0.25, however large")],
)
def test_too_few_seeds_are_told(seeds: int, sentence: str) -> None:
    text = told(made.evidence(made.noisy({BITFIT: 0.05}), seeds=seeds))
    assert text.startswith("It cannot be told yet which strategy is best")
    assert sentence in text
    assert "at least 6 seeds are needed" in text


def test_nothing_finished_is_told() -> None:
    nothing = made.evidence(made.noisy({}), seeds=0)
    assert told(nothing).startswith("No run has finished.")
    lost = made.evidence(made.noisy({}), seeds=0, lost=[made.failure(made.axes(FULL, 0))])
    assert told(lost).startswith("No run of 1 has finished; 1 run failed.")
    page = build(lost)
    assert "the loss is not a number" in page
    assert "Plotly" not in re.sub(r"<script>\s*.use strict.*", "", page, flags=re.S)


def test_one_strategy_alone_and_a_missing_baseline_are_told() -> None:
    assert "no other strategy" in told(made.evidence(made.noisy({}), (FULL,)))
    lost = [made.failure(made.axes(BITFIT, 0))]
    ended = made.evidence(made.noisy({}), (FULL,), lost=lost)
    ended.summary.failures, ended.summary.planned = lost, 9
    assert told(ended).startswith("Only full (ft) has finished. There is no other")
    ended.summary.planned += 1
    assert told(ended).startswith("Only full (ft) has finished so far.")
    records = [made.record(made.axes(BITFIT, seed), 0.8) for seed in range(6)]
    alone = made.gather("x", records, [], FULL, [FULL, BITFIT])
    assert "the baseline, has not finished" in told(alone)
    assert "<h2" in build(alone)


def test_what_is_open_failed_or_left_out_is_a_caution() -> None:
    lost = [made.failure(made.axes(PROBED, 0))]
    found = made.evidence(made.noisy({BITFIT: 0.05}), lost=lost)
    records = [
        {"id": r.id, "axes": r.axes, "result": r.result.to_plain(), "measured": {}}
        for r in found.runs
    ]
    shown = made.gather("x", records, lost, FULL, [FULL, BITFIT, PROBED],
                        planned=[*found.planned] * 2)  # fmt: skip
    cautions = " ".join(answer(shown.summary).cautions)
    assert "1 run failed" in cautions
    assert "runs have not ended yet" in cautions
    assert "Left out of the answer" in cautions


def nasty() -> Evidence:
    """Return a study in which everything that can be typed is markup."""
    axes = {"task": NASTY, "model": f"<b>{NASTY}", "train_rows": None, "note": "</script><i>&"}
    records = []
    for seed in range(6):
        for strategy in (FULL, BITFIT):
            each = made.record({**axes, "strategy": strategy, "seed": seed}, 0.7 + seed / 100)
            each["result"]["task"]["labels"] = [NASTY, '"><img src=x onerror=alert(1)>']
            each["result"]["stages"][0]["stage"] = NASTY
            records.append(each)
    lost = [made.failure({**axes, "strategy": FULL, "seed": 9}, f"no file {NASTY}")]
    planned = [made.PlannedRun(r["id"], r["axes"], {"train": NASTY}) for r in records]
    return made.gather(f"studies/{NASTY}", records, lost, FULL, [FULL, BITFIT], planned=planned,
                       damaged=[f"results/{NASTY} is truncated"])  # fmt: skip


def test_what_a_user_typed_stays_text() -> None:
    page = build(nasty())
    without_plotly = "".join(part for part in re.split(r"<script>.*?</script>", page, flags=re.S))
    assert "&lt;script&gt;alert(1)" in without_plotly
    for markup in ("<script>alert", "<img", "<i>", "<b>"):
        assert markup not in without_plotly
    names = [t.get("name", "") for f in data_of(page).values() for t in f["data"]]
    assert any("&lt;script&gt;" in name for name in names)
    texts = re.sub(r"<br>", "", json.dumps(data_of(page)))
    assert "<" not in texts


@pytest.mark.parametrize("text", ["</script>", "<!--<script>", "<b>", "a & b", "1 > 0", "é 😀"])
def test_no_text_of_a_figure_can_end_its_script(text: str) -> None:
    """Whatever a figure is made of: a text that nobody has escaped before, too."""
    figure = Figure("f", "Title", "Caption", [{"name": text}], {"height": 9, "title": text})
    page = document("Title", [Section("f", "Figure", figures([figure]))], [figure])
    assert data_of(page)["f"]["data"] == [{"name": text}]
    found = re.search(r'id="figures">(.*?)</script>', page, re.S)
    assert found
    assert not set("<>&") & set(found[1])


def test_labels_for_plotly_keep_their_words_and_lose_their_markup() -> None:
    assert label("<b>a & b</b>") == "&lt;b&gt;a &amp; b&lt;/b&gt;"
    assert label("x" * 80).count("<br>") == 2
    assert label("bitfit(epochs=2, lr=0.001) > full(epochs=3)").count("<br>") == 1


def test_the_page_asks_nothing_of_a_network() -> None:
    page = build(made.evidence(made.noisy({BITFIT: 0.05})))
    assert not re.search(r"<(script|img|link|iframe)[^>]+(src|href)=", page.split("<script>")[0])
    assert "default-src 'none'" in page
    assert page.count("</script>") == 3


def test_every_section_is_there_and_every_figure_has_words() -> None:
    lost = [made.failure(made.axes(FULL, 9, rows=100))]
    found = made.evidence(made.noisy({BITFIT: 0.05}), sizes=(100, 400), lost=lost)
    page = build(found)
    names = re.findall(r'<section id="(\w+)"', page)
    assert names == ["answer", "tables", "seeds", "curves", "convergence", "sizes", "cost",
                     "failures", "repeat"]  # fmt: skip
    figures = [*by_seed(found.summary), *learning(found), *convergence(found), *by_size(found),
               *by_cost(found.summary)]  # fmt: skip
    assert len(figures) == 2 + 4 + 2 + 1 + 2 == page.count('role="img"')
    assert {figure.id for figure in figures} == data_of(page).keys()
    assert all(len(figure.caption) > 30 for figure in figures)


def test_pairs_go_from_the_baseline_to_the_strategy() -> None:
    (figure,) = by_seed(made.evidence(lambda s, seed: 0.7 if s == FULL else 0.68 + seed / 100,
                                      seeds=6).summary)  # fmt: skip
    by_name = {trace["name"]: trace for trace in figure.data}
    assert set(by_name) == {"better (3)", "worse (2)", "same (1)", "mean"}
    assert by_name["better (3)"]["y"][:3] == [70.0, 71.0, None]
    assert len({t["line"].get("dash") for t in figure.data[:3]}) == 3
    assert figure.caption.startswith("3 of 6 seeds are better than the baseline, 2 worse")


def test_bands_are_means_over_the_seeds_that_got_so_far() -> None:
    results = [made.result(made.axes(FULL, seed), 0.6 + seed / 10, points=3) for seed in range(3)]
    results[2].stages[0].curve = results[2].stages[0].curve[:1]
    results[1].stages[0].curve = results[1].stages[0].curve[:2]
    found = band([result.stages[0] for result in results])
    assert found.steps == [0, 60]
    assert found.mean[0] == pytest.approx(50)
    assert found.sd[0] == 0


def test_attempts_that_were_given_up_are_not_drawn() -> None:
    records = [made.record(made.axes(s, seed), 0.7) for seed in range(2) for s in (FULL, BITFIT)]
    for each in records:
        first = {**each["result"]["stages"][0], "handed_on": "nothing"}
        each["result"]["stages"].insert(0, first)
    found = made.gather("x", records, [], FULL, [FULL, BITFIT])
    full, bitfit = learning(found)
    assert len(full.data) == 1
    assert len(bitfit.data) == 2
    (figure,) = convergence(found)
    assert "full (ft) (thick line) ends at 70.0 after 120 steps" in figure.caption


def test_fine_tuning_with_a_technique_is_not_plain() -> None:
    mixed = "full+mixout(p=0.9)"
    axes = [made.axes(line, seed) for seed in range(2) for line in (mixed, FULL, BITFIT)]
    records = [made.record(each, 0.7) for each in axes]
    found = made.gather("x", records, [], mixed, [mixed, FULL, BITFIT])
    (figure,) = convergence(found)
    assert "full (ft) (thick line)" in figure.caption


def test_no_two_strategies_differ_by_colour_alone() -> None:
    found = made.evidence(made.noisy({}), (FULL, BITFIT, PROBED, "lora > full"), seeds=2)
    shapes = [(look.marker, look.dash) for look in looks(found.summary).values()]
    assert len(set(shapes)) == 4


def test_the_study_file_asks_for_the_same_runs() -> None:
    values = {
        "tasks": [{"name": "a", "train": "a.csv", "text": "t"},
                  {"name": "b", "train": "b.csv", "text": "u"}],
        "models": ["m"], "strategies": [FULL, BITFIT], "seeds": [0, 1], "train_rows": [10, None],
        "grid": {"lr": [0.1, 0.2]}, "settings": {"epochs": 2, "label": "l"},
    }  # fmt: skip
    plan = read_plan(values)
    runs = [made.PlannedRun(str(i), a, s) for i, (a, s) in enumerate(plan.runs())]
    found = made.gather("studies/my x", [], [], FULL, [FULL, BITFIT], planned=runs)
    text = repeat.study_file(found)
    again = read_plan(yaml.safe_load(text))
    assert list(again.runs()) == list(plan.runs())
    assert again.baseline == FULL
    assert repeat.whole(found)
    assert repeat.command(found).endswith("--out 'studies/my x'")
    assert not repeat.whole(made.gather("x", [], [], FULL, [FULL], planned=runs[1:]))


def test_the_folder_is_read_and_strategies_are_chosen(tmp_path: Path) -> None:
    study = made.evidence(made.noisy({BITFIT: 0.05}), (FULL, BITFIT, PROBED), seeds=3)
    records = [{"result": run.result.to_plain()} for run in study.runs]
    order = {run.id: record for run, record in zip(study.runs, records, strict=True)}
    made.write(study, [order[run.id] for run in study.planned], tmp_path / "x")
    everything = read_study(tmp_path / "x")
    assert everything.summary.finished == everything.summary.planned == 9
    assert isinstance(everything.runs[0].result, RunResult)
    chosen = read_study(tmp_path / "x", "eh-ft", split_lines("ft, eh-ft"))
    assert chosen.summary.baseline == BITFIT
    assert chosen.summary.planned == 6
    with pytest.raises(ConfigError, match="a baseline among the strategies"):
        read_study(tmp_path / "x", "head")
    with pytest.raises(ConfigError, match="a strategy of the study"):
        read_study(tmp_path / "x", strategies=["ft", "lora"])


def test_a_report_needs_neither_torch_nor_transformers(tmp_path: Path) -> None:
    study = made.evidence(made.noisy({}), seeds=2)
    order = {run.id: {"result": run.result.to_plain()} for run in study.runs}
    made.write(study, [order[run.id] for run in study.planned], tmp_path / "x")
    code = (
        "import sys, typer, headstart.cli.report as cli\n"
        f"cli.report({str(tmp_path / 'x')!r})\n"
        "print('heavy:', *sorted({'torch', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy:"
    page = (tmp_path / "x" / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert read_study(tmp_path / "x").summary.finished == 4


def test_figures_are_plain_data() -> None:
    study = made.evidence(made.noisy({}), seeds=2)
    figures: list[Figure] = [*by_cost(study.summary), *learning(study)]
    assert json.loads(json.dumps([f.data for f in figures])) == [f.data for f in figures]


def test_the_page_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    study = made.evidence(made.noisy({}), seeds=2)
    order = {run.id: {"result": run.result.to_plain()} for run in study.runs}
    made.write(study, [order[run.id] for run in study.planned], tmp_path / "x")
    page = tmp_path / "new" / "page.html"
    report(str(tmp_path / "x"), page)
    assert page.stat().st_size > 1_000_000
    page.write_text("years of work")
    with pytest.raises(RunError, match=r"page.html exists.*--overwrite"):
        report(str(tmp_path / "x"), page)
    assert page.read_text() == "years of work"
    report(str(tmp_path / "x"), page, overwrite=True)
    assert page.stat().st_size > 1_000_000
    for _ in range(2):  # the study's own page is written anew
        report(str(tmp_path / "x"))
    with pytest.raises(RunError, match="a file to write for --out"):
        report(str(tmp_path / "x"), tmp_path)
