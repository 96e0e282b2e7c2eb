"""Losses and requests to pause, read from the device without waiting for it.

A GPU runs behind the program that feeds it, and reading a number from it means waiting. So a report
is read a few steps after it was made, when it has long arrived; on a processor it is read at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import torch

from headstart.training.machine.runtime import Runtime

LAG = 2
"""Steps that a GPU may be behind before its report is waited for."""


class Pause(IntEnum):
    """A request to pause after a step."""

    NO = 0
    CHECKPOINT = 1
    STOP = 2


@dataclass(frozen=True)
class Report:
    """A step's report.

    Steps are counted from 1, rows over all processes; ``pause`` is the most that any process wants.
    """

    step: int
    rows: int
    loss: float
    pause: Pause


class StepReports:
    """Takes reports and gives them back when they can be read without waiting.

    ``lag`` reports may stay unread; by default as many as suit the device.
    """

    def __init__(self, runtime: Runtime, lag: int | None = None) -> None:
        self._runtime = runtime
        self._lag = lag if lag is not None else (LAG if runtime.device.type == "cuda" else 0)
        self._open: deque[tuple[int, int, torch.Tensor, torch.cuda.Event | None]] = deque()

    def add(self, step: int, rows: int, loss: torch.Tensor, pause: int) -> None:
        """Take a step's report.

        Steps are counted from 1, rows over all processes; ``loss`` is this process's share of their
        mean loss, a scalar on the device, ``pause`` a ``Pause``.
        """
        wanted = [float(pause >= Pause.CHECKPOINT), float(pause >= Pause.STOP)]
        # Filled in by the device: a copy from the program's own memory would be waited for.
        values = torch.stack([loss.float(), *(loss.new_full((), w).float() for w in wanted)])
        if self._runtime.world > 1:
            values = self._runtime.sum(values)
        arrived = None
        if values.is_cuda:
            values = torch.empty(3, pin_memory=True).copy_(values, non_blocking=True)
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record()
        self._open.append((step, rows, values, arrived))

    def read(self, *, everything: bool = False) -> Iterator[Report]:
        """Give back reports in order, each once; ``everything`` waits for those on their way."""
        while len(self._open) > (0 if everything else self._lag):
            step, rows, values, arrived = self._open.popleft()
            if arrived is not None:
                arrived.synchronize()
            loss, checkpoint, stop = values.tolist()
            yield Report(step, rows, loss, Pause((checkpoint > 0) + (stop > 0)))
