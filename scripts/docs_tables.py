"""Tables of the documentation, made from the registries and settings that they describe.

They stand in the pages, between two marks, so that the pages can be read without building the site.
Run as a script, this renews them; building the site fails where one is out of date.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import docs_cards

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "headstart"
BLOCK = re.compile(
    r"^<!-- generated: ([a-z]+) -->\n.*?^<!-- end of it -->$", re.MULTILINE | re.DOTALL
)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Write a Markdown table."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *([str(c) for c in row] for row in rows)]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )


def tuners() -> str:
    """Return all registered tuners with their learning rates and knobs."""
    from headstart.tuners import TUNERS

    return table(
        ("name", "what trains beside the head", "knobs", "rate", "head's rate", "after `>>`"),
        (
            (
                f"`{name}`",
                _prose(TUNERS.summary(name)),
                _knobs(TUNERS.get(name)),
                f"{TUNERS.get(name).lr:g}",
                f"{TUNERS.get(name).head_lr:g}",
                "no" if TUNERS.get(name).no_merge else "yes",
            )
            for name in TUNERS
        ),
    )


def techniques() -> str:
    """Return all registered techniques with their knobs and what those may be."""
    from headstart.techniques import TECHNIQUES

    return table(
        ("name", "what it does", "knobs", "of them", "for the targets"),
        (
            (
                f"`{name}`",
                _prose(TECHNIQUES.summary(name)),
                _knobs(TECHNIQUES.get(name)),
                "; ".join(f"`{k}` {told}" for k, (told, _) in TECHNIQUES.get(name).ranges.items()),
                ", ".join(TECHNIQUES.get(name).targets),
            )
            for name in TECHNIQUES
        ),
    )


def _knobs(part: Any) -> str:
    fields = [f for f in dataclasses.fields(part) if f.init and not f.name.startswith("_")]
    return ", ".join(f"`{f.name}={f.default}`" for f in fields) or "none"


def costs() -> str:
    """Return what every tuner and technique costs, and how that was measured."""
    from headstart.plugins.measured import NOT_YET, PLAIN, read_measured

    measured = read_measured()
    if not measured.costs:
        return NOT_YET
    plain = measured.costs[PLAIN]
    rows = ((f"`{name}`", *cost.beside(plain)) for name, cost in measured.costs.items())
    head = ("stage", "share that trains", "a step", "peak memory")
    return f"Measured in {measured.setting}.\n\n{table(head, rows)}"


def strategies() -> str:
    """Return all aliases with the lines they stand for."""
    from headstart.strategies.builtin import ALIASES

    rows = (
        (f"`{name}`", f"`{alias.line}`", _prose(alias.summary)) for name, alias in ALIASES.items()
    )
    return table(("alias", "line", "what it is"), rows)


def presets() -> str:
    """Return all presets, one a column, one setting a row, and the tuners' rates below."""
    from headstart.strategies.presets import PRESETS

    names = [f.name for f in dataclasses.fields(next(iter(PRESETS.values())))]
    plain = [name for name in names if name not in {"summary", "rates"}]
    rated = sorted({tuner for preset in PRESETS.values() for tuner in preset.rates})
    rows = [(f"`{n}`", *(_cell(getattr(p, n)) for p in PRESETS.values())) for n in plain]
    rows += [(f"rates of `{t}`", *(_rates(p, t) for p in PRESETS.values())) for t in rated]
    about = [f"- `{name}`: {_prose(preset.summary)}" for name, preset in PRESETS.items()]
    return "\n".join([*about, "", table(("setting", *(f"`{name}`" for name in PRESETS)), rows)])


def _rates(preset: Any, tuner: str) -> str:
    return " and ".join(f"{rate:g}" for rate in preset.rates.get(tuner, ())) or "the tuner's own"


def tasks() -> str:
    """Return all built-in tasks."""
    from headstart.tasks.builtin import get_task, task_names

    return table(
        ("task", "what it asks", "input", "target", "metrics", "hub name"),
        (
            (
                f"`{task.name}`",
                _prose(task.summary),
                f"{task.shape}: {', '.join(f'`{column}`' for column in task.columns)}",
                ", ".join(task.labels) if task.labels else task.target,
                ", ".join(task.metrics),
                ":".join(part for part in task.hub if part) if task.hub else "",
            )
            for task in map(get_task, task_names())
        ),
    )


def metrics() -> str:
    """Return all metrics."""
    from headstart.tasks.metrics import ALIASES, METRICS

    other = {name: [f"`{a}`" for a, n in ALIASES.items() if n == name] for name in METRICS}
    rows = (
        (f"`{name}`", " and ".join(m.targets), _prose(m.summary),
         "lower" if m.lower_is_better else "higher", ", ".join(other[name]))
        for name, m in METRICS.items()
    )  # fmt: skip
    return table(("metric", "for", "what it is", "better", "also called"), rows)


def taskfile() -> str:
    """Return the keys of a task file, and those of each of its spans."""
    from headstart.tasks.spec import SPAN_KEYS, TASK_KEYS

    return f"{_keys(TASK_KEYS)}\n\nKeys of each of `spans`:\n\n{_keys(SPAN_KEYS)}"


def _keys(meanings: dict[str, str]) -> str:
    return table(("key", "meaning"), ((f"`{k}`", _prose(v)) for k, v in meanings.items()))


def settings() -> str:
    """Return every setting of a run: option, key of the settings file, argument of ``fit``."""
    from headstart.config import FitConfig

    panels: dict[str, list[tuple[str, str, str]]] = {}
    for name, field in FitConfig.model_fields.items():
        extra = field.json_schema_extra
        panel = str(extra["panel"]) if isinstance(extra, dict) else "Other"
        row = (f"`{name}`", _cell(field.default), _prose(field.description or ""))
        panels.setdefault(panel, []).append(row)
    head = ("setting", "default", "meaning")
    return "\n\n".join(f"### {panel}\n\n{table(head, rows)}" for panel, rows in panels.items())


def _prose(text: str) -> str:
    # A bare '<name>' would be taken for HTML and vanish.
    return text.rstrip(".").replace("<", "&lt;")


def _cell(value: object) -> str:
    if value in (None, "", ()):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def commands() -> str:
    """Return every command of the command line with its help and its options."""
    cli = importlib.import_module("headstart.cli.shared.app")
    pages = (_commands(f"headstart {name}", cli.find_command(name)) for name in cli.COMMANDS)
    return "\n\n".join(page for group in pages for page in group)


def _commands(name: str, command: Any) -> Iterator[str]:
    # Groups make some of their commands only when they are asked for.
    inner = command.list_commands(None) if hasattr(command, "list_commands") else []
    for word in inner:
        if not (sub := command.get_command(None, word)).hidden:
            yield from _commands(f"{name} {word}", sub)
    if inner:
        return
    shown = [p for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
    about = inspect.cleandoc(command.help or "").replace("\b\n", "")
    if name.startswith("headstart analyze "):
        asked = any(p.name == "strategies" for p in shown)
        shown = [p for p in shown if p.rich_help_panel == "Analysis"]
        but = "`--baseline`" if asked else "`--baseline` and `--strategies`"
        about += f"\n\nIts options are those of `headstart study run` but {but}"
        about += ", and:" if shown else "."
    rows = [(", ".join(f"`{o}`" for o in _spellings(p)), _prose(p.help or "")) for p in shown]
    yield f"### {name}\n\n{about}"
    if rows:
        yield table(("option", "meaning"), rows)


def analyses() -> str:
    """Return all registered analyses with the question that each answers."""
    from headstart.analysis import ANALYSES

    return table(
        ("`headstart analyze`", "question", "strategies, where none are given"),
        (
            (f"`{name}`", analysis.question,
             f"`{analysis.strategies}`" if analysis.strategies else "its own")
            for name, analysis in ((name, ANALYSES.get(name)) for name in ANALYSES)
        ),
    )  # fmt: skip


def families() -> str:
    """Return what the bare command does with each family that has a sequence classifier."""
    record = json.loads((ROOT / "benchmarks" / "families.json").read_text(encoding="utf-8"))
    rows = (
        (f"`{family}`", f"`{row['strategy']}`" if "strategy" in row else "", _trains(row))
        for family, row in record["rows"].items()
    )
    about = f"Tried with transformers {record['transformers']}, in bf16."
    return f"{about}\n\n{table(('family', 'default strategy', 'trains'), rows)}"


def _trains(row: dict[str, str]) -> str:
    if "refused" in row:
        return f"no: {row['refused'].removeprefix('which ')}"
    return "yes" if row["precision"] == "bf16" else f"yes, in {row['precision']}"


def _spellings(parameter: Any) -> list[str]:
    options = [*parameter.opts, *parameter.secondary_opts]
    return options if parameter.param_type_name == "option" else [parameter.name.upper()]


def block(module: str) -> str:
    """Return the indented block of a module's docstring as a block of code."""
    tree = ast.parse((SOURCE / f"{module}.py").read_text(encoding="utf-8"))
    lines = (ast.get_docstring(tree) or "").splitlines()
    inside = [i for i, line in enumerate(lines) if line.startswith("    ")]
    body = textwrap.dedent("\n".join(lines[inside[0] : inside[-1] + 1]))
    return f"```text\n{body}\n```"


TABLES: dict[str, Callable[[], str]] = {
    "tuners": tuners,
    "techniques": techniques,
    "tunercards": lambda: table(*docs_cards.catalogue("tuner")),
    "techniquecards": lambda: table(*docs_cards.catalogue("technique")),
    "costs": costs,
    "strategies": strategies,
    "presets": presets,
    "tasks": tasks,
    "metrics": metrics,
    "taskfile": taskfile,
    "settings": settings,
    "commands": commands,
    "analyses": analyses,
    "families": families,
    "grammar": lambda: block("strategies/notation"),
    "loop": lambda: block("training/loop"),
}


def fill(page: str) -> str:
    """Renew the generated parts of a page.

    A part goes from ``<!-- generated: NAME -->`` to ``<!-- end of it -->``. Raises ``KeyError`` for
    a name that is not among ``TABLES``.
    """
    return BLOCK.sub(
        lambda m: f"<!-- generated: {m[1]} -->\n\n{TABLES[m[1]]()}\n\n<!-- end of it -->", page
    )


if __name__ == "__main__":
    docs_cards.write(ROOT / "docs")
    for path in sorted((ROOT / "docs").rglob("*.md")):
        before = path.read_text(encoding="utf-8")
        path.write_text(fill(before), encoding="utf-8")
