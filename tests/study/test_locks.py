"""Each run is worked on by one living process, and whose death is held against it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import psutil
import pytest
import typer

import tiny_studies
from headstart.cli.study import carried_out
from headstart.study.running import locks as claims_module
from headstart.study.running.locks import MOST_DEATHS, MOST_IN_ALL, RunLocks
from headstart.study.running.main import carry_out_study
from headstart.study.running.worker import Outcome
from headstart.study.store import PlannedRun, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "x").open(create=True)


def die_on(store: Store, identity: str, number: int) -> None:
    """Leave the lock of a process that is no more."""
    assert store.create(f"locks/{identity}.{number}.json", {**dead(), "beat": 0})


def dead() -> dict[str, object]:
    return {**claims_module._this_process(), "pid": 2**22 + 1}


def test_a_run_is_claimed_by_one(store: Store) -> None:
    first, second = RunLocks(store), RunLocks(store)
    assert first.take("a1") == 0
    assert second.take("a1") is None
    assert second.held_by_others() == {"a1"}
    assert first.held_by_others() == set()
    first.give_back("a1")
    assert second.take("a1") == 0


def test_the_claim_of_a_dead_process_is_taken_over_and_counted(tmp_path: Path) -> None:
    store = Store(tmp_path / "x").open(create=True)
    code = (
        "import sys; from headstart.study.running.locks import RunLocks\n"
        "from headstart.study.store import Store\n"
        "print(RunLocks(Store(sys.argv[1]).open()).take('a1'))\n"
    )
    for deaths in range(2):
        command = [sys.executable, "-c", code, str(tmp_path / "x")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.strip() == str(deaths)
    assert RunLocks(store).take("a1") == 2


def test_silence_from_another_machine_is_judged_by_our_own_clock(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = {"host": "elsewhere", "pid": os.getpid(), "born": 0.0, "beat": 1}
    store.create("locks/a1.0.json", lock)
    now = [100.0]
    monkeypatch.setattr(claims_module.time, "monotonic", lambda: now[0])
    ours = RunLocks(store, silence=60)
    assert ours.take("a1") is None
    now[0] += 50
    store.write("locks/a1.0.json", {**lock, "beat": 2})
    assert ours.take("a1") is None
    now[0] += 50  # 50 seconds after the last renewal that was seen
    assert ours.take("a1") is None
    now[0] += 20
    assert ours.take("a1") == 1


def test_a_clock_that_is_set_makes_nobody_dead(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("births are told by the clock here")
    assert RunLocks(store).take("a1") == 0
    born = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: born(self) - 3600)
    monkeypatch.setattr(claims_module.time, "time", lambda: 0.0)
    assert RunLocks(store).take("a1") is None
    assert RunLocks(store).held_by_others() == {"a1"}


def test_a_number_that_is_given_out_again_is_another_process(store: Store) -> None:
    own = claims_module._this_process()
    store.create("locks/a1.0.json", {**own, "born": float(str(own["born"])) - 10, "beat": 0})
    assert RunLocks(store).take("a1") == 1


def test_deaths_count_against_a_run_while_somebody_looks_on(store: Store) -> None:
    die_on(store, "a1", 0)
    die_on(store, "a1", 1)
    ours = RunLocks(store)
    ours.began()
    for number in range(2, 1 + MOST_DEATHS):
        die_on(store, "a1", number)
    deaths = ours.take("a1")
    assert deaths == 1 + MOST_DEATHS
    assert not ours.gives_up("a1", deaths)
    ours.give_back("a1")
    for number in range(MOST_DEATHS):
        die_on(store, "b2", number)
    assert ours.deaths() == {"b2": MOST_DEATHS}
    assert ours.gives_up("b2", MOST_DEATHS)
    anew = RunLocks(store)
    anew.began()
    assert not anew.gives_up("b2", MOST_DEATHS)
    assert anew.gives_up("b2", MOST_IN_ALL)


def test_a_study_that_was_killed_on_one_run_again_and_again_ends_as_any(tmp_path: Path) -> None:
    study = tiny_studies.study(tmp_path)
    for number in range(MOST_DEATHS):
        die_on(study.store, study.runs[0].id, number)
    here = tiny_studies.Here()
    state = carry_out_study(study, here)
    assert (len(state.done), len(state.failed)) == (4, 0)
    # The others do not wait for what processes have died on.
    assert [run.id for run in here.done] == [run.id for run in (*study.runs[1:], study.runs[0])]
    assert study.store.names("locks") == []


def test_a_job_that_a_cluster_ends_gives_its_runs_back(tmp_path: Path) -> None:
    class Ended(tiny_studies.Here):
        def submit(self, run: PlannedRun) -> Future[Outcome]:
            assert study.store.names("locks")
            signal.raise_signal(signal.SIGTERM)
            return super().submit(run)

    study, before = tiny_studies.study(tmp_path), signal.getsignal(signal.SIGTERM)
    with pytest.raises(typer.Exit) as ended:
        carried_out(study, Ended(), quiet=True)
    assert ended.value.exit_code == 130
    assert study.store.names("locks") == []
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_that_takes_one_process_after_the_other_down_is_given_up(tmp_path: Path) -> None:
    study = tiny_studies.study(tmp_path)
    for number in range(MOST_IN_ALL):
        die_on(study.store, study.runs[0].id, number)
    state = carry_out_study(study, tiny_studies.Here())
    assert (len(state.done), state.failed) == (3, {study.runs[0].id})
    (failure,) = study.store.failures()
    assert f"{MOST_IN_ALL} processes have died" in failure["error"]
