"""The documentation's page for each tuner and technique, made from its file and its card.

``docs_tables.py`` writes them; building the site fails where one is out of date, missing, or left
over from a entry that is gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from headstart.catalogue import Entry, entries
from headstart.plugins.measured import PLAIN, Cost, Finding, read_measured

FOLDERS = {"tuner": "tuners", "technique": "techniques"}
NUMBER = re.compile(r"arXiv (\d{4}\.\d{4,5})")
"""A paper's number, which becomes a link."""


def pages() -> dict[str, str]:
    """Return every page by its path below ``docs``."""
    return {f"{FOLDERS[entry.kind]}/{entry.name}.md": page(entry) for entry in entries()}


def faults(docs: Path) -> list[str]:
    """Return a sentence for each page that is out of date, missing or left over."""
    expected = pages()
    found = {
        path.relative_to(docs).as_posix(): path.read_text(encoding="utf-8")
        for folder in FOLDERS.values()
        for path in (docs / folder).glob("*.md")
    }
    told = [f"docs/{name} is missing" for name in expected.keys() - found.keys()]
    told += [f"docs/{name} is of nothing registered" for name in found.keys() - expected.keys()]
    both = expected.keys() & found.keys()
    return sorted([*told, *(f"docs/{n} is out of date" for n in both if found[n] != expected[n])])


def write(docs: Path) -> None:
    """Write every page, and remove those of what is gone."""
    expected = pages()
    for folder in FOLDERS.values():
        (docs / folder).mkdir(exist_ok=True)
        for path in (docs / folder).glob("*.md"):
            if path.relative_to(docs).as_posix() not in expected:
                path.unlink()
    for name, text in expected.items():
        (docs / name).write_text(text, encoding="utf-8")


def page(entry: Entry) -> str:
    """Write the page of one entry."""
    return (
        "\n\n".join([f"# {entry.name}", prose(entry.summary), *_body(entry), *_found(entry)]) + "\n"
    )


def _body(entry: Entry) -> Iterator[str]:
    card = entry.card
    if card is None:
        return
    yield f"**Idea.** {prose(card.idea)}"
    yield "\n".join(["```text", *re.split(" {4,}", card.equation), "```"])
    if "where" in entry.facts:
        yield f"**Where it sits.** {_sentence(entry.facts['where'])}"
    if "formula" in entry.facts:
        yield f"**Numbers that train beside the head.** {prose(entry.facts['formula'])}."
    yield f"**When it helps.** {prose(card.helps)}"
    yield f"**When it does not.** {prose(card.harms)}"
    yield f"**Knobs.**\n\n{_knobs(entry)}" if entry.knobs else "**Knobs.** None."
    if entry.kind == "tuner":
        yield f"**Learning rates.** {_sentence(entry.rates)}"
        yield f"**Can be merged** (`>>`, or the end of a line). {prose(entry.merges)}"
        yield f"**Made for.** Models of {', '.join(entry.serves)}."
    elif entry.targets:
        yield f"**Targets.** {entry.targets}."
    if card.notes:
        yield f"**Notes.** {prose(card.notes)}"
    yield f"**Deviations from the source.** {prose(card.deviations)}"
    yield f"**Source.** {prose(card.citation)}"


def _knobs(entry: Entry) -> str:
    lines = [
        "| knob | default | takes | meaning | default from |",
        "| --- | --- | --- | --- | --- |",
    ]
    for k in entry.knobs:
        cells = (f"`{k.name}`", f"`{k.default}`", k.takes, prose(k.meaning), prose(k.source))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _found(entry: Entry) -> Iterator[str]:
    measured = read_measured()
    yield f"**Cost, measured.** {_sentence(measured.cost(entry.name))}"
    found: tuple[Finding, ...] = measured.findings.get(entry.name, ())
    yield "**Scores, measured.** " + (" ".join(prose(f.text) for f in found) or "Not measured yet.")
    for command in dict.fromkeys(finding.command for finding in found):
        yield f"```console\n$ {command}\n```"


def catalogue(kind: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return titles and rows of the table of all tuners or all techniques."""
    measured = read_measured()
    own = ("numbers that train", "merges") if kind == "tuner" else ("for the targets",)
    scores = "`X > full` against `full`" if kind == "tuner" else "`full+X` against `full`"
    head = ("name", "what it is", "knobs", *own, "trains", "step", "memory", scores)
    rows: list[tuple[str, ...]] = []
    for entry in (entry for entry in entries() if entry.kind == kind):
        cost = ratios(measured.costs.get(entry.name, Cost()), measured.costs.get(PLAIN, Cost()))
        found = "; ".join(f.short for f in measured.findings.get(entry.name, ()) if f.short)
        told = (
            (prose(entry.facts.get("formula", "")), "no" if entry.facts.get("no_merge") else "yes")
            if kind == "tuner"
            else (entry.targets,)
        )
        knobs = ", ".join(f"`{k.name}={k.default}`" for k in entry.knobs) or "none"
        link = f"[`{entry.name}`]({FOLDERS[kind]}/{entry.name}.md)"
        shown = (cell or "not measured" for cell in (*cost, found))
        rows.append((link, prose(entry.summary).rstrip("."), knobs, *told, *shown))
    return head, rows


def ratios(cost: Cost, plain: Cost) -> tuple[str, str, str]:
    """Write what training takes, step and memory as ratios to ``full`` in the same run.

    A cell is empty where nothing was measured.
    """
    share = "" if cost.share is None else f"{cost.share:.3g} %"
    pairs = ((cost.step, plain.step), (cost.memory, plain.memory))
    step, memory = (f"{own / other:.2f}" if own and other else "" for own, other in pairs)
    return share, step, memory


def prose(text: str) -> str:
    """Return plain text as Markdown shows it, papers as links.

    It may hold code between single backquotes.
    """
    pieces = re.split(r"(`[^`]*`)", text)
    for i in range(0, len(pieces), 2):
        plain = pieces[i].replace("<", "&lt;").replace("*", "\\*").replace("\n", " ")
        pieces[i] = NUMBER.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", plain)
    return "".join(pieces)


def _sentence(text: str) -> str:
    return prose(text[:1].upper() + text[1:]).rstrip(".") + "."
