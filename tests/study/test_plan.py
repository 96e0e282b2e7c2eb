"""The grid of a study: what it holds, and what is told of a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headstart.config import FitConfig
from headstart.errors import Faults, HeadstartError
from headstart.study.fields import SEEDS
from headstart.study.identity import Digests
from headstart.study.outcome.read import split_lines
from headstart.study.outcome.statistics import smallest_p
from headstart.study.plan import read_plan, read_plan_file
from headstart.study.request import request
from tiny_runs import inputs


def study(**changes: Any) -> dict[str, Any]:
    values = {"tasks": ["rte"], "models": ["m"], "strategies": "ft, lp-ft", "seeds": 3}
    return {**values, **changes}


def test_a_plan_is_every_combination_and_pairs_come_together() -> None:
    plan = read_plan(
        study(train_rows=[50, None], grid={"lr": [1e-5, 3e-5]}, settings={"epochs": 2})
    )
    runs = list(plan.runs())
    assert len(runs) == len(plan) == 3 * 2 * 2 * 2
    assert [axes["strategy"] for axes, _ in runs[:2]] == ["full", "head > full"]
    assert {axes["seed"] for axes, _ in runs[:8]} == {0}
    axes, settings = runs[-1]
    assert axes == {
        "task": "rte", "model": "m", "strategy": "head > full", "train_rows": None, "seed": 2,
        "lr": 3e-5,
    }  # fmt: skip
    assert settings == {
        "task": "rte", "model": "m", "strategy": "head > full", "train_rows": None, "seed": 2,
        "lr": 3e-5, "epochs": 2, "select": "last",
    }  # fmt: skip
    assert plan.baseline == "full"


def test_a_study_compares_last_states_unless_asked_otherwise() -> None:
    for settings, expected in (({}, "last"), ({"select": "auto"}, "auto")):
        assert {own["select"] for _, own in read_plan(study(settings=settings)).runs()} == {
            expected
        }


def test_commas_inside_brackets_belong_to_a_line() -> None:
    assert split_lines(" ft, bitfit(epochs=2, lr=1e-3) > full ,lp,") == [
        "ft", "bitfit(epochs=2, lr=1e-3) > full", "lp",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seeds", "expected"), [(2, (0, 1)), ("2", (0, 1)), ("5,7", (5, 7)), ([4], (4,))]
)
def test_seeds_are_a_number_or_a_list(seeds: Any, expected: tuple[int, ...]) -> None:
    assert read_plan(study(seeds=seeds)).seeds == expected


def test_the_default_number_of_seeds_is_the_least_that_can_show_a_difference() -> None:
    values = study()
    del values["seeds"]
    seeds = len(read_plan(values).seeds)
    assert seeds == SEEDS
    assert smallest_p(seeds) < 0.05 <= smallest_p(seeds - 1)


def test_several_tasks_have_a_folder_each(tmp_path: Path) -> None:
    (tmp_path / "rte").mkdir()
    plan = read_plan(study(tasks=["rte", "cb"], settings={"data": str(tmp_path)}))
    assert [task["data"] for task in plan.tasks] == [str(tmp_path / "rte"), str(tmp_path)]
    assert "data" not in plan.settings


def test_own_tables_are_tasks_with_a_name() -> None:
    own = {"train": "a/mine.csv", "text": "t"}
    plan = read_plan(study(tasks=[own, {**own, "name": "other"}]))
    assert [axes["task"] for axes, _ in plan.runs()][::2][:2] == ["mine", "other"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"strategys": "ft"}, "Did you mean 'strategies'"),
        ({"epochs": 3}, "below 'settings'"),
        ({"strategies": ""}, "at least one value of strategies"),
        ({"grid": {"lr": []}}, "at least one value of grid: lr"),
        (
            {"models": []},
            "at least one value of models; found none. Name one as model",
        ),
        ({"tasks": []}, "Name one as task, or training rows as train"),
        ({"seeds": [1, 1]}, "each value of seeds once; found '1' twice"),
        ({"seeds": -1}, "how many seeds"),
        ({"seeds": 0}, "1 is seed 0 alone"),
        ({"seeds": "many"}, "how many seeds"),
        ({"seeds": True}, "how many seeds"),
        ({"seeds": 10**9}, "1 to 100,000"),
        ({"seeds": "9" * 5000}, "1 to 100,000"),
        ({"seeds": "²"}, "how many seeds"),
        ({"seeds": 60_000}, "at most 100,000 runs in a study; found 120,000"),
        ({"train_rows": "²"}, "sizes such as"),
        ({"train_rows": "9" * 5000}, "sizes such as"),
        ({"seed": 3}, "a key of a study; found 'seed'. Write seeds: how many"),
        ({"strategies": "ft, full"}, "each value of strategies once; found 'full' twice"),
        ({"strategies": "ft, bitfi > full"}, "Did you mean 'bitfit'"),
        ({"baseline": "lora"}, "a baseline among the strategies"),
        ({"baseline": "lor"}, "Did you mean 'lora'"),
        ({"baseline": [1, "x"]}, "a name, a number"),
        ({"settings": {"seed": 3}}, "seed as an axis of its own"),
        ({"settings": {"seed": 3}}, "Write seeds, how many or a list: --seeds on the command line"),
        ({"settings": {"strategy": "ft"}}, "strategies=… in Python"),
        ({"grid": {"train_rows": [4]}}, "--train-rows on the command line"),
        ({"settings": {"out": "x"}}, "one folder for all its runs"),
        ({"settings": {"threads": 2}}, "say how many by --threads"),
        ({"settings": {"budget": "5m"}}, "a study without budget"),
        ({"settings": {"lr": 1}, "grid": {"lr": [1]}}, "lr in one place"),
        ({"settings": {"epocs": 1}}, "epochs"),
        ({"grid": {"lr": [-1]}}, "lr"),
        ({"grid": [1]}, "grid as a table"),
        ({"tasks": [{"train": "x.csv", "txt": "a"}]}, "Did you mean 'text'"),
        ({"tasks": ["rte", "rte"]}, "names of the tasks once"),
    ],
)
def test_faults_are_told(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(HeadstartError) as caught:
        read_plan(study(**changes))
    assert told in str(caught.value)


def test_a_file_may_use_single_names_and_its_faults_come_together(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("task: rte\nmodel: m\nstrategy: ft\nseeds: []\nbaseline: lp\n")
    with pytest.raises(HeadstartError) as caught:
        read_plan(read_plan_file(file))
    assert "seeds" in str(caught.value)
    assert "baseline" in str(caught.value)


def test_a_file_whose_settings_are_no_table_has_its_faults_told_together(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("tasks: rte\nmodels: m\nstrategies: ft\nsettings: [a]\ngrid: [b]\n")
    with pytest.raises(Faults) as caught:
        request(file, {}, {"text": "t"}, {"lr": 1e-3})
    assert "settings as a table of settings; found ['a']" in str(caught.value)
    assert "grid as a table of settings; found ['b']" in str(caught.value)


def test_files_of_one_name_in_two_folders_of_a_data_set_are_both_part_of_a_run(
    tmp_path: Path,
) -> None:
    data, found = tmp_path / "data", set()
    for first, second in (("a", "b"), ("c", "b"), ("b", "a")):
        for split, text in (("train", first), ("validation", second)):
            (data / split).mkdir(parents=True, exist_ok=True)
            (data / split / "rows.txt").write_text(text)
        config = FitConfig.build({"model": "m", "train": str(data), "text": "t"})
        found.add(Digests().of_rows(config))
    assert len(found) == 3


def test_trust_is_no_part_of_what_a_run_is(tmp_path: Path) -> None:
    given = inputs(tmp_path, strategy="full(steps=1)")
    ids = {
        Digests().of_run(FitConfig.build({**given, "trust_remote_code": t})) for t in (False, True)
    }
    assert len(ids) == 1
