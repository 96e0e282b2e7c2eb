"""``headstart fit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstart.cli.shared.console import errors, is_main_process, output, show, warn
from headstart.cli.shared.settings import FitCommand, gather, require_folder, with_settings
from headstart.cli.shared.usage import command
from headstart.config import FitConfig
from headstart.imports import without_collection

if TYPE_CHECKING:
    from headstart.results import RunResult

app = typer.Typer()


@command(
    app,
    "headstart fit --model roberta-base --train train.csv --validation dev.csv --text sentence "
    "--label label --strategy eh-ft --out runs/x",
    'headstart fit --model roberta-base --task rte --strategy "bitfit(epochs=2) > full" '
    "--epochs 10 --seed 1",
    "headstart fit --config run.yaml --set strategy=lp-ft --dry-run",
    "headstart fit --model roberta-base --head runs/x/head --train more.csv --text sentence",
    "headstart fit --resume --out runs/x",
)
@with_settings
def fit(
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="YAML or TOML file with settings.", rich_help_panel="Settings"
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change one setting of the file; may be repeated. Options win over it.",
            rich_help_panel="Settings",
        ),
    ] = None,
    **options: Any,
) -> None:
    """Fine-tune a pretrained encoder on labelled rows, by default from a pretrained head.

    The result is a plain Hugging Face checkpoint in OUT/model, with the scores of every stage
    in OUT/result.json. Each other option can also stand in the file given by --config, under its
    name.
    """
    gathered = gather(config, assignments or (), options)
    require_folder(gathered)
    command = FitCommand.build(gathered)
    if command.dry_run:
        _print_plan(command.run)
        return
    result = run_shown(command.run, quiet=command.quiet)
    if is_main_process():
        _print_result(result, quiet=command.quiet)


def run_shown(settings: FitConfig, *, quiet: bool = False) -> RunResult:
    """Run with a display that suits the output.

    Raises ``typer.Exit`` if the user interrupts; how to go on has then been said.
    """
    with without_collection():
        from headstart.cli.shared.display import display
        from headstart.run import run
        from headstart.steps.callback import Callback
        from headstart.steps.settings import default_out

    if settings.out is None:
        settings = settings.model_copy(update={"out": default_out(settings)})
    try:
        if not is_main_process():
            return run(settings, Callback())
        with display(output(), quiet=quiet) as callback:
            return run(settings, callback)
    except KeyboardInterrupt:
        if is_main_process():
            _tell_how_to_resume(settings)
        raise typer.Exit(130) from None


def _print_plan(settings: FitConfig) -> None:
    """Print the plan, which is all that is asked for here, ``--quiet`` or not."""
    from headstart.cli.shared.tables import describe_plan
    from headstart.run import plan_run

    plan = plan_run(settings)
    if is_main_process():
        show(*describe_plan(plan))
        for warning in plan.warnings:
            warn(warning)


def _print_result(result: RunResult, *, quiet: bool) -> None:
    from headstart.cli.shared.tables import closing, describe_stages
    from headstart.results import show_scores

    if quiet:
        show(f"{result.settings['out']}: {show_scores(result.scores)}")
    else:
        show(*describe_stages(result), closing(result))


def _tell_how_to_resume(settings: FitConfig) -> None:
    from headstart.steps.output.folder import CHECKPOINTS, RunFolder

    folder = RunFolder(Path(str(settings.out)))
    if (folder.work / CHECKPOINTS / "latest.json").is_file():
        trust = " --trust-remote-code" if settings.trust_remote_code else ""
        text = f"interrupted; go on with: headstart fit --resume --out {folder.out}{trust}"
    else:
        text = "interrupted before the first checkpoint; nothing was kept"
    errors().print(text, style="yellow", soft_wrap=True)
