"""``headstart study run``, ``status``, ``table`` and ``card``."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from headstart.cli.shared.console import HELP_NAMES, errors, output, show, write_out
from headstart.cli.shared.options import Baseline, Folder, Strategies, warn_of_damage
from headstart.cli.shared.settings import given_ones, with_settings_of_runs
from headstart.cli.shared.usage import command
from headstart.cli.soup import SOUP_EXAMPLES, soup
from headstart.files.home import path_of
from headstart.study.fields import SEEDS

if TYPE_CHECKING:
    from headstart.results import RunResult
    from headstart.study.plan import StudyPlan
    from headstart.study.running.executors import Executor
    from headstart.study.running.main import Study
    from headstart.study.running.runner import State

RUN_FAILED = 3
"""Exit code where a run of the study has failed."""

app = typer.Typer(
    help="Compare strategies over many seeds: which one for my data, and how sure am I?",
    context_settings=HELP_NAMES,
)

_GRID, _RUN = "Grid", "Where and how"


def _listed(panel: str, name: str, text: str, metavar: str = "TEXT") -> Any:
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=panel)


@command(
    app,
    "headstart study run --task rte --data rte/ --model roberta-base "
    '--strategies "ft,lp-ft,eh-ft" --seeds 10 --out studies/rte',
    "headstart study run --train train.csv --validation dev.csv --text sentence "
    '--model roberta-base --strategies "ft,eh-ft" --train-rows 100,500 --epochs 4 --out studies/x',
    "headstart study run --config study.yaml --out studies/x --dry-run",
)
@with_settings_of_runs
# long: one parameter for each option
def run(
    out: Annotated[
        str | None,
        _listed(
            _RUN, "--out", "Folder of the study, or an fsspec address. --dry-run needs none.", "DIR"
        ),
    ] = None,
    config: Annotated[
        Path | None, _listed(_GRID, "--config", "YAML or TOML file with the study.", "FILE")
    ] = None,
    task: Annotated[
        list[str] | None,
        _listed(_GRID, "--task", "A built-in task or a task file; may be repeated."),
    ] = None,
    model: Annotated[
        list[str] | None, _listed(_GRID, "--model", "Folder or hub name; may be repeated.")
    ] = None,
    strategies: Annotated[
        str | None, _listed(_GRID, "--strategies", "Strategy lines or aliases, split at commas.")
    ] = None,
    seeds: Annotated[
        str | None,
        _listed(_GRID, "--seeds", f"How many, or a list: 10, or 0,1,2. Default: {SEEDS}."),
    ] = None,
    train_rows: Annotated[
        str | None, _listed(_GRID, "--train-rows", "Sizes of the training sample: 100,500,all.")
    ] = None,
    grid: Annotated[
        list[str] | None,
        _listed(_GRID, "--grid", "Values of a setting; may be repeated.", "NAME=A,B"),
    ] = None,
    baseline: Annotated[
        str | None,
        _listed(_GRID, "--baseline", "What others are compared with. Default: the first strategy."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        _listed(_GRID, "--set", "A setting of all runs; its own option wins.", "NAME=VALUE"),
    ] = None,
    workers: Annotated[
        int | None, _listed(_RUN, "--workers", "Runs at a time. Default: 1 here, all on Ray.", "N")
    ] = None,
    threads: Annotated[
        int | None,
        _listed(
            _RUN,
            "--threads",
            "CPU threads of a run. Default: OMP_NUM_THREADS, else the cores are shared out.",
            "N",
        ),
    ] = None,
    executor: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Where the runs are carried out.", rich_help_panel=_RUN),
    ] = "local",
    ray_address: Annotated[
        str | None,
        _listed(_RUN, "--ray-address", "auto, or HOST:PORT of a cluster. Default: start Ray here."),
    ] = None,
    cpus: Annotated[float, _listed(_RUN, "--cpus", "CPUs of a run on Ray.", "N")] = 1,
    gpus: Annotated[float, _listed(_RUN, "--gpus", "GPUs of a run on Ray.", "N")] = 0,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Repeat failed runs.", rich_help_panel=_RUN)
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the plan and its time, and stop.", rich_help_panel=_RUN
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print the table only.", rich_help_panel=_RUN)
    ] = False,
    **settings: Any,
) -> None:
    """Carry out the runs of a study that are missing.

    Finished runs are never repeated: the same command goes on after an interruption, does what new
    strategies or seeds add, and shares the work with other processes on the same folder. Settings
    of `headstart fit` are those of all runs; --grid compares several values of one.
    """
    from headstart.models.checkpoints.folders import looking
    from headstart.study.request import choose_executor

    folder = "" if dry_run else require_out(out, "study run")
    plan = read_grid({
        "config": config, "task": task, "model": model, "strategies": strategies, "seeds": seeds,
        "train_rows": train_rows, "grid": grid, "baseline": baseline,
        "assignments": assignments, "settings": settings,
    })  # fmt: skip
    made = choose_executor(executor, workers, threads, ray_address, cpus, gpus, out)
    if dry_run:
        with looking():
            _print_plan(plan, made, out)
    else:
        _carry_out(plan, made, folder, retry_failed=retry_failed, quiet=quiet)


@command(app, "headstart study status studies/rte")
def status(
    folder: Folder,
) -> None:
    """Show what is done, in progress, failed and missing."""
    from headstart.cli.shared.study import describe_failures, describe_status

    show(*describe_status(folder), *describe_failures(folder))


@command(
    app,
    "headstart study table studies/rte",
    "headstart study table studies/rte --baseline lp-ft --format latex > table.tex",
)
def table(
    folder: Folder,
    form: Annotated[
        Literal["text", "md", "csv", "latex"], typer.Option("--format", help="How to write it.")
    ] = "text",
    baseline: Baseline = None,
    strategies: Strategies = None,
) -> None:
    """Print the comparison of the strategies, with what has ended so far."""
    from headstart.cli.shared.study import describe_summary
    from headstart.study.formats import as_text
    from headstart.study.outcome.read import read_summary, split_lines

    summary = read_summary(folder, baseline, split_lines(strategies or ""))
    warn_of_damage(summary)
    if form == "text":
        show(*describe_summary(summary, output().width))
    else:
        write_out(as_text(summary, form))


@command(
    app,
    "headstart study card studies/rte",
    "headstart study card studies/rte --model runs/x",
    "headstart study card studies/rte --out README.md",
)
def card(
    folder: Folder,
    model: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="A run or model: into the README.md beside its weights."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=path_of,
            metavar="FILE",
            help="Into this file. Default: print it.",
        ),
    ] = None,
    baseline: Baseline = None,
    strategies: Strategies = None,
) -> None:
    """Write what a study says as a section for a model card, in Markdown.

    In a file it takes the place of the section that this command wrote before; the rest stays.
    """
    from headstart.errors import ConfigError
    from headstart.report.card import put_into, section
    from headstart.report.read import read_study
    from headstart.study.outcome.read import split_lines

    if model and out:
        raise ConfigError("--model or --out", "both", "Drop one.")
    readme, record = _of_model(model) if model else (out, None)
    evidence = read_study(folder, baseline, split_lines(strategies or ""))
    warn_of_damage(evidence.summary)
    text = section(evidence, record)
    if readme is None:
        write_out(text)
        return
    replaced = put_into(readme, text)
    show(f"section {'renewed in' if replaced else 'added to'} {readme}")


command(app, *SOUP_EXAMPLES)(soup)  # has a file of its own


def require_out(out: str | None, command: str) -> str:
    """Return the folder that was named. Raises ``ConfigError`` if none was."""
    from headstart.errors import ConfigError

    if not out:
        fix = "Name the folder to keep the runs in, or add --dry-run to see the plan."
        raise ConfigError(f"--out for `headstart {command}`", "none", fix)
    return out


def read_grid(options: Mapping[str, Any]) -> StudyPlan:
    """Read the options about a study's grid, its data and its settings.

    Raises ``HeadstartError`` for all faults together.
    """
    from headstart.configfile import read_assignments
    from headstart.study.request import request

    names = {"tasks": "task", "models": "model"}
    keys = ("tasks", "models", "strategies", "seeds", "train_rows", "baseline")
    axes = {key: options[names.get(key, key)] for key in keys}
    axes["grid"] = _grid(options["grid"] or ())
    own = dict(options["settings"])
    rows = {name: own.pop(name, None) for name in ("train", "validation", "text", "label")}
    assigned = read_assignments(options["assignments"] or ())
    return request(options["config"], axes, rows, assigned | given_ones(own))


def _of_model(name: str) -> tuple[Path, RunResult | None]:
    """Return the README.md of a model, and the record of the run that it comes from."""
    from headstart.errors import RunError
    from headstart.models.checkpoints.folders import recover
    from headstart.models.checkpoints.source import find_model
    from headstart.results import RunResult

    recover(path_of(name))
    folder = Path(find_model(name))
    if not (folder / "config.json").is_file():
        fix = "Name the folder that --out of `headstart fit` named."
        raise RunError("a run, or the folder of a model, for --model", name, fix)
    record = folder.absolute().parent / "result.json"
    return folder / "README.md", RunResult.read(record) if record.is_file() else None


def _grid(items: Sequence[str]) -> dict[str, list[str]]:
    from headstart.configfile import read_assignments
    from headstart.errors import ConfigError

    for item in items:
        if "=" not in item:
            raise ConfigError("--grid name=a,b", repr(item), "Put '=' before the values.")
    return {
        name: value if isinstance(value, list) else _parts(str(value))
        for name, value in read_assignments(list(items)).items()
    }


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _print_plan(plan: StudyPlan, executor: Executor, out: str | None) -> None:
    from headstart.cli.shared.study import describe_plan
    from headstart.study.running.executors import closing
    from headstart.study.running.main import planned_runs

    with closing(executor):
        show(*describe_plan(plan, planned_runs(plan), executor, out))


def _carry_out(
    plan: StudyPlan, executor: Executor, out: str, *, retry_failed: bool, quiet: bool
) -> None:
    from headstart.cli.shared.study import describe_failures, describe_summary
    from headstart.study.outcome.read import read_summary
    from headstart.study.running.main import begin

    state = carried_out(begin(plan, out, retry_failed=retry_failed), executor, quiet=quiet)
    if state.done:
        show(*describe_summary(read_summary(out), output().width))
    if state.failed:
        show(*describe_failures(out), to=errors())
        raise typer.Exit(RUN_FAILED)


def carried_out(study: Study, executor: Executor, *, quiet: bool) -> State:
    """Carry out what is missing of a study, shown as it suits the output.

    Raises ``typer.Exit`` if the user interrupts; what is kept has then been said.
    """
    from headstart.cli.shared.study import study_display
    from headstart.study.running.main import carry_out_study

    try:
        with _ended_as_by_ctrl_c(), study_display(study, output(), quiet=quiet) as watch:
            return carry_out_study(study, executor, watch)
    except KeyboardInterrupt:
        left = len(study.missing)
        text = f"interrupted; {len(study.runs) - left} of {len(study.runs)} runs are kept; "
        errors().print(f"{text}the same command does the rest", style="yellow", soft_wrap=True)
        raise typer.Exit(130) from None


@contextlib.contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """Handle SIGTERM, by which a cluster ends a job, like Ctrl-C."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only that one may
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
