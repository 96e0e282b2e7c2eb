"""``headstart tasks`` and ``headstart strategies``: what there is to name, without torch."""

from __future__ import annotations

from typing import Annotated

import typer

from headstart.cli.shared.console import facts, show, table
from headstart.cli.shared.usage import command
from headstart.tasks.spec import SPAN_KEYS, TASK_KEYS

app = typer.Typer()


def _task_files() -> str:
    """List the keys of a task file for the end of a help page, in rich's markup."""
    lines = ["[bold]A task file[/bold] is YAML with these keys:", ""]
    lines += [f"[cyan]{key}[/cyan]: {accepted}" for key, accepted in TASK_KEYS.items()]
    lines += ["", "Each of its [bold]spans[/bold] has:", ""]
    lines += [f"[cyan]{key}[/cyan]: {accepted}" for key, accepted in SPAN_KEYS.items()]
    return "\n".join(lines)


@command(app, epilog=_task_files())
def tasks(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A task, or a task's YAML file.")
    ] = None,
) -> None:
    """List the tasks, or show one, which also checks a task file."""
    from headstart.tasks.builtin import get_task, task_names

    if name is not None:
        _show_task(name)
        return
    known = [get_task(each) for each in task_names()]
    rows = [
        (t.name, t.shape, ", ".join(t.labels or (t.target,)), " + ".join(t.metrics), t.summary)
        for t in known
    ]
    show(table(("task", "input", "predicts", "metrics", "what it asks"), rows))
    show(
        "`headstart tasks NAME` shows one. A YAML file can describe your own: `headstart tasks "
        "--help` lists what it holds."
    )


@command(app)
def strategies() -> None:
    """List the strategies' aliases, and the tuners and techniques that lines are made of."""
    from headstart.catalogue import entries
    from headstart.strategies.builtin import ALIASES

    rows = [(alias, ALIASES[alias].line, ALIASES[alias].summary) for alias in ALIASES]
    show("Aliases", table(("alias", "line", "what it is"), rows))
    every = [(p.kind, (p.name, p.signature, p.summary)) for p in entries() if not p.command]
    tuners = [row for kind, row in every if kind == "tuner"]
    show("Tuners", table(("tuner", "knobs", "what trains beside the head"), tuners))
    acts = [row for kind, row in every if kind == "technique"]
    show("Techniques", table(("technique", "knobs", "what it does inside a stage"), acts))
    over = [(p.name, p.command, p.summary) for p in entries() if p.command]
    show("Over the seeds of a study", table(("technique", "command", "what it does"), over))
    show(_notation())


def _show_task(name: str) -> None:
    from headstart.tasks.builtin import get_task

    task = get_task(name)
    spans = "; ".join(
        f"{s.text or f'{s.start}:{s.end}'} in {s.column}, {task.span_use}" for s in task.spans
    )
    about = {
        "what it asks": task.summary,
        "input": f"{task.shape}: {', '.join(task.text)}",
        "choices": ", ".join(task.choices),
        "targets in the text": spans,
        "label column": task.label,
        "predicts": ", ".join(task.labels or ()) or task.target,
        "metrics": " + ".join(task.metrics),
        "on the hub": ":".join(name for name in task.hub if name) if task.hub else "",
        "splits": ", ".join(task.splits),
        "epochs in the paper": str(task.paper_epochs or ""),
        "version": str(task.version),
    }
    rows = [(key, value) for key, value in about.items() if value]
    show(f"Task {task.name}", facts(rows))


def _settings() -> str:
    from headstart.strategies.stages import SETTINGS

    return ", ".join(SETTINGS)


def _notation() -> str:
    return (
        "A strategy is stages joined by '>' (hands on the head alone) or '>>' (hands on "
        f"everything).\nEach stage may carry settings, as in 'bitfit(epochs=3, lr=5e-4) > full': "
        f"{_settings()},\nand its tuner's knobs; and techniques behind a '+', as in "
        "'bitfit > full+mixout(p=0.7)'.\n`headstart explain NAME` tells what each is, "
        "when it helps, and its knobs."
    )
