"""Code that comes with a model runs on the user's word for this call, never on that of a file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import headstart as hs
import tiny_records
import tiny_studies
from cli.rows import Run
from headstart.config import FitConfig, write_settings
from headstart.configfile import without_trust
from headstart.errors import ConfigError, HeadstartError
from headstart.models.checkpoints.model_config import load_config
from headstart.study.plan import read_plan
from headstart.study.running.main import begin
from headstart.study.soup import make_soup
from tiny_code import settings_with_code

ASKED = "on your word, not on that of a file"


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """Where the model's code leaves a file when it runs."""
    return tmp_path / "code has run"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings for a model of a known family that brings code of its own.

    Without trust transformers' own class is taken, so nothing but trust decides what runs.
    """
    return settings_with_code(tmp_path, monkeypatch)


def trusted_run(folder: Path, settings: dict[str, Any]) -> Path:
    """Leave an interrupted run that somebody has started with trust."""
    work = folder / "run.partial"
    work.mkdir()
    asked = FitConfig.build({**settings, "trust_remote_code": True})
    write_settings(asked, work / "settings.yaml")
    return folder / "run"


def trusted_study(folder: Path, settings: dict[str, Any]) -> str:
    """Leave a finished study that somebody has carried out with trust."""
    values = tiny_studies.values(
        folder, models=[settings["model"]], strategies=["full(steps=2)"],
    )  # fmt: skip
    values["settings"]["trust_remote_code"] = True
    study = begin(read_plan(values), str(folder / "study"))
    for run in study.runs:
        result = tiny_records.result(run.axes, 0.5).to_plain()
        result["data"]["validation_fingerprint"] = "as any other seed's"
        study.store.put(run, result, np.zeros((24, 2), np.float32))
    return study.store.address


def plan_file(folder: Path, settings: dict[str, Any], where: str) -> Path:
    """Write a study that asks for trust somewhere."""
    values = tiny_studies.values(folder, models=[settings["model"]])
    values["tasks"][0] |= {"trust_remote_code": "yes"} if where == "tasks" else {}
    values["settings"] |= {"trust-remote-code": True} if where == "settings" else {}
    values["grid"] = {"trust_remote_code": [False, True]} if where == "grid" else {}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_a_resumed_run_asks_again(
    settings: dict[str, Any], ran: Path, tmp_path: Path, cli: Run
) -> None:
    out = trusted_run(tmp_path, settings)
    answer = cli("fit", "--resume", "--out", out)
    assert answer.code == 2 and ASKED in answer.err
    with pytest.raises(ConfigError, match=ASKED):
        hs.fit(resume=True, out=out)
    with pytest.raises(HeadstartError, match="the settings with which the run was started"):
        hs.fit(resume=True, out=out, trust_remote_code=False)
    assert not ran.exists()
    hs.plan(resume=True, out=out, trust_remote_code=True)
    assert ran.exists()


@pytest.mark.parametrize("value", [True, "true", "yes", 1])
@pytest.mark.parametrize("name", ["trust_remote_code", "trust-remote-code"])
def test_a_settings_file_may_ask_and_the_user_confirms(
    name: str, value: object, settings: dict[str, Any], ran: Path, tmp_path: Path, cli: Run
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({**settings, name: value}), encoding="utf-8")
    line = ("fit", "--config", file, "--dry-run", "--quiet", "--out", tmp_path / "run")
    answer = cli(*line)
    assert answer.code == 2 and ASKED in answer.err and "run.yaml" in answer.err
    assert cli(*line, "--no-trust-remote-code").code == 0
    assert cli(*line, "--set", "trust_remote_code=false").code == 0
    assert not ran.exists()
    assert cli(*line, "--trust-remote-code").code == 0
    assert ran.exists()


@pytest.mark.parametrize("where", ["settings", "tasks", "grid"])
def test_so_may_a_study_file(
    where: str, settings: dict[str, Any], ran: Path, tmp_path: Path, cli: Run
) -> None:
    file = plan_file(tmp_path, settings, where)
    for command in (("study", "run"), ("analyze", "drift")):
        answer = cli(*command, "--config", file, "--dry-run")
        assert answer.code == 2 and ASKED in answer.err
    with pytest.raises(ConfigError, match=ASKED):
        hs.run_study(config=file, out=tmp_path / "x")
    assert not (tmp_path / "x").exists()
    for said, asked in (("--no-trust-remote-code", False), ("--trust-remote-code", True)):
        answer = cli("study", "run", "--config", file, "--dry-run", said)
        assert answer.code == 0
        assert f"trust_remote_code {asked}" in " ".join(answer.out.split())
        assert ran.exists() == asked  # the plan's time is measured on the model


def test_the_seeds_of_somebody_elses_study_are_not_trusted(
    settings: dict[str, Any], ran: Path, tmp_path: Path, cli: Run
) -> None:
    address = trusted_study(tmp_path, settings)
    answer = cli("study", "soup", address, "--out", tmp_path / "soup")
    assert answer.code == 2 and ASKED in answer.err
    with pytest.raises(ConfigError, match=ASKED):
        make_soup(address, "full(steps=2)", tmp_path / "soup")
    assert not ran.exists() and not (tmp_path / "soup").exists()
    answer = cli("study", "soup", address, "--out", tmp_path / "soup", "--trust-remote-code")
    assert answer.code == 0, answer
    assert ran.exists()


READERS: dict[str, Callable[[Path], tuple[object, ...]]] = {
    "evaluate": lambda f: ("evaluate", f / "run", "--data", f / "validation.csv"),
    "predict": lambda f: ("predict", f / "run", "--text", "sentence", "--data",
                          f / "validation.csv", "--out", f / "out.csv"),
    "status": lambda f: ("study", "status", f / "study"),
    "table": lambda f: ("study", "table", f / "study"),
    "card": lambda f: ("study", "card", f / "study"),
    "report": lambda f: ("report", f / "study", "--out", f / "report.html"),
    "head": lambda f: ("head", "inspect", f / "run"),
}  # fmt: skip


def test_nothing_that_reads_folders_takes_their_word(
    settings: dict[str, Any], ran: Path, tmp_path: Path, cli: Run
) -> None:
    trusted_study(tmp_path, settings)
    hs.fit(**settings, out=tmp_path / "run")
    record = tmp_path / "run" / "result.json"
    values = json.loads(record.read_text(encoding="utf-8"))
    values["settings"]["trust_remote_code"] = True
    record.write_text(json.dumps(values), encoding="utf-8")
    config = tmp_path / "run" / "model" / "config.json"
    own = json.loads((tmp_path / "own" / "config.json").read_text(encoding="utf-8"))
    saved = json.loads(config.read_text(encoding="utf-8")) | {"auto_map": own["auto_map"]}
    config.write_text(json.dumps(saved), encoding="utf-8")
    shutil.copy(tmp_path / "own" / "own_code.py", config.parent)
    for name, line in READERS.items():
        assert cli(*line(tmp_path)).code == 0, name
        assert not ran.exists(), name
    hs.load(tmp_path / "run", trust_remote_code=True)
    assert ran.exists()


def test_a_kernel_that_a_config_names_is_code_too(settings: dict[str, Any]) -> None:
    path = Path(settings["model"]) / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "attn_implementation": "who/knows"}), encoding="utf-8")
    with pytest.raises(HeadstartError, match="the code of who/knows"):
        load_config(settings["model"], trust_remote_code=False)


def test_what_is_no_word_of_trust_stays() -> None:
    values = {"a": [{"trust_remote_code": False}, 1], "trust-remote-code": None, "b": {"c": 2}}
    assert without_trust(values, "x", said=False) == {"a": [{}, 1], "b": {"c": 2}}
