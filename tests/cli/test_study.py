"""Commands about studies: what is wrong is told, and no result is lost or counted in silence."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

import tiny_records as made
import tiny_studies
from alike import ALL, spread
from cli.rows import Answer, Run
from headstart.cli.shared.app import find_command
from headstart.config import FitConfig
from headstart.report.card import BEGIN
from headstart.study.fields import NOT_IN_A_STUDY, SEEDS
from headstart.study.outcome.tables import MARKED
from headstart.study.store import Store


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study of four seeds that nobody has run."""
    found = made.evidence(made.noisy({made.BITFIT: 0.05}), seeds=4)
    records = [made.record(run.axes, 0.7 + run.axes["seed"] / 100) for run in found.planned]
    made.write(found, records, tmp_path / "x")
    return tmp_path / "x"


def told(answer: Answer, *parts: str) -> None:
    """Check that a command refused its input as all of them do."""
    assert (answer.code, answer.out) == (2, ""), answer
    assert answer.err.startswith("error: expected ")
    assert "; found " in answer.err
    assert "what to do: " in answer.err
    for part in parts:
        assert part in answer.err, part


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"strategys": "ft"}, ("'strategys'", "Did you mean 'strategies'")),
        ({"epochs": 3}, ("'epochs'", "below 'settings'")),
        ({"grid": {"lr": []}}, ("at least one value of grid: lr", "Name one or more")),
        ({"grid": {"lr": [0.1, 0.1]}}, ("each value of grid: lr once",)),
        ({"seeds": [1, 1]}, ("each value of seeds once; found '1' twice", "Remove one")),
        ({"train_rows": "few"}, ("sizes such as 100,500,all", "'few'")),
        ({"tasks": ["rte"], "settings": {"data": "nowhere"}}, ("nowhere",)),
        ({"tasks": ["rtee"]}, ("'rtee'", "'rte'")),
        ({"tasks": [{"name": "a", "train": "no.csv", "text": "t"}]}, ("no.csv",)),
    ],
)
def test_a_wrong_study_file(
    cli: Run, tmp_path: Path, changes: dict[str, Any], parts: tuple[str, ...]
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(tiny_studies.values(tmp_path) | changes))
    told(cli("study", "run", "--config", file, "--out", tmp_path / "x"), *parts)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("--seeds 1,1", ("each value of seeds once", "'1' twice")),
        ("--seeds 3 --seeds 4", ("--seeds once; found several",)),
        ("--grid lr=", ("at least one value of grid: lr", "Name one")),
        ("--grid lr", ("--grid name=a,b",)),
        ("--train-rows few", ("sizes such as 100,500,all",)),
        ("--selection crave", ("--selection", "carve")),
        ("--executor rya", ("--executor", "ray")),
        ("--ray-address x:1", ("--executor ray beside --ray-address",)),
        ("--workers 0", ("--workers of at least 1",)),
        ("--task rte --train x.csv", ("--train or --task",)),
        ("--task rte --data nowhere", ("nowhere",)),
        ("--epochs two", ("epochs to be a valid number", "'two'", "Change --epochs")),
        ("--epochs 2 --total-epochs 4", ("--epochs (of fine-tuning) or --total-epochs",)),
        ("--set epochs=2 --grid epochs=1,2", ("epochs in one place",)),
        ("--grid epochs=1,2 --epochs 2", ("epochs in one place",)),
        ("--epoch 2", ("an option of `headstart study run`", "Did you mean '--epochs'")),
        ("--resume", ("a study without resume", "always goes on where it was")),
        ("--overwrite", ("a study without overwrite", "never repeated")),
        ("--checkpoint-minutes 1", ("the runs of a study write no checkpoints",)),
        ("--budget 5m", ("a study without budget",)),
        ("--set threads=2", ("say how many by --threads",)),
        ("--seed 3", ("seed as an axis of its own", "Write seeds, how many or a list: --seeds")),
        ("--strategy lp", ("strategy as an axis of its own", "--strategies on the command line")),
    ],
)
def test_a_wrong_command(
    cli: Run, tmp_path: Path, words: str, parts: tuple[str, ...], model: Path
) -> None:
    base = ["study", "run", "--model", model, "--strategies", "ft", "--out", tmp_path / "x"]
    task = [] if "--task" in words else ["--task", "rte"]
    told(cli(*base, *task, *words.split()), *parts)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere"])
def test_a_cluster_that_does_not_answer(cli: Run, tmp_path: Path, address: str) -> None:
    pytest.importorskip("ray", reason="needs headstart[ray]")
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(tiny_studies.values(tmp_path)))
    words = ("--config", file, "--out", tmp_path / "x", "--executor", "ray")
    told(cli("study", "run", *words, "--ray-address", address), address, "Check --ray-address")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("command", ["study table", "study status", "study card", "report"])
def test_a_folder_that_is_none_or_of_another_version(cli: Run, study: Path, command: str) -> None:
    told(cli(*command.split(), study / "none"), "which does not exist", "Name the folder")
    told(cli(*command.split(), study.parent), "which is none")
    Store(study).write("study.json", {"form": 99, "headstart": "9.9"})
    told(cli(*command.split(), study), "form 1", "form 99, by headstart 9.9", "new study")


def test_a_run_into_a_folder_of_another_version(cli: Run, study: Path) -> None:
    Store(study).write("study.json", {"form": 99, "headstart": "9.9"})
    file = study.parent / "study.yaml"
    file.write_text(yaml.safe_dump(tiny_studies.values(study.parent)))
    told(cli("study", "run", "--config", file, "--out", study), "form 99, by headstart 9.9")


def truncate(text: str) -> str:
    return text[: len(text) // 2]


def better(text: str) -> str:
    return text.replace('"score": 0.7', '"score": 70.7')


def worded(text: str) -> str:
    record = json.loads(text)
    record["result"]["last"]["score"] = record["result"]["best"]["score"] = "good"
    return json.dumps(record)


def renamed(text: str) -> str:
    record = json.loads(text)
    return json.dumps({**record, "id": "another"})


def cut(text: str) -> str:
    record = json.loads(text)
    del record["result"]["stages"]
    return json.dumps(record)


def unpointed(text: str) -> str:
    record = json.loads(text)
    record["result"]["stages"][0]["curve"] = [{"step": 1}]
    return json.dumps(record)


def untasked(text: str) -> str:
    record = json.loads(text)
    record["result"]["task"] = None
    return json.dumps(record)


def improved(text: str) -> str:
    return text.replace('"score": 0.7', '"score": 0.9')


CHANGES = (truncate, better, improved, worded, renamed, cut, unpointed, untasked)


@pytest.mark.parametrize(
    ("change", "command"),
    spread(
        product(CHANGES, ["study table", "study status", "study card", "report"]),
        times=1,
    ),
)
def test_a_damaged_result_is_named_set_aside_and_in_no_mean(
    cli: Run, study: Path, command: str, change: Any
) -> None:
    path = sorted((study / "results").iterdir())[0]
    path.write_text(change(path.read_text()))
    answer = cli(*command.split(), study)
    assert answer.code == 0, answer.err
    assert f"results/{path.name}" in answer.out + answer.err
    assert "set aside in damaged/" in answer.out + answer.err
    assert [p.name for p in (study / "damaged").iterdir()] == [path.name]
    assert not path.exists()
    rows = cli("study", "table", study, "--format", "csv").out.splitlines()[1:]
    assert sorted(int(row.split(",")[6]) for row in rows) == [3, 4]
    assert "1 missing" in cli("study", "status", study).out


def test_a_damaged_result_is_done_again_and_named(cli: Run, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(tiny_studies.values(tmp_path, seeds=1)))
    words = ("study", "run", "--config", file, "--out", tmp_path / "x", "--threads", 1)
    assert cli(*words).code == 0
    path = sorted((tmp_path / "x" / "results").iterdir())[0]
    path.write_text(truncate(path.read_text()))
    answer = cli(*words)
    assert answer.code == 0
    assert f"warning: results/{path.name} is truncated" in answer.err
    assert len(Store(tmp_path / "x").finished()) == 2


@ALL
def test_a_folder_that_vanishes_during_the_study(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    lines = [f"full(steps={n})" for n in (3, 200, 201, 202)]
    file.write_text(yaml.safe_dump(tiny_studies.values(tmp_path, strategies=lines, seeds=3)))
    code = (
        "from headstart.study.running import runner; runner.AWAY = 0.5\n"
        "from headstart.cli import main; raise SystemExit(main())"
    )
    words = ["study", "run", "--config", file, "--out", tmp_path / "x", "--threads", 1]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)], stderr=subprocess.PIPE, text=True
    )
    results, deadline = tmp_path / "x" / "results", time.monotonic() + 120
    while not (results.is_dir() and list(results.iterdir())):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (tmp_path / "x").rename(tmp_path / "away")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert "error: expected the study's folder" in errors
    assert "what to do: Bring it back" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "x" / "results").exists()
    (tmp_path / "away").rename(tmp_path / "x")
    kept = Store(tmp_path / "x").finished()
    assert kept


def test_the_command_finds_the_readme_of_a_run(cli: Run, run_folder: Path, tmp_path: Path) -> None:
    made_of = made.evidence(made.noisy({}), ("full", "bitfit(steps=40) > full"), seeds=2)
    records = [made.record(run.axes, 0.7) for run in made_of.planned]
    made.write(made_of, records, tmp_path / "x")
    readme = run_folder / "model" / "README.md"
    before = readme.read_text()
    for told in ("section added to", "section renewed in"):
        answered = cli("study", "card", tmp_path / "x", "--model", run_folder)
        assert (answered.code, answered.out) == (0, f"{told} {readme}\n")
    text = readme.read_text()
    assert text.startswith(before)
    assert text.count(BEGIN) == 1
    assert "This model is one run of bitfit(steps=40) > full, seed 0" in text
    assert "It was trained on other rows" in text
    readme.write_text(before)


def test_the_command_prints_writes_and_refuses(cli: Run, tmp_path: Path) -> None:
    study = made.evidence(made.noisy({}), seeds=2)
    records = [made.record(run.axes, 0.7) for run in study.planned]
    made.write(study, records, tmp_path / "x")
    printed = cli("study", "card", tmp_path / "x").out
    assert printed.startswith(BEGIN)
    assert cli("study", "card", tmp_path / "x", "--out", tmp_path / "new" / "R.md").code == 0
    assert (tmp_path / "new" / "R.md").read_text() == printed
    for words, told in (
        (("--out", "a", "--model", "b"), "--model or --out"),
        (("--model", tmp_path / "x"), "the folder of a model, for --model"),
        (("--out", tmp_path), "a file to write the section to"),
    ):
        answered = cli("study", "card", tmp_path / "x", *words)
        assert answered.code == 2
        assert told in answered.err
        assert "what to do: " in answered.err


@pytest.mark.parametrize("selection", ["validation", "carve"])
def test_nested_evaluation_takes_the_marks_away(cli: Run, tmp_path: Path, selection: str) -> None:
    file, out = tmp_path / "study.yaml", tmp_path / "x"
    file.write_text(yaml.safe_dump(tiny_studies.values(tmp_path)))
    words = ("--config", file, "--out", out, "--selection", selection, "--set", "select=best")
    printed = [cli("study", "run", *words, "--threads", 1)]
    printed += [cli("study", "table", out, "--format", form) for form in ("text", "md", "latex")]
    printed += [cli("study", "card", out), cli("report", out, "--out", tmp_path / "page.html")]
    assert [answer.code for answer in printed] == [0] * 6
    texts = [*(answer.out for answer in printed[:5]), (tmp_path / "page.html").read_text()]
    assert [MARKED.removeprefix("*") in text for text in texts] == [selection != "carve"] * 6
    settings = [run.settings for run in Store(out).runs().values()]
    assert {run["selection"] for run in settings} == {selection}
    results = [record["result"] for record in Store(out).results()[0]]
    assert all(bool(result["untouched"]) == (selection == "carve") for result in results)


def test_a_dry_run_needs_no_folder_and_other_runs_do(cli: Run, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(tiny_studies.values(tmp_path)))
    planned = cli("study", "run", "--config", file, "--dry-run")
    assert (planned.code, planned.err) == (0, "")
    assert "4, of which 0 have ended" in planned.out
    told(cli("study", "run", "--config", file), "--out for `headstart study run`", "--dry-run")


def test_every_setting_of_a_run_is_an_option_that_is_taken_or_refused() -> None:
    params = {p.name: p for p in find_command("study").commands["run"].params}
    assert FitConfig.model_fields.keys() <= params.keys()
    shown = {name for name in FitConfig.model_fields if not params[name].hidden}
    assert len(shown) > 35
    refused = {*NOT_IN_A_STUDY, "strategy", "seed"} - {"out", "threads"}
    assert FitConfig.model_fields.keys() - shown == refused


def test_options_of_fit_are_settings_of_all_runs(cli: Run, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    values = tiny_studies.values(tmp_path, strategies=["full"], seeds=1)
    values["settings"] |= {"epochs": 3, "lr": 1e-4}
    file.write_text(yaml.safe_dump(values))
    words = ("study", "run", "--config", file, "--threads", 1, "--out")
    first = cli(*words, tmp_path / "x", "--set", "epochs=2", "--set", "lr=1e-3", "--epochs", 1)
    assert first.code == 0, first.err
    (run,) = Store(tmp_path / "x").results()[0]
    settings = run["result"]["settings"]
    # The option wins over --set, and that over the file.
    assert (settings["epochs"], settings["lr"], settings["guard"]) == (1, 1e-3, False)
    options = (
        "--lr",
        "0.001",
        "--epochs",
        "1.0",
        "--guard",
        "--metrics",
        "matthews",
        "--metrics",
        "macro_f1",
    )
    second = cli(*words, tmp_path / "y", *options)
    assert second.code == 0, second.err
    (run,) = Store(tmp_path / "y").results()[0]
    settings = run["result"]["settings"]
    assert (settings["guard"], settings["metrics"]) == (True, ["matthews", "macro_f1"])


def test_the_plan_shows_settings_threads_and_six_seeds(cli: Run, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    values = tiny_studies.values(tmp_path, strategies=["full(steps=1)"])
    del values["seeds"]
    file.write_text(yaml.safe_dump(values))
    words = ("study", "run", "--config", file, "--dry-run", "--lr", "0.001")
    planned = " ".join(cli(*words).out.split())
    assert "seeds 0, 1, 2, 3, 4, 5 " in planned
    assert " lr 0.001 " in planned
    assert "threads 1 thread (OMP_NUM_THREADS) of each run" in planned
    assert f"10, or 0,1,2. Default: {SEEDS}." in cli("study", "run", "--help").out


def test_a_study_without_a_whole_plan_is_told(cli: Run, study: Path) -> None:
    for plan in (study / "plans").iterdir():
        plan.write_text("{")
    told(cli("study", "table", study), "at least one plan", "is truncated", "Repeat the command")
    told(cli("report", study), "at least one plan")
    assert "damaged: plans/" in cli("study", "status", study).out


def test_rows_that_do_not_fit_are_told_with_their_task(cli: Run, tmp_path: Path) -> None:
    values = tiny_studies.values(tmp_path)
    task = values["tasks"][0]
    values["tasks"] = [task, {**task, "name": "other", "text": "txet"}]
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(values))
    words = ("study", "run", "--config", file, "--out", tmp_path / "x")
    told(cli(*words), "'txet'", "(task other)")
