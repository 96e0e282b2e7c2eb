"""Plans and results as tables and sentences."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.cli.shared.console import facts, table
from headstart.results import (
    CALIBRATION_FIGURES,
    RunResult,
    StageResult,
    describe_calibration,
    show_scores,
)

if TYPE_CHECKING:
    from rich.table import Table

    from headstart.steps.output.summary import PlanSummary


_ENDS = {
    "end": "ran its length",
    "learned": "its head has learned",
    "bound": "reached its bound",
    "plateau": "the score stopped rising",
    "optimum": "its head is at its optimum",
    "nan": "the loss became NaN",
}
_HANDED_ON = {
    "head": "hands on the head; the backbone is again the checkpoint's",
    "everything": "hands on everything",
    "nothing": "hands on nothing",
    "model": "",
}


def describe_plan(plan: PlanSummary) -> Iterator[Table | str]:
    """Show a plan: facts, stages, and what was decided that may surprise."""
    yield "Plan"
    yield facts([("strategy", plan.strategy), *plan.facts])
    head = ("stage", ">steps", "until", ">lr", ">head lr", ">trains (tuner + head)", ">frozen")
    yield "Stages"
    yield table(head, plan.rows())
    yield from (f"note: {note}" for note in plan.notes)


def stage_start(stage: StageResult, number: int, of: int) -> str:
    """Write the line that announces a stage."""
    again = ", second attempt" if stage.attempt > 1 else ""
    most = "" if stage.until == "end" else "at most "
    length = f"{most}{_steps(stage.planned_steps)}"
    if stage.until == "optimum":
        length = "on stored features"
    return (
        f"Stage {number} of {of}{again}: {stage.stage}, {length}, {_trainable(stage)} numbers train"
    )


def stage_end(stage: StageResult) -> str:
    """Write how a stage ended."""
    adjusted = (
        ""
        if stage.train_adjusted_score is None
        else f" (adjusted score {stage.train_adjusted_score:.2f}, 0 is chance)"
    )
    passed = _HANDED_ON.get(stage.handed_on, stage.handed_on)
    return (
        f"ended after {_steps(stage.steps)} and {stage.seconds:.1f} s: "
        f"{_ENDS.get(stage.ended, stage.ended)}{_learned(stage)}{adjusted}"
        f"{'; ' + passed if passed else ''}"
    )


def _learned(stage: StageResult) -> str:
    """Write whether a stage's head has learned; nothing where that is not known."""
    if stage.learned is None:
        return ""
    if stage.learned:
        return "; the head learned"
    if stage.ended != "optimum":
        return "; the head did NOT learn"
    # One that predicts its own rows well is refuted by held-out ones, else it would have learned.
    from headstart.steps.stages.guard import LEARNED

    if (stage.train_adjusted_score or 0) < LEARNED:
        return "; the head learned next to nothing"
    return "; held-out rows do not confirm that the head learned"


def _steps(number: int) -> str:
    return f"{number:,} step{'s' * (number != 1)}"


def describe_stages(result: RunResult) -> Iterator[Table | str]:
    """Show what each stage did."""
    names = [*result.task["metrics"], "loss"]
    head = ("stage", *(f">{n}" for n in names), ">steps", ">seconds", ">tokens/s", ">trains")
    rows = [
        (
            stage.stage + (f" (attempt {stage.attempt})" if stage.attempt > 1 else ""),
            *(before_after(stage, name) for name in names),
            f"{stage.steps:,}",
            f"{stage.seconds:.1f}",
            f"{stage.tokens_per_second:,.0f}" if stage.steps else "-",
            _trainable(stage),
        )
        for stage in result.stages
    ]
    yield "Stages, with the scores on the validation rows before → after"
    yield table(head, rows)


def closing(result: RunResult) -> str:
    """Write the summary of a finished run: scores, saved state, guard, and files."""
    out = Path(str(result.settings["out"]))
    lines = [
        f"Score ({result.reported_on}): {show_scores(result.scores)}",
        f"Saved: {result.rule}.",
    ]
    other = "best" if result.selected == "last" else "last"
    unsaved = result.last if other == "last" else result.best
    scores = [one.get("score", math.nan) for one in (unsaved, result.selecting)]
    if scores[0] != scores[1] and not any(map(math.isnan, scores)):
        lines.append(f"Not saved: the {other} state, {show_scores(unsaved)}")
    if result.untouched:
        chose = ", which selected" if result.selected != "last" else ""
        lines.append(f"On the carved rows{chose}: {show_scores(result.selecting)}")
    lines += _calibration(result)
    lines += [f"Guard: {note}" for note in result.guard]
    quoted = shlex.quote(str(out))
    return "\n".join(
        [
            *lines,
            "",
            f"Model:  {out / 'model'}",
            f"Head:   {out / 'head'}",
            f"Record: {out / 'result.json'}, {out / 'log.txt'}",
            f"Next:   headstart predict {quoted} --data FILE --out predictions.csv",
        ]
    )


def _calibration(result: RunResult) -> Iterator[str]:
    found = result.calibration
    if not found or found["bound"]:
        return
    changes = ", ".join(
        f"{told} {found['before'][name]:.4f} → {found['after'][name]:.4f}"
        for name, told in CALIBRATION_FIGURES.items()
    )
    yield f"Calibrated: temperature {found['temperature']:.3f}; {changes}"
    yield f"  {describe_calibration(found)}"


def before_after(stage: StageResult, name: str) -> str:
    """Write one metric of a stage. For example ``0.5000 → 0.7900``."""
    values = (scores.get(name) for scores in (stage.start, stage.end))
    return " → ".join(
        "-" if value is None or math.isnan(value) else f"{value:.4f}" for value in values
    )


def _trainable(stage: StageResult) -> str:
    return f"{stage.trainable['head'] + stage.trainable['tuner']:,}"
