"""``headstart analyze``: one command for each analysis, made when it is asked for."""

from __future__ import annotations

import inspect
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from headstart.analysis import ANALYSES
from headstart.cli.shared.console import (
    HELP_NAMES,
    errors,
    examples,
    output,
    show,
    tables_that_fit,
    warn,
)
from headstart.cli.shared.settings import OF_ALL_RUNS, given_ones
from headstart.cli.shared.usage import Command
from headstart.cli.study import RUN_FAILED, read_grid, require_out, run

if TYPE_CHECKING:
    from headstart.analysis._base import Analysis, Findings, Variant
    from headstart.study.plan import StudyPlan
    from headstart.study.running.executors import Executor
    from headstart.study.running.main import Study

SHARED = (
    "out", "config", "task", "model", "strategies", "seeds", "train_rows", "grid", "assignments",
    "workers", "threads", "executor", "ray_address", "cpus", "gpus", "retry_failed", "dry_run",
    "quiet",
)  # fmt: skip
"""Options of ``headstart study run`` that every analysis has, beside the settings of its runs."""


class Analyses(TyperGroup):
    """The analyses; the module of one is imported when its command is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all analyses."""
        del ctx
        return list(ANALYSES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Make the command of an analysis, if there is one of that name."""
        del ctx
        if cmd_name not in ANALYSES:
            return None
        analysis = ANALYSES.get(cmd_name)
        app = typer.Typer(rich_markup_mode="rich", add_completion=False)
        told = examples(f"headstart analyze {cmd_name} {analysis.example}")
        app.command(
            cmd_name, cls=Command, context_settings=HELP_NAMES, help=analysis.question, epilog=told
        )(_function(cmd_name, analysis))
        return typer.main.get_command(app)


app = typer.Typer(
    cls=Analyses,
    help="Ask what training does to a model; each answer is a small study and a page.",
    context_settings=HELP_NAMES,
)


@app.callback()
def _analyze() -> None:
    """Ask what training does to a model; each answer is a small study and a page."""


def _function(name: str, analysis: Analysis) -> Any:
    """Return a function whose signature holds the options of an analysis."""

    def command(**given: Any) -> None:
        carry_out(name, analysis, given)

    of_study = inspect.signature(run, eval_str=True).parameters
    out = (
        "Folder of the analysis, or an fsspec address; the page and its numbers go there. "
        "--dry-run needs none."
    )
    seeds = f"How many, or a list: 10, or 0,1,2. Default: {analysis.seeds}."
    own = {
        "out": _option("out", str | None, None, out, "DIR", "Where and how"),
        "seeds": _option("seeds", str | None, None, seeds, "TEXT", "Grid"),
    }
    # Its own options stand first in the help.
    parameters = [
        _option(
            each.name, str | None if each.default is None else type(each.default), each.default,
            each.help, each.metavar, "Analysis",
        )
        for each in analysis.options
    ]  # fmt: skip
    parameters += [
        own.get(n) or of_study[n].replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for n in (*SHARED, *_settings_for(analysis))
        if n != "strategies" or analysis.strategies
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def _settings_for(analysis: Analysis) -> list[str]:
    """Return the settings of all runs that are options, but for those that mean something else."""
    own = {option.name for option in analysis.options}
    own |= set() if analysis.strategies else {"strategy"}
    return [name for name in OF_ALL_RUNS if name not in own]


def _option(
    name: str, kind: Any, default: Any, text: str, metavar: str, panel: str
) -> inspect.Parameter:
    about = typer.Option(
        f"--{name.replace('_', '-')}", metavar=metavar, help=text, rich_help_panel=panel,
        show_default=default is not None,
    )  # fmt: skip
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, about]
    )


def carry_out(name: str, analysis: Analysis, given: Mapping[str, Any]) -> None:
    """Carry out an analysis as its command line asks.

    Raises ``typer.Exit`` with code 3 if runs have failed, 130 if the user interrupts.
    """
    from headstart.analysis.shared.runs import in_order, planned
    from headstart.models.checkpoints.folders import looking
    from headstart.study.request import choose_executor

    folder = "" if given["dry_run"] else require_out(given["out"], f"analyze {name}")
    variants = _variants(analysis, given)
    settings = given_ones({setting: given[setting] for setting in _settings_for(analysis)})
    plan = _plan(analysis, variants, {**given, "settings": settings})
    executor = choose_executor(
        given["executor"], given["workers"], given["threads"], given["ray_address"],
        given["cpus"], given["gpus"], given["out"],
    )  # fmt: skip
    if given["dry_run"]:
        with looking():
            ordered = in_order(planned(plan, variants))
            _print_plan(plan, variants, ordered, executor, given["out"])
        return
    runs = planned(plan, variants)
    _run(name, analysis, plan, variants, runs, executor, {**given, "out": folder})


def _variants(analysis: Analysis, given: Mapping[str, Any]) -> Sequence[Variant]:
    from headstart.study.outcome.read import split_lines

    options = {option.name: given[option.name] for option in analysis.options}
    if analysis.strategies:
        asked = given["strategies"] or _of_file(given["config"]) or analysis.strategies
        options["strategies"] = split_lines(asked)
    return analysis.variants(options)


def _of_file(config: Path | None) -> str:
    from headstart.study.plan import read_plan_file

    named = read_plan_file(config).get("strategies") if config else None
    return ", ".join(map(str, named)) if isinstance(named, list) else str(named or "")


def _plan(analysis: Analysis, variants: Sequence[Variant], given: Mapping[str, Any]) -> StudyPlan:
    from headstart.study.outcome.read import canonical

    lines = list(dict.fromkeys(canonical(v.strategy) for v in variants))
    seeds = given["seeds"]
    if seeds is None and not given["config"]:
        seeds = str(analysis.seeds)
    asked = _settings_of_user(given)
    defaults = [f"{name}={v}" for name, v in analysis.settings.items() if name not in asked]
    return read_grid({
        **given, "strategies": lines, "seeds": seeds, "baseline": None,
        "assignments": [*defaults, *(given["assignments"] or ())],
    })  # fmt: skip


def _settings_of_user(given: Mapping[str, Any]) -> set[str]:
    """Return which settings the user gives, on the command line or in a file."""
    from headstart.configfile import read_assignments
    from headstart.study.plan import read_plan_file

    file = read_plan_file(given["config"]) if given["config"] else {}
    tables = [file.get("settings"), file.get("grid")]
    tables += [read_assignments(list(given[name] or ())) for name in ("assignments", "grid")]
    tables.append(given["settings"])
    return {str(key).replace("-", "_") for t in tables if isinstance(t, dict) for key in t}


def _print_plan(
    plan: StudyPlan,
    variants: Sequence[Variant],
    runs: Sequence[Any],
    executor: Executor,
    out: str | None,
) -> None:
    from headstart.cli.shared.study import describe_plan
    from headstart.study.running.executors import closing

    with closing(executor):
        show(*describe_plan(plan, runs, executor, out, sides=[v.name for v in variants]))


def _run(
    name: str,
    analysis: Analysis,
    plan: StudyPlan,
    variants: Sequence[Variant],
    runs: Any,
    executor: Executor,
    given: Mapping[str, Any],
) -> None:
    from headstart.analysis.shared.runs import begin, cases
    from headstart.cli.shared.study import describe_failures
    from headstart.cli.study import carried_out

    out = given["out"]
    study = begin(name, plan, runs, out, retry_failed=given["retry_failed"])

    def tell() -> None:
        found, damaged = cases(study.store, variants, runs)
        for sentence in damaged:
            warn(sentence)
        if found:
            _write(name, analysis, analysis.findings(found), study)
        else:
            errors().print("no run has finished, so there is no page yet", style="yellow")

    try:
        state = carried_out(study, executor, quiet=given["quiet"])
    except typer.Exit:  # interrupted: what has ended says something all the same
        tell()
        raise
    tell()
    if state.failed:
        show(*describe_failures(out, {run.id for run in study.runs}), to=errors())
        raise typer.Exit(RUN_FAILED)


def _write(name: str, analysis: Analysis, findings: Findings, study: Study) -> None:
    from headstart.analysis._page import page

    notes = [*_of_missing(study), *_of_failures(study)]
    command = shlex.join(["headstart", *sys.argv[1:]])
    text = page(analysis.title, findings, command, notes)
    values = json.dumps(findings.values, ensure_ascii=False, indent=1, allow_nan=False)
    study.store.write(f"{name}.html", text.encode())
    study.store.write(f"{name}.json", f"{values}\n".encode())
    for each in (each for each in findings.tables if not each.page_only):
        show(each.caption, *tables_that_fit(each.head, each.rows, output().width))
    show(*findings.sentences)
    show(f"page: {study.store.address.rstrip('/')}/{name}.html")


def _of_missing(study: Study) -> list[str]:
    """Write the note about runs that have not ended yet."""
    missing = len(study.missing)
    if not missing:
        return []
    told = f"{missing:,} of {len(study.runs):,} runs have not ended yet"
    return [f"{told}: this is what the others say. The command below does the rest."]


def _of_failures(study: Study) -> list[str]:
    """Write the note about runs that have failed."""
    from headstart.cli.shared.study import describe_failures

    among = {run.id for run in study.runs}
    failed = len(study.store.failed() & among)
    if not failed:
        return []
    told = f"{failed:,} of {len(study.runs):,} runs have failed and are left out."
    return [told, *describe_failures(study.store.address, among)]
