"""Every fault ends with a message and an exit code, never with a traceback."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import forked
from cli.rows import Run
from headstart.cli import main
from headstart.cli.shared import write as _write


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("fit --stratgy ft", ("'--stratgy'", "Did you mean '--strategy'")),
        ("fit --no-gard", ("'--no-gard'", "'--no-guard'")),
        ("fti", ("a command of `headstart`; found 'fti'", "Did you mean 'fit'?")),
        ("head", ("a command of `headstart head`; found none", "extract, inspect")),
        ("head extrct", ("'extrct'", "Did you mean 'extract'?")),
        ("fit --seed", ("a value behind --seed; found none", "headstart fit --help")),
        ("fit a b", ("no further words behind `headstart fit`; found 'a'", "found 'b'")),
        ("evaluate runs/x", ("--data for `headstart evaluate`; found none", "evaluate --help")),
        ("demo --rows x", ("--rows to be a valid integer", "found 'x'")),
        ("fit --guard false", ("--guard without a value; found '--guard false'", "--no-guard")),
        ("fit --no-guard=1 --quiet yes", ("found '--no-guard=1'",)),
        ("evaluate r --data d --json yes", ("'--json yes'", "leave it")),
        ("fit --train a --lr 1 --train b --lr 1", ("--train once; found several", "--lr once")),
        ("fit --config a --config b", ("--config once; found several",)),
        ("fit --guard --no-guard", ("--guard or --no-guard once; found several",)),
        ("head extract m --out a --out b", ("--out once; found several",)),
        ("fit --set lr=1 --set lr=2", ("one --set of lr; found several",)),
        ("tasks rtee", ("'rtee'", "Did you mean 'rte'")),
        ("strategies bitfit", ("no further words", "'bitfit'")),
        ("explain bitfitt", ("'bitfitt'", "'bitfit'")),
        ("fit --config none.yaml", ("none.yaml", "Check --config")),
        ("fit --set stratgy=ft --model m", ("'stratgy'", "'strategy'")),
        ("fit --set seed", ("--set name=value", "Put '='")),
        ("fit --seed a --epochs -1", ("--seed", "--epochs", "greater than 0")),
        ("fit --train t --text s", ("--model", "Give a folder")),
        ("fit --model m", ("--train FILE or --task NAME", "Say what to train on")),
        ("fit --model m --train t.csv", ("--text COLUMN", "Name the column")),
        ("fit --resume --out nowhere", ("nowhere.partial", "Leave --resume out")),
        ("predict nowhere --data nothing.csv", ("nothing.csv",)),
        ("head inspect .", ("config.json",)),
        ("demo --rows 1 --export films", ("--rows from 2", "found 1")),
        ("demo --rows 20", ("--export", "found --rows 20")),
    ],
)
def test_a_wrong_command_line(
    cli: Run, words: str, parts: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = cli(*words.split())
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: expected ")
    assert "what to do: " in answer.err
    for part in parts:
        assert part in answer.err, part
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_should_be(cli: Run, files: tuple[Path, Path]) -> None:
    answer = cli("demo", "--export", files[0])
    assert answer.code == 2
    assert f"expected a folder; found {files[0]}: a file of that name" in answer.err


def test_a_wrong_strategy_points_at_the_place(cli: Run) -> None:
    line = "bitfit(epchs=3) > full"
    answer = cli("fit", "--model", "m", "--train", "t", "--text", "s", "--strategy", line)
    shown = answer.err.splitlines()
    place = next(n for n, text in enumerate(shown) if text.endswith(line))
    marked = shown[place + 1]
    assert shown[place][marked.index("^") : marked.rindex("^") + 1] == "epchs=3"
    assert "Did you mean 'epochs'" in answer.err


def test_a_full_disk(
    cli: Run,
    run_folder: Path,
    files: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "predictions.csv")

    monkeypatch.setitem(_write.WRITERS, ".csv", full)
    answer = cli("predict", run_folder, "--data", files[1], "--out", tmp_path / "p.csv")
    assert answer.code == 2
    assert "No space left" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_ours_is_told_without_a_traceback_unless_asked(
    cli: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("of our own")

    monkeypatch.setattr("headstart.tasks.builtin.task_names", broken)
    answer = cli("tasks")
    assert answer.code == 1
    assert "ZeroDivisionError: of our own" in answer.err
    assert main(["tasks", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("HEADSTART_DEBUG", "1")
    main(["tasks"])
    assert "Traceback" in capsys.readouterr().err


def test_only_the_first_process_speaks(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    answer = cli("fit", "--stratgy", "x")
    assert (answer.code, answer.err) == (2, "")


def start(*words: object, **options: Any) -> subprocess.Popen[str]:
    """Start the command line in a process of its own."""
    command = [sys.executable, "-m", "headstart", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **{**pipes, **options})


def test_a_closed_pipe_is_no_fault() -> None:
    with start("tasks") as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""


def test_interrupt_saves_and_says_how_to_go_on(
    model: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "x"
    words = ("--model", model, "--train", files[0], "--text", "sentence", "--out", out)
    words = (*words, "--strategy", "full(steps=30000)", "--eval-every", 30000)
    process = forked.command("fit", *words)
    process.wait_for("step 0:")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"headstart fit --resume --out {out}" in err
    assert "Traceback" not in err
    assert (tmp_path / "x.partial" / "checkpoints" / "latest.json").is_file()
