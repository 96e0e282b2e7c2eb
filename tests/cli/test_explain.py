"""``headstart explain``: a page for every name, and what it says of what was measured."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

import tiny_records
from cli.rows import Run
from headstart.plugins import measured
from headstart.plugins.measured import NOT_YET, Cost, read_measured
from headstart.strategies.builtin import ALIASES, OVER_SEEDS
from headstart.techniques import TECHNIQUES
from headstart.tuners import TUNERS

PARTS = [*TUNERS, *TECHNIQUES, *OVER_SEEDS]
FIGURES = {
    "costs": {
        "machine": "one run on a toaster",
        "rows": {
            "full": {"share": 100, "step": 50.0, "memory": 800},
            "lora": {"share": 0.25, "step": 40.0, "memory": 400},
        },
    },
    "studies": {"lora": [{"text": "Up by +0.123.", "command": "headstart study run --x"}]},
}


def words(text: str) -> str:
    """Undo the wrapping."""
    return " ".join(text.split())


@pytest.mark.parametrize("name", PARTS)
def test_every_part_has_a_page_that_fits_80_columns(
    cli: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    answer = cli("explain", name)
    assert answer.code == 0
    assert answer.out.startswith(f"{name}: ")
    for title in (
        "idea",
        "equation",
        "when it helps",
        "when not",
        "differs",
        "source",
        "cost",
        "scores",
    ):
        assert f"\n  {title} " in answer.out
    assert max(map(cell_len, answer.out.splitlines()[1:])) <= 80


def test_a_page_holds_the_knobs_with_range_and_source(cli: Run) -> None:
    told = words(cli("explain", "lora").out)
    assert "r=8 whole number, 1 or more. Rank: rows of `A` and columns of `B`." in told
    assert "Default from: EH-FT, appendix" in told
    assert "r · (inputs + outputs) for each map" in told
    assert "0.001, and 0.001 for the head" in told
    assert "merges No. A prefix acts beside" in words(cli("explain", "prefix").out)


@pytest.mark.parametrize("line", ["soup > full", "full+soup"])
def test_what_acts_over_seeds_is_no_part_of_a_line(cli: Run, line: str) -> None:
    answer = cli("explain", line)
    assert answer.code == 2
    assert "not inside a stage: headstart study soup DIR" in answer.err


@pytest.mark.parametrize("line", ["prefix >> full", "bitfit+mixout > full", "full+ema+swa"])
def test_a_line_that_a_run_refuses_is_not_explained(cli: Run, line: str) -> None:
    answer = cli("explain", line)
    assert answer.code == 2
    assert answer.out == ""
    assert "what to do: " in answer.err


@pytest.mark.parametrize("name", ["hype", "r3f"])
def test_a_choice_of_words_is_told_by_its_words(cli: Run, name: str) -> None:
    assert "noise=uniform uniform or normal." in words(cli("explain", name).out)


@pytest.mark.parametrize("alias", list(ALIASES))
def test_an_alias_tells_its_line_and_leads_to_its_parts(cli: Run, alias: str) -> None:
    answer = cli("explain", alias)
    assert answer.code == 0
    assert ALIASES[alias].line in answer.out
    first = re.split(r"\W", ALIASES[alias].line)[0]
    assert f"`headstart explain {first}`" in answer.out


def test_a_line_is_explained_stage_by_stage(cli: Run) -> None:
    told = words(cli("explain", "lora(r=4) >> full+mixout").out)
    assert "stage 1 lora:" in told
    assert "hands on everything" in told
    assert "stage 2 full:" in told
    assert "`headstart explain lora`, `headstart explain full`, `headstart explain mixout`" in told


def test_a_line_with_knobs_is_checked_and_tells_all_that_its_parts_take(cli: Run) -> None:
    told = words(cli("explain", "peft(type=loha, r=4) > full(epochs=2)+mixout(p=0.25)").out)
    assert "peft takes type=loha, a word; targets=attention, attention or all; r=4, a whole" in told
    assert "module_dropout=0, a number" in told
    assert "mixout takes p=0.25, a number, from 0 to below 1." in told
    assert "full takes" not in told
    wrong = cli("explain", "lora(r=0) > full")
    assert wrong.code == 2
    assert "lora(r=…) as a whole number, 1 or more; found 0" in wrong.err


@pytest.mark.parametrize(
    ("name", "near"), [("lorra", "'lora'"), ("mixxout", "'mixout'"), ("eh-tf", "'eh-ft'")]
)
def test_an_unknown_name_gets_the_nearest(cli: Run, name: str, near: str) -> None:
    answer = cli("explain", name)
    assert answer.code == 2
    assert f"a tuner, a technique or an alias; found '{name}'" in answer.err
    assert near in answer.err


def test_a_line_with_an_unknown_part_points_at_it(cli: Run) -> None:
    answer = cli("explain", "bitfit > ful")
    assert answer.code == 2
    assert "^^^" in answer.err
    assert "'full'" in answer.err


def test_measured_figures_are_shown_beside_plain_fine_tuning(
    cli: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "measured.json"
    path.write_text(json.dumps(FIGURES))
    monkeypatch.setattr(measured, "FILE", path)
    told = words(cli("explain", "lora").out)
    assert "trains 0.25 %; time of a step 40 ms, 0.80 of plain fine-tuning" in told
    assert "peak memory 400 MB, 0.50 of plain fine-tuning (one run on a toaster)" in told
    assert "Up by +0.123." in told
    assert "measured by headstart study run --x" in told
    assert words(cli("explain", "top").out).count(NOT_YET) == 2


@pytest.mark.parametrize("text", ["{}", '{"costs": {}}', '{"costs": {"rows": {}}, "studies": {}}'])
def test_what_was_not_measured_is_said_to_be_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "measured.json"
    path.write_text(text)
    assert read_measured(path).cost("lora") == NOT_YET
    assert read_measured(tmp_path / "none.json").cost("lora") == NOT_YET


def test_a_cost_without_its_baseline_has_no_ratio() -> None:
    assert Cost(1.0, 2.0, None).beside(Cost()) == ("1 %", "2 ms", "")


def test_the_benchmark_becomes_costs(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "scripts" / "measured.py"
    figures = tmp_path / "figures.json"
    sides = {"full": 50.0, "lora": 40.0, "full+mixout": 60.0, "full+child_tuning F": 55.0}
    medians = {
        n: {"ms_step": ms, "s_begin": 1, "share": 1, "peak_mb": 9} for n, ms in sides.items()
    }
    machine = {
        "processor": "toaster", "cores": 1, "torch": "2", "when": "today", "precision": "fp32",
    }  # fmt: skip
    options = {"length": "short", "steps": 4, "rounds": 3}
    figures.write_text(json.dumps({"medians": medians, "machine": machine, "options": options}))
    held = tmp_path / "measured.json"
    held.write_text(json.dumps(FIGURES))
    command = [sys.executable, script, "costs", figures, "--into", held]
    subprocess.run(command, check=True)
    found = read_measured(held)
    assert found.costs.keys() == {"full", "lora", "mixout"}
    assert found.costs["mixout"] == Cost(1, 60.0, 9)
    assert "toaster" in found.setting
    assert "fp32, short rows, 4 steps; medians of 3 rounds" in found.setting
    assert found.findings["lora"][0].text == "Up by +0.123."


def test_a_study_becomes_findings_of_the_parts_that_differ_from_the_baseline(
    tmp_path: Path,
) -> None:
    names = ("full", "bitfit > full", "full+mixout(p=0.5)", "bitfit > lora")
    score = tiny_records.noisy({"bitfit > full": 0.02, "full+mixout(p=0.5)": -0.01})
    study = tiny_records.evidence(score, names, 5)
    records = [
        tiny_records.record(run.axes, score(run.axes["strategy"], 0)) for run in study.planned
    ]
    tiny_records.write(study, records, tmp_path / "study")
    held = tmp_path / "measured.json"
    held.write_text(json.dumps(FIGURES))
    script = Path(__file__).parents[2] / "scripts" / "measured.py"
    command = [sys.executable, script, "study", tmp_path / "study", "--into", held,
               "--rows", "5,000 reviews", "--name", "reviews", "--command", "again"]  # fmt: skip
    for _ in range(2):  # the same study again takes the place of the first
        subprocess.run(command, check=True)
    found = read_measured(held).findings
    assert found.keys() == {"lora", "full", "bitfit", "mixout"}
    assert found["full"][0].text.startswith("`full`: 0.7")
    assert found["full"][0].short.startswith("reviews 0.7")
    (finding,) = found["mixout"]
    assert "`full+mixout(p=0.5)` against `full`: -0.0" in finding.text
    assert "5 seeds, paired; 5,000 reviews" in finding.text
    assert finding.command == "again"
    assert finding.short.startswith("reviews -0.0")
