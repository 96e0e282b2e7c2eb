"""``headstart tasks`` and ``headstart strategies``: what there is to name, without torch."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstart.cli._console import facts, show, table
from headstart.tasks.spec import SPAN_KEYS, TASK_KEYS

if TYPE_CHECKING:
    from headstart.registry import Registry


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


def describe_task_files() -> str:
    """List the keys of a task file for the end of a help page.

    Returns:
        Text in rich's markup.
    """
    lines = ["[bold]A task file[/bold] is YAML with these keys:", ""]
    lines += [f"[cyan]{key}[/cyan]: {accepted}" for key, accepted in TASK_KEYS.items()]
    lines += ["", "Each of its [bold]spans[/bold] has:", ""]
    lines += [f"[cyan]{key}[/cyan]: {accepted}" for key, accepted in SPAN_KEYS.items()]
    return "\n".join(lines)


def strategies(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="An alias, a tuner or a technique.")
    ] = None,
) -> None:
    """List the strategies' aliases, the tuners and techniques they are made of, or show one."""
    from headstart.errors import ConfigError, did_you_mean
    from headstart.strategies.builtin import ALIASES
    from headstart.techniques import TECHNIQUES
    from headstart.tuners import TUNERS

    if name in TUNERS:
        _show_tuner(str(name))
    elif name in TECHNIQUES:
        _show_technique(str(name))
    elif name in ALIASES:
        alias = ALIASES[str(name)]
        show(str(name), facts([("line", alias.line), ("what it is", alias.summary)]))
    elif name is not None:
        known = [*ALIASES, *TUNERS, *TECHNIQUES]
        fix = did_you_mean(name, known)
        if any(sign in name for sign in ">(+"):
            fix = (
                "Name one part of it; `headstart fit --strategy LINE --dry-run` shows a whole line."
            )
        raise ConfigError("the name of an alias, a tuner or a technique", repr(name), fix)
    else:
        rows = [(alias, ALIASES[alias].line, ALIASES[alias].summary) for alias in ALIASES]
        show("Aliases", table(("alias", "line", "what it is"), rows))
        parts = [(each, _signature(TUNERS, each), TUNERS.summary(each)) for each in TUNERS]
        show("Tuners", table(("tuner", "knobs", "what trains beside the head"), parts))
        acts = [(t, _signature(TECHNIQUES, t), TECHNIQUES.summary(t)) for t in TECHNIQUES]
        show("Techniques", table(("technique", "knobs", "what it does inside a stage"), acts))
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
        "on the hub": ":".join(part for part in task.hub if part) if task.hub else "",
        "splits": ", ".join(task.splits),
        "epochs in the paper": str(task.paper_epochs or ""),
        "version": str(task.version),
    }
    rows = [(key, value) for key, value in about.items() if value]
    show(f"Task {task.name}", facts(rows))


@dataclass(frozen=True)
class _Knob:
    name: str
    kind: str
    default: str
    meaning: str


def _show_tuner(name: str) -> None:
    from headstart.tuners import TUNERS

    _show_part(TUNERS, name)
    rates = ", ".join(f"{key} {value}" for key, value in _rates(name).items())
    show(f"Default learning rates: {rates}. Any stage also takes: {_settings()}.")


def _show_technique(name: str) -> None:
    from headstart.techniques import TECHNIQUES

    _show_part(TECHNIQUES, name)
    knobs = _knobs(TECHNIQUES, name)
    own = f"({knobs[0].name}={knobs[0].default})" if knobs else ""
    show(f"It acts inside a stage: full+{name}{own}. A stage may carry several, joined by '+'.")


def _show_part(registry: Registry[Any], name: str) -> None:
    rows = [(k.name, k.kind, k.default, k.meaning) for k in _knobs(registry, name)]
    show(f"{name}: {registry.summary(name)}")
    if rows:
        show(table(("knob", "kind", "default", "meaning"), rows))


def _settings() -> str:
    from headstart.strategies.stages import SETTINGS

    return ", ".join(SETTINGS)


def _signature(registry: Registry[Any], name: str) -> str:
    return ", ".join(f"{knob.name}={knob.default}" for knob in _knobs(registry, name))


def _class(registry: Registry[Any], name: str) -> ast.ClassDef | None:
    """Return the source of a part's class; reading it takes no torch, importing it would."""
    spec = importlib.util.find_spec(f"{registry.package}.{name}")
    if spec is None or spec.origin is None:
        return None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    named = next(
        node.value.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Name)
        and ast.unparse(node.targets[0]) == registry.attribute
    )
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == named)


def _fields(registry: Registry[Any], name: str) -> Iterator[tuple[str, str, str]]:
    for node in getattr(_class(registry, name), "body", ()):
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            yield ast.unparse(node.target), ast.unparse(node.annotation), ast.unparse(node.value)


def _knobs(registry: Registry[Any], name: str) -> list[_Knob]:
    meanings = _meanings(registry, name)
    return [
        _Knob(field, _accepted(kind), _in_notation(default), meanings.get(field, ""))
        for field, kind, default in _fields(registry, name)
        if not field.startswith("_") and not kind.startswith("ClassVar")
    ]


def _accepted(kind: str) -> str:
    """Write the type of a knob as what a user may give."""
    if kind.startswith("Literal["):
        return " or ".join(ast.literal_eval(f"({kind[8:-1]},)"))
    return {"int": "whole number", "float": "number", "bool": "true or false"}.get(kind, kind)


def _in_notation(default: str) -> str:
    """Write a value of Python as a strategy line has it: no quotes, truth values in lower case."""
    value = ast.literal_eval(default)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _rates(name: str) -> dict[str, str]:
    from headstart.tuners import TUNERS

    found = _fields(TUNERS, name)
    return {field: value for field, _, value in found if field in {"lr", "head_lr"}}


def _meanings(registry: Registry[Any], name: str) -> dict[str, str]:
    """Read the section Args of the class's docstring."""
    found = _class(registry, name)
    _, _, section = (ast.get_docstring(found) or "" if found else "").partition("Args:\n")
    meanings: dict[str, str] = {}
    last = ""
    for line in section.split("\n\n")[0].splitlines():
        word, colon, text = line.strip().partition(": ")
        if colon and not line.startswith("     "):
            last = word
            meanings[word] = text
        elif last:
            meanings[last] += f" {line.strip()}"
    return {word: text.replace("``", "`") for word, text in meanings.items()}


def _notation() -> str:
    return (
        "A strategy is stages joined by '>' (hands on the head alone) or '>>' (hands on "
        f"everything).\nEach stage may carry settings, as in 'bitfit(epochs=3, lr=5e-4) > full': "
        f"{_settings()},\nand its tuner's knobs; and techniques behind a '+', as in "
        "'bitfit > full+mixout(p=0.7)'.\n`headstart strategies NAME` shows the knobs of each."
    )
