"""Reports of steps: in order, complete, and read late where the device runs ahead."""

from __future__ import annotations

import torch

from headstart.training.runtime import Runtime
from headstart.training.step_reports import Ledger, Pause


def test_reports_come_in_order_and_at_once_on_a_processor() -> None:
    ledger = Ledger(Runtime("cpu", "fp32"))
    ledger.add(1, 8, torch.tensor(0.5), Pause.NO)
    ledger.add(2, 4, torch.tensor(0.25), Pause.STOP)
    found = [(r.step, r.rows, r.loss, r.pause) for r in ledger.read()]
    assert found == [(1, 8, 0.5, Pause.NO), (2, 4, 0.25, Pause.STOP)]
    assert list(ledger.read()) == []


def test_late_reports_wait_until_everything_is_asked_for() -> None:
    ledger = Ledger(Runtime("cpu", "fp32"), lag=2)
    read: list[list[int]] = []
    for step in range(1, 5):
        ledger.add(step, 8, torch.tensor(1.0), Pause.CHECKPOINT)
        read.append([r.step for r in ledger.read()])
    assert read == [[], [], [1], [2]]
    rest = list(ledger.read(everything=True))
    assert [r.step for r in rest] == [3, 4]
    assert {r.pause for r in rest} == {Pause.CHECKPOINT}
