"""The demo's rows are what it says, and its two runs are comparable."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import scipy.stats

import tiny
from headstart import demo
from headstart.cli import main
from headstart.data.tables.sources import read_table
from headstart.errors import ConfigError
from headstart.results import RunResult
from headstart.steps.callback import Callback


def test_film_sentences_are_drawn_once_and_named() -> None:
    train, validation = demo.sample_films()
    assert (len(train), len(validation)) == (500, 1000)
    assert not set(train["sentence"]) & set(validation["sentence"])
    assert set(train["label"]) == {"negative", "positive"}
    liked = train["sentence"].str.contains("wonderful|moving|delight|charming")
    hated = train["sentence"].str.contains("dull|tedious|bad |boring|awful")
    assert (train["label"][liked] == "positive").mean() > 0.6
    assert (train["label"][hated] == "negative").mean() > 0.6


def test_every_part_of_scipy_teaches_by_as_many_sentences_and_none_is_judged_too() -> None:
    train, judged = demo.sample_functions(seed=3)
    parts = {part.split(".")[0] for part in demo.PARTS}
    assert train["label"].value_counts().to_dict() == dict.fromkeys(parts, demo.ROWS_OF_A_CLASS)
    assert len(judged) == demo.JUDGED_ROWS
    assert set(judged["label"]) == parts
    sentences = pd.concat([train["sentence"], judged["sentence"]])
    assert sentences.is_unique
    told = dict(zip(sentences, [*train["label"], *judged["label"]], strict=True))
    known = inspect.getdoc(scipy.stats.norm).partition("\n")[0]
    assert told.get(known, "stats") == "stats"
    assert {label for text, label in told.items() if "random variable" in text} == {"stats"}
    again, _ = demo.sample_functions(seed=3)
    other, _ = demo.sample_functions(seed=4)
    assert again.equals(train)
    assert not other.equals(train)


def test_rows_are_a_number_of_films(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--rows", "20", "--out", str(tmp_path / "out")]) == 2
    assert "--export" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_export_writes_two_files_and_stops(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--export", str(tmp_path / "film")]) == 0
    assert {p.name for p in (tmp_path / "film").iterdir()} == {"train.csv", "validation.csv"}
    train, validation = demo.sample_films()
    for name, frame in (("train", train), ("validation", validation)):
        written = read_table(tmp_path / "film" / f"{name}.csv")
        assert written["sentence"].tolist() == frame["sentence"].tolist()
        assert written["label"].tolist() == frame["label"].tolist()
    assert str(tmp_path) in capsys.readouterr().out


def test_export_leaves_other_files_of_these_names_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / "validation.csv"
    theirs.write_text("years of work")
    words = ["demo", "--rows", "20", "--export", str(tmp_path)]
    assert main(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["validation.csv"]
    assert theirs.read_text() == "years of work"
    assert main([*words, "--overwrite"]) == 0
    assert theirs.read_text() != "years of work"
    assert main(words) == 0  # what it has written itself is in nobody's way


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(ConfigError, match=r"pip install 'headstart\[demo\]'"):
        demo.sample_films()


def test_the_runs_differ_in_the_strategy_alone(tmp_path: Path) -> None:
    plain, ours = demo.settings(tmp_path).values()
    differ = {name for name, value in plain if value != getattr(ours, name)}
    assert differ == {"strategy", "out"}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a tiny model where the demo's would be."""
    package = tmp_path / "package"
    tiny.save_pretrained("bert", package / "model")
    real = demo._package_folder

    def folder(name: str) -> Path:
        return package if name == demo.MODEL_PACKAGE else real(name)

    monkeypatch.setattr(demo, "_package_folder", folder)
    monkeypatch.setattr(demo, "JUDGED_ROWS", 40)
    return tmp_path / "out"


def test_both_runs_take_the_same_steps(small: Path) -> None:
    heard = []

    @contextlib.contextmanager
    def listen(name: str) -> Iterator[Callback]:
        heard.append(name)
        yield Callback()

    results = demo.run_demo(small, listen, epochs=2)
    steps = {name: sum(stage.steps for stage in r.stages) for name, r in results.items()}
    assert heard == ["ft", "default"]
    assert steps == {"ft": 6, "default": 6}
    assert results["ft"].data == results["default"].data


def test_a_single_step_is_enough_for_both(small: Path) -> None:
    assert main(["demo", "--out", str(small), "--epochs", "0.1"]) == 0
    results = [RunResult.read(small / name / "result.json") for name in demo.STRATEGIES]
    assert [[stage.steps for stage in result.stages] for result in results] == [[1], [0, 1, 0]]


def test_the_command_prints_one_table_and_says_what_it_is_worth(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["demo", "--out", str(small), "--epochs", "1"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed.count("accuracy before → after") == 1
    assert "One seed is one draw of few rows" in printed
    for part in (*demo.SENTENCES, str(small / "ft" / "model"), str(small / "default" / "model")):
        assert part in printed, part
    assert main(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0


def test_the_verdict_follows_the_numbers() -> None:
    from headstart.cli.demo import _verdict

    def result(accuracy: float) -> Any:
        class Fake:
            last = {"accuracy": accuracy}  # noqa: RUF012
            data = {"validation_rows": 400}  # noqa: RUF012
            guard = ()

        return Fake()

    assert "default (0.800) is better than ft (0.750) by 5.0" in _verdict(
        {"ft": result(0.75), "default": result(0.8)}
    )
    assert "ft (0.800) is better than default (0.750)" in _verdict(
        {"ft": result(0.8), "default": result(0.75)}
    )
    assert "standard error of an accuracy is 2.2" in _verdict(
        {"ft": result(0.75), "default": result(0.75)}
    )
