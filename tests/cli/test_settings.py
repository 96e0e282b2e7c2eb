"""Options, files and ``--set`` are one list of settings, with one order of precedence."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from cli.rows import Run
from headstart import studies
from headstart.cli.shared.app import find_command
from headstart.cli.shared.settings import COMMAND_LINE_ONLY, FitCommand, gather
from headstart.config import FitConfig
from headstart.configfile import TRUST
from headstart.errors import ConfigError
from headstart.tasks.spec import SPAN_KEYS, TASK_KEYS
from headstart.techniques import TECHNIQUES

SAMPLES: dict[str, Any] = {
    "model": "m", "train": "t.csv", "validation": "v.csv", "task": "rte", "label": "l", "span": "s",
    "image": "i", "audio": "a",
    "strategy": "full", "preset": "paper", "head": "h", "out": "o", "data": "d",
    "budget": "5m", "pooling": "mean", "text": ["a", "b"], "choices": ["c", "d"], "metrics": ["f1"],
    "encoding": "cp1252", "label_columns": ["e", "f"], "label_separator": ";",
}  # fmt: skip


def sample(name: str) -> Any:
    """Return a value that differs from the default and needs no others."""
    field = FitCommand.model_fields[name]
    if name in SAMPLES:
        return SAMPLES[name]
    if isinstance(field.default, bool):
        return not field.default
    if typing.get_origin(field.annotation) is Literal:
        return next(v for v in typing.get_args(field.annotation) if v != field.default)
    text = str(field.annotation)
    return "linear" if "Literal" in text else 7 if "int" in text else 0.5


def as_options(name: str, value: Any) -> list[str]:
    """Write a setting as on the command line."""
    word = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{word}" if value else f"--no-{word}"]
    return [
        part
        for v in (value if isinstance(value, list) else [value])
        for part in (f"--{word}", str(v))
    ]


def parsed(words: list[str]) -> dict[str, Any]:
    """Return what the command ``fit`` is called with."""
    return dict(find_command("fit").make_context("fit", words).params)


def read(words: list[str]) -> FitCommand:
    """Return the settings that a command line means, whether or not they could run."""
    options = parsed(words)
    own = {key: options.pop(key) for key in ("config", "assignments")}
    return FitCommand(**gather(own["config"], own["assignments"] or (), options))


def options_of_fit() -> list[str]:
    """Return the names of all options of ``fit``."""
    params = find_command("fit").params
    return [max(param.opts, key=len).removeprefix("--").replace("-", "_") for param in params]


def test_every_option_is_a_setting_or_refused_in_a_file(tmp_path: Path) -> None:
    assert {*options_of_fit(), "debug", "help"} == {*FitCommand.model_fields, *COMMAND_LINE_ONLY}
    for name in COMMAND_LINE_ONLY:
        (tmp_path / "run.yaml").write_text(f"{name}: x")
        with pytest.raises(ConfigError, match=f"--{name} belongs on the command line"):
            read(["--config", str(tmp_path / "run.yaml")])


def test_dry_run_and_quiet_are_heard_in_a_file(
    cli: Run, model: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    lines = {"model": model, "train": files[0], "text": "sentence", "strategy": "full(steps=1)"}
    text = "".join(f"{name}: {value}\n" for name, value in lines.items())
    (tmp_path / "run.yaml").write_text(f"{text}dry-run: true\nout: {tmp_path / 'x'}\n")
    words = ("fit", "--config", tmp_path / "run.yaml")
    assert cli(*words).out.startswith("Plan")
    assert cli(*words, "--set", "quiet=true").out.startswith("Plan")
    assert not (tmp_path / "x").exists()
    assert len(cli(*words, "--no-dry-run", "--set", "quiet=yes").out.splitlines()) == 1
    # The folder says what was trained, not how it was shown.
    saved = yaml.safe_load((tmp_path / "x" / "settings.yaml").read_text())
    assert saved.keys() == FitConfig.model_fields.keys()


@pytest.mark.parametrize("name", FitCommand.model_fields)
def test_every_setting_works_in_all_three_forms(name: str, tmp_path: Path) -> None:
    value = sample(name)
    for ending, text in (
        ("yaml", yaml.safe_dump({name: value})),
        ("toml", f"{name} = {value!r}".replace("True", "true").replace("False", "false")),
    ):
        (tmp_path / f"run.{ending}").write_text(text)
    wanted = FitCommand(**{name: value})
    assert wanted != FitCommand()
    assert read(as_options(name, value)) == wanted
    for ending in ("yaml", "toml"):
        line = ["--config", str(tmp_path / f"run.{ending}")]
        if name == TRUST:  # the file asks, the user confirms
            with pytest.raises(ConfigError, match="in this call"):
                read(line)
            line += as_options(name, value)
        assert read(line) == wanted
    assert (
        read(
            ["--set", f"{name}={yaml.safe_dump(value, default_flow_style=True).split(chr(10))[0]}"]
        )
        == wanted
    )


def test_every_setting_is_an_option_with_help() -> None:
    options = {p.name: p for p in find_command("fit").params}
    assert len(FitCommand.model_fields) > 35
    for name, field in FitCommand.model_fields.items():
        assert str(field.description).replace("[", "\\[") in options[name].help
        assert options[name].rich_help_panel == field.json_schema_extra["panel"]  # type: ignore[index, call-overload]


def test_options_win_over_set_and_set_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("seed: 1\nepochs: 1\nbatch-size: 1\n")
    found = read(["--config", str(file), "--set", "epochs=2", "--set", "seed=2", "--seed", "3"])
    assert (found.seed, found.epochs, found.batch_size) == (3, 2, 1)


def test_a_resumed_run_takes_its_settings_from_its_folder(tmp_path: Path) -> None:
    partial = tmp_path / "x.partial"
    partial.mkdir()
    (partial / "settings.yaml").write_text("model: m\nseed: 5\nout: elsewhere\nresume: false\n")
    found = read(["--resume", "--out", str(tmp_path / "x")])
    assert (found.model, found.seed, found.resume, found.out) == ("m", 5, True, tmp_path / "x")


@pytest.mark.parametrize(
    "command",
    [
        "",
        "fit",
        "evaluate",
        "predict",
        "tasks",
        "strategies",
        "demo",
        "head",
        "head extract",
        "head inspect",
    ],
)
def test_help_of_every_command(cli: Run, command: str) -> None:
    answer = cli(*command.split(), "--help")
    assert answer.code == 0
    assert "Usage: headstart" in answer.out


def test_help_lists_the_keys_of_a_task_file(cli: Run) -> None:
    shown = cli("tasks", "--help").out
    for key, accepted in {**TASK_KEYS, **SPAN_KEYS}.items():
        assert f"{key}: {accepted}" in shown


def test_version_and_lists(cli: Run) -> None:
    assert cli("--version").out.startswith("headstart 0.")
    assert "entailment, not_entailment" in cli("tasks").out
    assert "aps/super_glue:wic" in cli("tasks", "wic").out
    strategies = cli("strategies").out
    assert "bitfit > full" in strategies
    assert "targets=attention" in strategies
    assert "headstart study soup DIR" in strategies
    for name in TECHNIQUES:
        assert name in strategies


def test_resume_without_a_folder_names_the_unfinished_runs(
    cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "Name the folder" in cli("fit", "--resume").err
    folder = Path("runs/x.partial")
    folder.mkdir(parents=True)
    (folder / "settings.yaml").touch()
    answer = cli("fit", "--resume")
    assert answer.code == 2
    assert "--out FOLDER beside --resume" in answer.err
    assert f"Unfinished runs here: {Path('runs/x')}." in answer.err


REFUSED_BY_A_STUDY = {
    "budget", "checkpoint_minutes", "checkpoint_steps", "overwrite", "resume", "seed",
}  # fmt: skip
"""What a study decides itself, each with what to write instead."""


@pytest.mark.parametrize("name", sorted(FitConfig.model_fields))
def test_run_study_takes_the_settings_of_fit_by_their_names(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Begun(Exception):  # noqa: N818
        pass

    def begin(*_: Any, **__: Any) -> None:
        raise Begun

    monkeypatch.setattr(studies, "begin", begin)
    rows = {"train": "t.csv"} if name in {"image", "audio"} else {"train": "t.csv", "text": "a"}
    rows = rows if name not in {"task", "data"} else {"task": "rte"}
    beside = {"head_part": {"head": "h"}, "window_overlap": {"long_texts": "windows"}}.get(name, {})
    own = {"strategies" if name == "strategy" else name: sample(name)}
    words = {"model": "m", "out": "o", "strategies": ["ft"], **rows, **beside, **own}
    if name in REFUSED_BY_A_STUDY:
        with pytest.raises(ConfigError) as error:
            studies.run_study(**words)
        assert error.value.fix
    else:
        with pytest.raises(Begun):
            studies.run_study(**words)
