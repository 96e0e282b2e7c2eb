"""Progress displays of a run: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from transformers.utils import logging as bars

from headstart.cli.shared.console import show
from headstart.cli.shared.tables import describe_plan, stage_end, stage_start
from headstart.results import Point, StageResult, show_score, show_scores
from headstart.steps.callback import Callback
from headstart.steps.output.summary import PlanSummary


@contextlib.contextmanager
def display(console: Console, *, quiet: bool = False) -> Iterator[Callback]:
    """Open the display that suits a console; a ``quiet`` one shows warnings only."""
    bars.disable_progress_bar()
    if quiet:
        yield Callback()
    elif not console.is_terminal:
        yield Lines(console)
    else:
        with _progress(console) as progress:
            yield Bars(console, progress)


class Lines(Callback):
    """Shows one line for everything that happens. Warnings are shown by the command line."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def planned(self, plan: PlanSummary) -> None:
        """Show the plan."""
        super().planned(plan)
        show(*describe_plan(plan), to=self.console)

    def message(self, text: str) -> None:
        """Show something worth knowing."""
        super().message(text)
        show(text, to=self.console)

    def stage_started(self, stage: StageResult, number: int, of: int) -> None:
        """Show that a stage begins."""
        super().stage_started(stage, number, of)
        self.console.print(stage_start(stage, number, of), style="bold", soft_wrap=True)

    def point(self, point: Point) -> None:
        """Show an evaluation."""
        super().point(point)
        loss = "" if point.train_loss is None else f", training loss {point.train_loss:.4f}"
        show(f"  step {point.step}: {show_scores(point.scores)}{loss}", to=self.console)

    def stage_ended(self, stage: StageResult) -> None:
        """Show that a stage is over."""
        super().stage_ended(stage)
        show(f"  {stage_end(stage)}", to=self.console)


class Bars(Lines):
    """Shows, below the lines, a bar for each stage."""

    def __init__(self, console: Console, progress: Progress) -> None:
        super().__init__(console)
        self.progress = progress
        self.task: TaskID | None = None

    def stage_started(self, stage: StageResult, number: int, of: int) -> None:
        """Begin a bar."""
        super().stage_started(stage, number, of)
        name = f"{number}/{of} {stage.stage}"
        self.task = self.progress.add_task(name, total=stage.planned_steps, loss="", score="")

    def step(self, step: int, loss: float) -> None:
        """Move the bar."""
        super().step(step, loss)
        if self.task is not None:
            self.progress.update(self.task, completed=step, loss=f"loss {loss:.3f}")

    def point(self, point: Point) -> None:
        """Put the latest score beside the bar instead of in a line."""
        Callback.point(self, point)
        if self.task is not None:
            self.progress.update(self.task, score=f"score {show_score(point.scores['score'], 3)}")

    def stage_ended(self, stage: StageResult) -> None:
        """End the bar where the stage ended."""
        super().stage_ended(stage)
        if self.task is not None:
            self.progress.update(self.task, total=stage.steps, completed=stage.steps)
            self.progress.stop_task(self.task)


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, style="bold"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}", markup=False),
        TextColumn("{task.fields[score]}", markup=False, style="green"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        # A warning goes above the bars, or where the user has sent standard error.
        redirect_stderr=sys.stderr.isatty(),
        # Drawing takes a share of the processor that trains.
        refresh_per_second=4,
    )
