"""Studies on a real local Ray cluster; a node that goes takes nothing with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import headstart
import tiny_studies
from alike import ALL
from headstart.errors import ConfigError, RunError
from headstart.study.running.ray_executor import RayExecutor
from headstart.study.store import Store

pytest.importorskip("ray", reason="needs headstart[ray]")

SCRIPT = """
import json, sys, threading, time
import psutil
import ray
from ray.cluster_utils import Cluster

from headstart.study.running.main import begin, carry_out_study
from headstart.study.plan import read_plan
from headstart.study.running.ray_executor import RayExecutor
from headstart.study.running.runner import Watch

values, out = json.loads(sys.argv[1]), sys.argv[2]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, log_to_driver=False)
cluster.wait_for_nodes()
executor = RayExecutor(cluster.address)
assert executor.slots == 2, executor.slots
class Cut(Watch):
    done, began, cut = [], [], False

    def started(self, run):
        self.began.append(run.id)

    def ended(self, run, outcome):
        self.done.append(run.id)


def runs_on_the_second():  # a run that is handed out may still wait for a worker to start
    raylet = second.all_processes["raylet"][0].process.pid
    try:
        workers = psutil.Process(raylet).children(recursive=True)
        return any("ray::headstart run" in " ".join(worker.cmdline()) for worker in workers)
    except psutil.Error:  # one has just ended
        return False


def cut():
    while not runs_on_the_second():
        time.sleep(0.05)
    cluster.remove_node(second, allow_graceful=False)
    Cut.cut = True


threading.Thread(target=cut, daemon=True).start()
watch = Cut()
study = begin(read_plan(values), out)
state = carry_out_study(study, executor, watch)
print(json.dumps({"done": len(state.done), "failed": len(state.failed), "ended": watch.done,
                  "began": len(watch.began), "cut": watch.cut}))
"""


@ALL
def test_a_node_that_is_removed_loses_and_doubles_nothing(tmp_path: Path) -> None:
    values = tiny_studies.values(tmp_path, strategies=["full(steps=300)"], seeds=4)
    found = run_script(values, tmp_path / "x", tmp_path)
    assert (found["done"], found["failed"], found["cut"]) == (4, 0, True), found
    assert len(found["ended"]) == len(set(found["ended"])) == 4
    assert found["began"] == 5  # the run of the lost node was handed out again
    assert len(Store(tmp_path / "x").results()[0]) == 4


def run_script(values: dict[str, Any], out: Path, folder: Path) -> dict[str, Any]:
    (folder / "child.py").write_text(SCRIPT)
    source = str(Path(headstart.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, str(folder / "child.py"), json.dumps(values), str(out)],
        capture_output=True, text=True, timeout=400, check=False,
        env=os.environ | {"PYTHONPATH": source, "RAY_USAGE_STATS_ENABLED": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = [line for line in done.stdout.splitlines() if line.startswith("{")]
    result: dict[str, Any] = json.loads(told[-1])
    return result


@ALL
def test_the_command_line_starts_ray_here_where_no_address_is_given(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(tiny_studies.values(tmp_path)))
    process = tiny_studies.command(
        "study", "run", "--config", str(file), "--out", str(tmp_path / "x"),
        "--executor", "ray", "--threads", "2", RAY_USAGE_STATS_ENABLED="0",
    )  # fmt: skip
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "4 of 4" in output
    records = Store(tmp_path / "x").results()[0]
    assert len(records) == 4
    machines = [record["result"]["machine"] for record in records]
    assert {(m["threads"], m["threads_reason"]) for m in machines} == {(2, "--threads")}


@ALL
def test_an_analysis_measures_on_ray(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    values = tiny_studies.values(tmp_path, strategies=["head(steps=1)"], seeds=1)
    file.write_text(yaml.safe_dump(values))
    process = tiny_studies.command(
        "analyze", "drift", "--config", str(file), "--out", str(tmp_path / "x"), "--rows", "5",
        "--executor", "ray", RAY_USAGE_STATS_ENABLED="0",
    )  # fmt: skip
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    ((record,), _) = Store(tmp_path / "x").results()
    assert record["measured"]["rows"] == 5
    assert record["result"]["machine"]["threads_reason"] == "--cpus"
    assert (tmp_path / "x" / "drift.html").exists()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "ray://127.0.0.1:1"])
def test_an_address_that_does_not_answer_is_told_at_once(address: str) -> None:
    with pytest.raises(RunError, match="a Ray cluster at the given address"):
        RayExecutor(address)


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"most": 0}, {"cpus": -1}])
def test_what_no_run_can_have_is_told_before_a_cluster_is_looked_for(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="of at least"):
        RayExecutor("nowhere", **wrong)
