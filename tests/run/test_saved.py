"""What a run's folder says of its model: it survives a move, and its absence is told."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import headstart as hs
from headstart.errors import ConfigError, NumericalError, RunError
from headstart.models.head_choice import Target
from headstart.steps.output.saved import fit_to_model, saved_precision, saved_task, task_record
from headstart.tasks.builtin import get_task
from headstart.tasks.userfile import from_columns
from tiny_runs import frame, inputs

TASK_FILE = """
name: mood
shape: single
text: [sentence]
label: label
metrics: [F1_macro, neg_log_loss]
"""


@pytest.fixture(scope="module")
def by_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by a task file that is gone, in a folder that was moved."""
    folder = tmp_path_factory.mktemp("by-file")
    (folder / "mood.yaml").write_text(TASK_FILE, encoding="utf-8")
    settings = inputs(folder) | {"task": str(folder / "mood.yaml"), "text": (), "label": None}
    settings = {k: v for k, v in settings.items() if v}
    strategy = "full(steps=12, lr=3e-2, head_lr=3e-2)"
    result = hs.fit(**settings, strategy=strategy, out=folder / "run")
    assert result.out == folder / "run"
    (folder / "mood.yaml").unlink()
    shutil.move(folder / "run", folder / "moved")
    return folder / "moved"


def test_a_moved_run_needs_no_task_file(by_file: Path) -> None:
    classifier = hs.load(by_file)
    assert classifier.task is not None
    assert classifier.task.metrics == ("macro_f1", "log_loss")
    rows = pd.DataFrame({"sentence": ["a b c d e", "u v w x y"], "label": ["good", "bad"]})
    assert classifier.predict_frame(rows)["prediction"].tolist() == ["good", "bad"]
    assert hs.evaluate(by_file, rows)["macro_f1"] == 1
    assert saved_precision(str(by_file)) == "fp32"


def test_a_damaged_record_costs_the_columns_alone(
    by_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = shutil.copytree(by_file, tmp_path / "run")
    (run / "result.json").write_text("{", encoding="utf-8")
    with caplog.at_level(logging.WARNING, "headstart"):
        classifier = hs.load(run)
    assert "record of the run cannot be read" in caplog.text
    assert classifier.task is None
    assert classifier.predict("a b c d e")[0].label == "good"
    rows = frame(6)
    assert hs.evaluate(run, rows, text="sentence")["accuracy"] >= 0.5


def test_a_precision_that_is_not_here_is_replaced(
    by_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = shutil.copytree(by_file, tmp_path / "run")
    record = json.loads((run / "result.json").read_text(encoding="utf-8"))
    record["machine"]["precision"] = "fp16"
    (run / "result.json").write_text(json.dumps(record), encoding="utf-8")
    with caplog.at_level(logging.WARNING, "headstart"):
        assert hs.load(run, device="cpu").predict("a b c d e")[0].label == "good"
    assert "evaluated in fp16" in caplog.text
    with pytest.raises(ConfigError, match="fp16"):
        hs.load(run, device="cpu", precision="fp16")


def test_a_model_that_was_copied_elsewhere_has_no_record(by_file: Path, tmp_path: Path) -> None:
    shutil.copytree(by_file / "model", tmp_path / "model")
    assert saved_task(str(tmp_path / "model")) == (None, None)
    assert saved_precision(str(tmp_path / "model")) == "auto"


@pytest.mark.parametrize("inside", ["", "model"])
def test_an_unfinished_run_is_not_used(by_file: Path, tmp_path: Path, inside: str) -> None:
    run = shutil.copytree(by_file, tmp_path / "x.partial")
    with pytest.raises(RunError, match=r"mv .*/x\.partial .*/x$"):  # finished, but not in its place
        hs.load(run / inside)
    (run / "result.json").unlink()
    with pytest.raises(RunError, match=r"headstart fit --resume --out .*/x$"):
        hs.load(run / inside)


@pytest.mark.parametrize("place", ["x", "x.partial", "x.partial/model"])
def test_a_failed_run_says_why_and_how_to_start_again(tmp_path: Path, place: str) -> None:
    settings = inputs(tmp_path) | {"out": tmp_path / "x", "strategy": "full(steps=9)"}
    with pytest.raises(NumericalError):
        hs.fit(**settings, lr=1e30, head_lr=1e30)
    (tmp_path / "x.partial" / "model").mkdir()
    for refused in (hs.load, hs.Head.from_pretrained):
        with pytest.raises(RunError, match="a run that failed: NaN or infinity") as error:
            refused(tmp_path / place)
        assert "Lower its learning rate" in error.value.fix
        assert "x.partial/settings.yaml --overwrite" in error.value.fix
        assert "--resume" not in error.value.fix


@pytest.mark.parametrize("name", ["copa", "wic", "stsb", "mrpc"])
def test_a_task_is_whole_after_json(name: str, by_file: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(by_file / "model", run / "model")
    record = json.loads((by_file / "result.json").read_text(encoding="utf-8"))
    task = get_task(name)
    record["task"]["spec"] = json.loads(json.dumps(task_record(task)))
    (run / "result.json").write_text(json.dumps(record), encoding="utf-8")
    assert saved_task(str(run))[0] == task


@pytest.mark.parametrize(
    ("task", "target", "said"),
    [
        (get_task("copa"), Target(("a", "b")), "a task of single texts"),
        (from_columns(("a",), "b"), Target(("0", "1"), "choice"), "with choices as --task"),
        (from_columns(("a",), "b"), Target(("0", "1"), "sequence", 2), "2 target spans"),
    ],
)
def test_a_task_that_the_model_cannot_serve(task: Any, target: Target, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        fit_to_model(task, target)
