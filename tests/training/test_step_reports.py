"""Reports of steps: in order, complete, and read late where the device runs ahead."""

from __future__ import annotations

import torch

from headstart.training.machine.runtime import Runtime
from headstart.training.step_reports import Pause, StepReports


def test_reports_come_in_order_and_at_once_on_a_processor() -> None:
    step_reports = StepReports(Runtime("cpu", "fp32"))
    step_reports.add(1, 8, torch.tensor(0.5), Pause.NO)
    step_reports.add(2, 4, torch.tensor(0.25), Pause.STOP)
    found = [(r.step, r.rows, r.loss, r.pause) for r in step_reports.read()]
    assert found == [(1, 8, 0.5, Pause.NO), (2, 4, 0.25, Pause.STOP)]
    assert list(step_reports.read()) == []


def test_late_reports_wait_until_everything_is_asked_for() -> None:
    step_reports = StepReports(Runtime("cpu", "fp32"), lag=2)
    read: list[list[int]] = []
    for step in range(1, 5):
        step_reports.add(step, 8, torch.tensor(1.0), Pause.CHECKPOINT)
        read.append([r.step for r in step_reports.read()])
    assert read == [[], [], [1], [2]]
    rest = list(step_reports.read(everything=True))
    assert [r.step for r in rest] == [3, 4]
    assert {r.pause for r in rest} == {Pause.CHECKPOINT}
