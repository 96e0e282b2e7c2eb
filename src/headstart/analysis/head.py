"""The pretrained head: which part of it, if any, helps fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.analysis._base import Analysis, Case, Findings, Option, Table, Variant
from headstart.analysis.shared.controls import FRESH, WHOLE, Compared, compared
from headstart.analysis.shared.controls_figures import figures
from headstart.analysis.shared.controls_words import DEFINITIONS, left_out, sentences
from headstart.analysis.shared.numbers import score_column, scored, with_sd
from headstart.config import FitConfig
from headstart.errors import ConfigError
from headstart.report.figures import Figure
from headstart.strategies.notation import parse
from headstart.strategies.stages import Strategy
from headstart.study.outcome.tables import show_interval
from headstart.techniques import TECHNIQUES
from headstart.tuners import TUNERS

PLAIN = ("weights only", "biases only", "shuffled", "fresh norm", "other seed")
"""Controls that need no option."""


def variants(options: Mapping[str, Any]) -> list[Variant]:
    """Compare plain fine-tuning, the whole head, and heads that share a part of it.

    Raises ``ConfigError`` if a tuner is more than one stage, both are the same, or rows have no
    task.
    """
    strategy = _after(options["tuner"])
    trains = strategy.stages[0].trains
    other = _after(options["other_tuner"] or ("bitfit" if trains == "lora" else "lora"))
    if other.name == strategy.name:
        raise ConfigError(
            "another tuner for --other-tuner", options["other_tuner"], "Name another one."
        )
    made = [Variant("full", FRESH, measure={"name": "head", "control": FRESH})]
    source_heads: dict[str, dict[str, Any]] = {
        "other tuner": {"other": {"strategy": other.name}}, **_other_task(options)
    }  # fmt: skip
    names = {"other tuner": f"head of {other.stages[0]}"}
    if options["other_task"]:
        names["other task"] = f"head of {Path(options['other_task']).stem}"
    for control in (WHOLE, *PLAIN, *source_heads):
        measure = {"name": "head", "control": control, **source_heads.get(control, {})}
        name = names.get(control, control)
        made.append(Variant(strategy.name, name, measure=measure, axes={"control": name}))
    return made


def _after(tuner: str) -> Strategy:
    """Return the strategy of one tuner before fine-tuning."""
    strategy = parse(f"{tuner} > full", TUNERS, TECHNIQUES)
    if len(strategy.stages) != 2:
        raise ConfigError("one tuner, for example lora(r=16)", repr(tuner), "Name a single stage.")
    return strategy


def _other_task(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what the run of another task differs in, with a digest of its rows."""
    from headstart.study.identity import Digests

    task, data = options["other_task"], options["other_data"]
    if not task:
        if data:
            raise ConfigError(
                "--other-task beside --other-data", "none", "Say whose rows they are."
            )
        return {}
    if data and not Path(data).exists():
        raise ConfigError("a folder or a file for --other-data", str(data), "Check the path.")
    rows = "train" if data and Path(data).is_file() else "data"
    other = {"task": task, **({rows: data} if data else {})}
    digest = Digests().of_rows(FitConfig.build({"model": "-", **other}))
    return {"other task": {"other": other, "rows": digest}}


def findings(cases: Sequence[Case]) -> Findings:
    """Describe which part of the head helps."""
    told: list[str] = []
    tables: list[Table] = []
    drawn: list[Figure] = []
    values: list[dict[str, Any]] = []
    for number, case in enumerate(cases):
        found = compared(case)
        told += [*sentences(case, found), *left_out(case)]
        tables += [_scores(case, found), _heads(case, found)]
        drawn += figures(case, found, number)
        values += [{"case": case.name, "model": case.model, **each.plain()} for each in found]
    return Findings([*told, *DEFINITIONS, *scored(cases)], tables, drawn, values)


def _scores(case: Case, found: Sequence[Compared]) -> Table:
    columns = [score_column(case.metrics, title) for title in ("step 0", "final")]
    head = (
        "head of stage 2", ">seeds", *columns, ">over fresh [95 %]", ">p (Holm)",
        ">over whole [95 %]", ">p (Holm) ",
    )  # fmt: skip
    rows = []
    for each in found:
        cells = [each.name, str(len(each.seeds))]
        cells += [with_sd([100 * v for v in at], ".1f") for at in (each.step0, each.final)]
        for pair in (each.against_plain, each.against_whole):
            cells += [show_interval(pair.difference), f"{pair.adjusted:.3f}"] if pair else ["-"] * 2
        rows.append(cells)
    return Table(f"{case.name}: score before and after stage 2, by its head", head, rows)


def _heads(case: Case, found: Sequence[Compared]) -> Table:
    head = (
        "head of stage 2", ">norm, step 0", ">norm, end", ">turned by, degrees",
        ">cosine, start and pretrained", ">cosine, end and plain's end",
    )  # fmt: skip
    rows = [
        [
            each.name, _mean(each.first("norm"), 2), _mean(each.at_end("norm"), 2),
            _mean(each.angle, 2),
            "-" if each.name == FRESH else _mean(each.likeness), _mean(each.with_plain),
        ]
        for each in found
    ]  # fmt: skip
    return Table(f"{case.name}: norm and direction of the head's last weight", head, rows)


def _mean(values: Sequence[float], digits: int = 3) -> str:
    return f"{np.mean(values):.{digits}f}" if values else "-"


ANALYSIS = Analysis(
    title="What in the pretrained head helps",
    question="Which part of the pretrained head helps fine-tuning: its weights, biases, direction, "
    "norm, or none?",
    variants=variants,
    findings=findings,
    options=(
        Option("tuner", "bitfit", "Tuner of stage 1: one stage of the notation.", "TUNER"),
        Option(
            "other_tuner", None, "Its head is given too. Default: lora; bitfit beside lora.",
            "TUNER",
        ),
        Option(
            "other_task", None, "Task whose head is given too, with as many classes.", "TASK"
        ),
        Option(
            "other_data", None, "Its folder or training file; else the hub is asked.", "PATH"
        ),
    ),
    seeds=10,
    example="--task rte --data rte/ --model roberta-base --set epochs=3 --out studies/head",
)  # fmt: skip
