"""``headstart explain``: the page of a tuner, a technique, an alias or a line.

Names are told without torch. A line is checked as a run would, which takes importing it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstart.cli.shared.console import facts, show
from headstart.cli.shared.usage import command

if TYPE_CHECKING:
    from headstart.catalogue import Entry, Knob

app = typer.Typer()


@command(
    app,
    "headstart explain bitfit",
    "headstart explain mixout",
    "headstart explain eh-ft",
    'headstart explain "bitfit > full+mixout"',
    'headstart explain "peft(type=loha)"',
)
def explain(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A tuner, a technique, an alias or a line.")
    ],
) -> None:
    """Tell what a tuner or a technique is: idea, knobs, when it helps, and what was measured."""
    from headstart.catalogue import find_entry
    from headstart.errors import ConfigError, did_you_mean
    from headstart.strategies.builtin import ALIASES, OVER_SEEDS
    from headstart.techniques import TECHNIQUES
    from headstart.tuners import TUNERS

    entry = find_entry(name)
    if entry:
        _show_entry(entry)
    elif name in ALIASES or any(sign in name for sign in ">(+"):
        _show_line(name)
    else:
        raise ConfigError(
            "the name of a tuner, a technique or an alias",
            repr(name),
            did_you_mean(name, [*TUNERS, *TECHNIQUES, *OVER_SEEDS, *ALIASES]),
        )


def _show_line(line: str) -> None:
    from headstart.catalogue import find_entry
    from headstart.strategies.builtin import ALIASES
    from headstart.strategies.notation import parse
    from headstart.techniques import TECHNIQUES
    from headstart.tuners import TUNERS

    strategy = parse(line, TUNERS, TECHNIQUES)
    knobs = [{} for _ in strategy.stages] if line in ALIASES else _knobs_of(line)
    rows: list[tuple[str, object]] = [("line", strategy.name)]
    if line in ALIASES:
        rows.append(("what it is", ALIASES[line].summary))
    known: dict[str, Entry] = {}
    for number, stage in enumerate(strategy.stages, 1):
        names = (stage.trains, *(technique.name for technique in stage.techniques))
        used = {name: entry for name in names if (entry := find_entry(name))}
        told = [f"{name}: {entry.summary}" for name, entry in used.items()]
        if number < len(strategy.stages):
            told.append(f"It hands on {'everything' if stage.reserve else 'the head alone'}.")
        told += [f"{name} takes {taken}." for name, taken in knobs[number - 1].items()]
        rows.append((f"stage {number}", "\n".join(told)))
        known |= used
    show(line, facts(rows))
    show("More: " + ", ".join(f"`headstart explain {name}`" for name in known) + ".")


def _knobs_of(line: str) -> list[dict[str, str]]:
    """Check a line, and describe the values that the knobs of each stage accept."""
    from headstart.strategies.stages import written
    from headstart.tuners._bind import accepted_knobs, bind, bind_techniques, read_strategy

    told = []
    for stage in read_strategy(line).stages:
        calls: list[Any] = [(stage.trains, stage, bind(stage))]
        calls += [
            (a.name, a, t) for a, t in zip(stage.techniques, bind_techniques(stage), strict=True)
        ]
        taken = {}
        for name, call, made in calls:
            if call.arguments or call.knobs:
                knobs = accepted_knobs(type(made)).items()
                taken[name] = "; ".join(
                    f"{k}={written(getattr(made, k))}, {words}" for k, words in knobs
                )
        told.append(taken)
    return told


def _show_entry(entry: Entry) -> None:
    from rich.text import Text

    show(Text(f"{entry.name}: {entry.summary}", style="bold"))
    show(facts(_card_rows(entry)))
    if entry.knobs:
        show(Text("Knobs", style="bold"))
        show(facts((f"{k.name}={k.default}", _knob(k)) for k in entry.knobs))
    show(Text("Measured", style="bold"))
    show(facts(_measured(entry)))


def _knob(knob: Knob) -> str:
    source = f"\nDefault from: {knob.source}" if knob.source else ""
    return f"{knob.takes}. {knob.meaning}{source}"


def _card_rows(entry: Entry) -> Iterator[tuple[str, object]]:
    from headstart.strategies.stages import SETTINGS

    yield "kind", f"{entry.kind}, {'by' if entry.command else 'written'} {entry.line}"
    card = entry.card
    if card:
        yield "idea", card.idea
        yield "equation", card.equation
    for title, key in (("where it sits", "where"), ("numbers that train", "formula")):
        if key in entry.facts:
            yield title, entry.facts[key]
    if entry.kind == "tuner" and card:
        yield "merges", entry.merges
        yield "made for", ", ".join(entry.serves)
        yield "learning rates", entry.rates
        yield "also takes", f"what any stage takes: {', '.join(SETTINGS)}"
    elif entry.targets:
        yield "targets", entry.targets
    if card:
        yield "when it helps", card.helps
        yield "when not", card.harms
        yield "differs", card.deviations
        if card.notes:
            yield "notes", card.notes
        yield "source", card.citation


def _measured(entry: Entry) -> Iterator[tuple[str, str]]:
    from headstart.plugins.measured import NOT_YET, read_measured

    measured = read_measured()
    yield "cost", measured.cost(entry.name)
    found = measured.findings.get(entry.name, ())
    yield "scores", "\n".join(f.text for f in found) or NOT_YET
    for line in dict.fromkeys(f.command for f in found):
        yield "measured by", line
