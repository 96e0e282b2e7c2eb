"""A tiny checkpoint, a run of it, and the command line as a function."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny
from cli.rows import Answer, Run, write_rows
from headstart.cli import main


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line and return its exit code and what it printed."""

    def run(*words: object) -> Answer:
        capsys.readouterr()
        code = main([str(word) for word in words])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err + printed.out
        return Answer(code, printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a checkpoint without a head."""
    return tiny.save_pretrained("bert", tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Write training and validation rows."""
    folder = tmp_path_factory.mktemp("rows")
    return write_rows(folder / "train.csv", 64, 0), write_rows(folder / "dev.csv", 32, 1)


@pytest.fixture(scope="session")
def run_folder(
    model: Path, files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Train a run that has learned its rows."""
    out = tmp_path_factory.mktemp("runs") / "x"
    words = ["fit", "--model", model, "--train", files[0], "--validation", files[1]]
    words += ["--text", "sentence", "--out", out, "--strategy", "bitfit(steps=40) > full"]
    words += ["--epochs", 20, "--lr", 1e-2, "--head-lr", 1e-2, "--eval-every", 100, "--no-guard"]
    assert main([str(word) for word in words]) == 0
    return out
