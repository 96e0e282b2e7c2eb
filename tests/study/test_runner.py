"""Runs of a study: each once, failures kept, work shared, nothing lost when a process is killed."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import Counter
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import yaml

import forked
import tiny_studies
from alike import ALL
from headstart.errors import HeadstartError, RunError
from headstart.results import RunResult
from headstart.study.outcome.read import read_summary
from headstart.study.running import executors, runner
from headstart.study.running.executors import LocalExecutor, WorkerDied, closing
from headstart.study.running.locks import MOST_DEATHS, RunLocks
from headstart.study.running.main import carry_out_study
from headstart.study.running.worker import Outcome, carry_out
from headstart.study.store import PlannedRun, Store
from headstart.training.machine import threads


def test_finished_runs_are_not_repeated_and_new_ones_are_added(tmp_path: Path) -> None:
    first = tiny_studies.Here()
    state = carry_out_study(tiny_studies.study(tmp_path), first)
    assert (len(state.done), state.failed, first.closed) == (4, set(), True)
    again = tiny_studies.Here()
    carry_out_study(tiny_studies.study(tmp_path), again)
    assert again.done == []
    grown = tiny_studies.Here()
    carry_out_study(tiny_studies.study(tmp_path, seeds=3), grown)
    assert [run.axes["seed"] for run in grown.done] == [2, 2]
    summary = read_summary(str(tmp_path / "x"))
    assert (summary.planned, summary.finished) == (6, 6)
    assert [len(entry.runs) for entry in summary.groups[0].entries] == [3, 3]
    assert Store(tmp_path / "x").names("locks") == []


def test_a_run_is_another_one_if_rows_settings_or_model_differ(tmp_path: Path) -> None:
    before = {run.id for run in tiny_studies.study(tmp_path).runs}
    assert {run.id for run in tiny_studies.study(tmp_path).runs} == before
    settings = tiny_studies.values(tmp_path)["settings"]
    same = {**settings, "device": "auto", "micro_batch_size": 4}
    assert {run.id for run in tiny_studies.study(tmp_path, settings=same).runs} == before
    other = {**settings, "batch_size": 4}
    assert before.isdisjoint(run.id for run in tiny_studies.study(tmp_path, settings=other).runs)
    text = (tmp_path / "train.csv").read_text()
    (tmp_path / "train.csv").write_text(text + "q z,bad\n")
    assert before.isdisjoint(run.id for run in tiny_studies.study(tmp_path).runs)


def test_a_failed_run_is_kept_with_its_reason_and_stops_no_other(tmp_path: Path) -> None:
    lines = ["full(steps=3)", "full(steps=3, lr=1e30)"]
    first = tiny_studies.Here()
    state = carry_out_study(tiny_studies.study(tmp_path, strategies=lines), first)
    assert (len(state.done), len(state.failed)) == (2, 2)
    (one, _) = Store(tmp_path / "x").failures()
    assert one["kind"] == "NumericalError"
    assert "NaN" in one["error"]
    again = tiny_studies.Here()
    carry_out_study(tiny_studies.study(tmp_path, strategies=lines), again)
    assert again.done == []
    retried = tiny_studies.Here()
    carry_out_study(tiny_studies.study(tmp_path, strategies=lines, retry_failed=True), retried)
    assert len(retried.done) == 2
    (_, bad) = read_summary(str(tmp_path / "x")).groups[0].entries
    assert (bad.failed_share, sorted(bad.crashed)) == (1.0, [0, 1])


def test_faults_are_told_together_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("sentence,label\na,good\n,bad\n")
    own = {**tiny_studies.values(tmp_path)["tasks"][0], "train": str(tmp_path / "bad.csv")}
    lost = {**own, "name": "lost", "train": str(tmp_path / "none.csv")}
    with pytest.raises(HeadstartError) as caught:
        tiny_studies.study(tmp_path, tasks=[own, lost], models=["nowhere/x"])
    assert "nowhere/x" in str(caught.value)
    with pytest.raises(HeadstartError) as caught:
        tiny_studies.study(tmp_path, tasks=[own, lost])
    assert "none.csv" in str(caught.value)
    assert "text" in str(caught.value)
    with pytest.raises(HeadstartError, match="--train-rows of at most 24"):
        tiny_studies.study(tmp_path, train_rows=[12, 100])
    assert not (tmp_path / "x").exists()


def test_one_run_under_two_names_is_refused(tmp_path: Path) -> None:
    own = tiny_studies.values(tmp_path)["tasks"][0]
    with pytest.raises(HeadstartError, match="task letters and task again"):
        tiny_studies.study(tmp_path, tasks=[own, {**own, "name": "again"}])


def test_what_a_study_does_not_hold_is_told(tmp_path: Path) -> None:
    begun = tiny_studies.study(tmp_path, seeds=1)
    with pytest.raises(HeadstartError, match="at least one run that has ended; found none"):
        read_summary(str(tmp_path / "x"))
    carry_out_study(begun, tiny_studies.Here())
    with pytest.raises(HeadstartError, match="a strategy of the study; found 'head'"):
        read_summary(str(tmp_path / "x"), strategies=["lp"])
    for workers, each in ((0, 1), (1, 0)):
        with pytest.raises(HeadstartError, match="of at least 1"):
            LocalExecutor(workers, each)


def test_workers_keep_to_the_users_threads_and_share_the_cores_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert str(LocalExecutor(2).threads) == "1 thread (OMP_NUM_THREADS)"
    assert str(LocalExecutor(2, 3).threads) == "3 threads (--threads)"
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    shared = LocalExecutor(2).threads
    assert str(shared) == "1 thread (2 cores for 2 at a time)"
    run = tiny_studies.study(tmp_path, strategies=["head(steps=1)"], seeds=1).runs[0]
    result = carry_out(run.settings, shared).result
    assert result is not None
    assert (result["machine"]["threads"], result["machine"]["threads_reason"]) == (1, shared.reason)
    assert result["settings"]["threads"] == 1


def test_an_error_of_any_kind_is_one_of_that_run(tmp_path: Path) -> None:
    failed = Outcome(failure={"kind": "ValueError", "error": "ValueError: no", "trace": "…"})
    state = carry_out_study(tiny_studies.study(tmp_path), tiny_studies.Here(outcome=failed))
    assert len(state.failed) == 4


def test_a_run_that_takes_workers_down_is_given_up(tmp_path: Path) -> None:
    def death() -> WorkerDied:
        return WorkerDied("a", "b", "c")

    once = tiny_studies.Here([death() for _ in range(MOST_DEATHS - 1)])
    state = carry_out_study(tiny_studies.study(tmp_path, seeds=1), once)
    assert (len(state.done), len(once.done)) == (2, 2 + MOST_DEATHS - 1)
    often = tiny_studies.Here([death() for _ in range(MOST_DEATHS)])
    grown = tiny_studies.study(tmp_path, seeds=[1])
    state = carry_out_study(grown, often)
    assert (len(state.done), len(state.failed)) == (1, 1)
    (failure,) = Store(tmp_path / "x").failures()
    assert failure["kind"] == "WorkerDied"


def test_a_damaged_result_is_done_again(tmp_path: Path) -> None:
    study = tiny_studies.study(tmp_path)
    carry_out_study(study, tiny_studies.Here())
    path = tmp_path / "x" / "results" / f"{study.runs[1].id}.json"
    path.write_text(path.read_text()[:100])
    again = tiny_studies.Here()
    carry_out_study(tiny_studies.study(tmp_path), again)
    assert [run.id for run in again.done] == [study.runs[1].id]
    assert len(Store(tmp_path / "x").names("damaged")) == 1


def test_runs_that_another_process_has_are_left_to_it(tmp_path: Path) -> None:
    study = tiny_studies.study(tmp_path)
    other = RunLocks(study.store)
    assert other.take(study.runs[0].id) == 0
    here = tiny_studies.Here()

    class Watch(studies_watch()):  # type: ignore[misc]
        def looked(self, state: object) -> None:
            if len(here.done) == 3:  # the other one is done now
                record = Store(study.store.address).results()[0][0]
                study.store.write(
                    f"results/{study.runs[0].id}.json",
                    {**record, "id": study.runs[0].id, "axes": study.runs[0].axes},
                )
                other.give_back(study.runs[0].id)

    state = carry_out_study(study, here, Watch())
    assert [run.id for run in here.done] == [run.id for run in study.runs[1:]]
    assert len(state.done) == 4


def studies_watch() -> type:
    from headstart.study.running.runner import Watch

    return Watch


def test_workers_give_the_same_results_as_one_process(tmp_path: Path) -> None:
    study = tiny_studies.study(tmp_path)
    carry_out_study(study, LocalExecutor(2, 1, tmp_path / "x" / "logs"))
    records, damaged = study.store.results()
    assert (len(records), damaged) == (4, [])
    for record in records:
        settings = next(run.settings for run in study.runs if run.id == record["id"])
        here = tiny_studies.carry_out(settings, tiny_studies.ONE).result
        assert here is not None
        found = RunResult.from_dict(record["result"])
        assert found.scores == RunResult.from_dict(here).scores
        assert (found.machine["threads"], found.machine["threads_reason"]) == (1, "--threads")
    assert "strategy: full(steps=3)" in "".join(
        path.read_text() for path in (tmp_path / "x" / "logs").iterdir()
    )


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    run = tiny_studies.study(tmp_path, strategies=["full(steps=2000)"], seeds=1).runs[0]
    with closing(LocalExecutor(1, 1)) as executor:
        promised = executor.submit(run)
        assert promised is not None
        (worker,) = multiprocessing.active_children()
        worker.kill()
        assert isinstance(promised.exception(timeout=60), WorkerDied)
        short = tiny_studies.study(tmp_path, seeds=1).runs[0]
        second = executor.submit(short)
        assert second is not None
        assert second.result(timeout=120).result is not None


def test_only_its_own_workers_end_with_an_executor(tmp_path: Path) -> None:
    run = tiny_studies.study(tmp_path, strategies=["full(steps=2000)"], seeds=1).runs[0]
    # Spawned, it heeds SIGTERM; one from the server of the tests would take no notice.
    bystander = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    bystander.start()
    try:
        with closing(LocalExecutor(1, 1)) as executor:
            promised = executor.submit(run)
            assert promised is not None
            (worker,) = set(multiprocessing.active_children()) - {bystander}
        worker.join(60)
        assert worker.exitcode is not None
        assert isinstance(promised.exception(timeout=60), WorkerDied)
        bystander.join(1)  # an end takes a moment to be seen
        assert bystander.is_alive()
    finally:
        bystander.kill()
        bystander.join()


def test_two_processes_share_a_study_and_one_is_killed(tmp_path: Path) -> None:
    lines = [f"full(steps={n})" for n in (60, 61)]
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(tiny_studies.values(tmp_path, strategies=lines, seeds=3)))
    words = ("study", "run", "--config", str(file), "--out", str(tmp_path / "x"))
    both = [forked.command(*words) for _ in range(2)]
    killed = both[0]
    store = Store(tmp_path / "x")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(0.05)
        if (tmp_path / "x" / "locks").is_dir() and (tmp_path / "x" / "results").is_dir():
            holders = {(store.read(f"locks/{n}") or {}).get("pid") for n in store.names("locks")}
            if killed.pid in holders and store.finished():
                break
    workers = psutil.Process(killed.pid).children(recursive=True)
    killed.send_signal(signal.SIGKILL)
    before, _ = killed.communicate(timeout=60)
    after, errors = both[1].communicate(timeout=300)
    assert both[1].returncode == 0, errors
    assert len(store.results()[0]) == 6
    ended = [line.split(": ")[1] for line in (before + after).splitlines() if " of 6: " in line]
    assert max(Counter(ended).values()) == 1
    # What the killed one had finished but not yet printed may be missing from the lines.
    assert len(ended) in (5, 6)
    assert store.names("locks") == []
    assert workers
    assert psutil.wait_procs(workers, timeout=30)[1] == [], "they end with the killed one"


def test_the_exit_code_tells_of_failures(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    lines = ["full(steps=3)", "full(steps=3, lr=1e30)"]
    file.write_text(yaml.safe_dump(tiny_studies.values(tmp_path, strategies=lines, seeds=1)))
    process = forked.command("study", "run", "--config", file, "--out", tmp_path / "x")
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 3
    assert "full(steps=3)" in output
    assert "NaN" in errors
    assert "--retry-failed" in errors
    assert list((tmp_path / "x" / "failures").iterdir())


def test_what_is_measured_goes_to_the_worker_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "START", "spawn")  # as users have it
    (run, *_) = tiny_studies.study(tmp_path, strategies=["head(steps=1)"]).runs
    with closing(LocalExecutor(1, 1)) as executor:
        promised = executor.submit(replace(run, measure={"name": "drift", "rows": 5}))
        assert promised is not None
        outcome = promised.result(timeout=300)
    assert outcome.measured is not None
    assert outcome.measured["rows"] == 5
    store = Store(tmp_path / "x")
    store.put(run, outcome.result or {}, outcome.logits, outcome.measured)
    ((record,), _) = store.results()
    assert record["measured"] == outcome.measured


class Vanishing(tiny_studies.Here):
    """Takes the study's folder away when its first run ends."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.away = folder, folder.with_name("away")

    def submit(self, run: PlannedRun) -> Future[Outcome]:
        promised = super().submit(run)
        if len(self.done) == 1:
            self.folder.rename(self.away)
        return promised


@ALL
def test_a_folder_that_comes_back_gets_the_result_that_was_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, told = tiny_studies.study(tmp_path, seeds=1), list[str]()
    here = Vanishing(tmp_path / "x")

    class Watch(studies_watch()):  # type: ignore[misc]
        def warned(self, text: str) -> None:
            told.append(text)
            here.away.rename(here.folder)

    monkeypatch.setattr(runner, "LOOK", 0.01)
    state = carry_out_study(study, here, Watch())
    assert len(state.done) == len(here.done) == 2
    assert ("Bring it back" in told[0], "60 s" in told[0], len(told)) == (True, True, 1)


def test_a_folder_that_stays_away_ends_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny_studies.study(tmp_path, seeds=1)
    here = Vanishing(tmp_path / "x")
    monkeypatch.setattr(runner, "LOOK", 0.01)
    monkeypatch.setattr(runner, "AWAY", 0.1)
    with pytest.raises(RunError, match="Bring it back"):
        carry_out_study(study, here)
    assert not here.folder.exists(), "nothing is made anew in its place"
    here.away.rename(here.folder)
    state = carry_out_study(study, tiny_studies.Here())
    assert len(state.done) == 2


def test_a_worker_ends_when_it_is_told_to_whatever_its_parent_does_then() -> None:
    with ProcessPoolExecutor(1, forked.CONTEXT) as pool:
        assert pool.submit(forked.terminable).result(timeout=120)
