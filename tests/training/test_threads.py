"""Whose number of CPU threads holds: the option's, the environment's, or a share of the cores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import headstart as hs
import tiny_runs
from headstart.training.machine import runtime as module
from headstart.training.machine import threads
from headstart.training.machine.runtime import Runtime
from headstart.training.machine.threads import Threads, choose_threads


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend to have eight cores, and no wish in the environment."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(threads, "usable_cores", lambda: 8)


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    ("asked", "told", "workers", "expected"),
    [
        (3, "1", 2, "3 threads (--threads)"),
        (3, "1", None, "3 threads (--threads)"),
        (None, "1", 2, "1 thread (OMP_NUM_THREADS)"),
        (None, " 4,2", 2, "4 threads (OMP_NUM_THREADS)"),
        (None, "16", 2, "16 threads (OMP_NUM_THREADS)"),
        (None, None, 2, "4 threads (8 cores for 2 at a time)"),
        (None, "", 1, "8 threads (8 cores for 1 at a time)"),
        (None, "0", 3, "2 threads (8 cores for 3 at a time)"),
        (None, "many", 9, "1 thread (8 cores for 9 at a time)"),
    ],
)
def test_the_option_comes_first_then_the_environment_then_the_cores(
    monkeypatch: pytest.MonkeyPatch,
    asked: int | None,
    told: str | None,
    workers: int | None,
    expected: str,
) -> None:
    if told is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert str(choose_threads(asked, workers=workers)) == expected


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    ("told", "untouched", "expected"),
    [
        (None, True, "2 threads (torch's choice)"),
        (None, False, "2 threads (set in this process)"),
        ("2", True, "2 threads (OMP_NUM_THREADS)"),
        ("1", True, "2 threads (set in this process)"),
    ],
)
def test_a_run_in_this_process_has_the_threads_that_torch_has(
    monkeypatch: pytest.MonkeyPatch, told: str | None, untouched: bool, expected: str
) -> None:
    if told is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert str(choose_threads(None, present=2, untouched=untouched)) == expected


def test_the_cores_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert threads.usable_cores() == 3
    monkeypatch.delattr(threads.os, "sched_getaffinity")
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 12)
    assert threads.usable_cores() == 12


def test_a_runtime_sets_what_was_chosen_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        assert Runtime("cpu", "fp32", Threads(2, "a share")).describe()["threads"] == 2
        assert Runtime("cpu", "fp32", 3).threads == Threads(3, "--threads")
        assert torch.get_num_threads() == 3
        assert Runtime("cpu", "fp32").threads == Threads(3, "set in this process")
        monkeypatch.delenv("OMP_NUM_THREADS")
        monkeypatch.setattr(module, "_TORCHS_THREADS", 3)
        assert Runtime("cpu", "fp32").threads == Threads(3, "torch's choice")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_the_plan_and_the_record_of_a_run_say_how_many_and_why(tmp_path: Path) -> None:
    own = tiny_runs.inputs(tmp_path, strategy="head(steps=1)")
    assert dict(hs.plan(**own).facts)["threads"] == "1 thread (OMP_NUM_THREADS)"
    assert "threads: 1 thread (--threads)" in hs.plan(**own, threads=1).lines()
    result = hs.fit(**own, out=tmp_path / "x")
    assert (result.machine["threads"], result.machine["threads_reason"]) == (1, "OMP_NUM_THREADS")
