"""The documentation's page for each tuner and technique, made from its file and its card.

``docs_tables.py`` writes them; building the site fails where one is out of date, missing, or left
over from a part that is gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from headstart.catalogue import Part, parts
from headstart.measured import PLAIN, Cost, Finding, read_measured

FOLDERS = {"tuner": "tuners", "technique": "techniques"}
NUMBER = re.compile(r"arXiv (\d{4}\.\d{4,5})")
"""A paper's number, which becomes a link."""


def pages() -> dict[str, str]:
    """Return every page.

    Returns:
        Markdown by the path below ``docs``.
    """
    return {f"{FOLDERS[part.kind]}/{part.name}.md": page(part) for part in parts()}


def faults(docs: Path) -> list[str]:
    """Compare the pages on disk with those of today.

    Args:
        docs: The folder ``docs``.

    Returns:
        A sentence for each page that is out of date, missing or left over.
    """
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
    """Write every page, and remove those of what is gone.

    Args:
        docs: The folder ``docs``.
    """
    expected = pages()
    for folder in FOLDERS.values():
        (docs / folder).mkdir(exist_ok=True)
        for path in (docs / folder).glob("*.md"):
            if path.relative_to(docs).as_posix() not in expected:
                path.unlink()
    for name, text in expected.items():
        (docs / name).write_text(text, encoding="utf-8")


def page(part: Part) -> str:
    """Write the page of one part.

    Args:
        part: A tuner or a technique.

    Returns:
        Markdown.
    """
    return "\n\n".join([f"# {part.name}", prose(part.summary), *_body(part), *_found(part)]) + "\n"


def _body(part: Part) -> Iterator[str]:
    card = part.card
    if card is None:
        return
    yield f"**Idea.** {prose(card.idea)}"
    yield "\n".join(["```text", *re.split(" {4,}", card.equation), "```"])
    if "where" in part.facts:
        yield f"**Where it sits.** {_sentence(part.facts['where'])}"
    if "formula" in part.facts:
        yield f"**Numbers that train beside the head.** {prose(part.facts['formula'])}."
    yield f"**When it helps.** {prose(card.helps)}"
    yield f"**When it does not.** {prose(card.harms)}"
    yield f"**Knobs.**\n\n{_knobs(part)}" if part.knobs else "**Knobs.** None."
    if part.kind == "tuner":
        yield f"**Learning rates.** {_sentence(part.rates)}"
        yield f"**Can be merged** (`>>`, or the end of a line). {prose(part.merges)}"
        yield f"**Made for.** Models of {', '.join(part.serves)}."
    elif part.targets:
        yield f"**Targets.** {part.targets}."
    if card.notes:
        yield f"**Notes.** {prose(card.notes)}"
    yield f"**Deviations from the source.** {prose(card.deviations)}"
    yield f"**Source.** {prose(card.citation)}"


def _knobs(part: Part) -> str:
    lines = [
        "| knob | default | takes | meaning | default from |",
        "| --- | --- | --- | --- | --- |",
    ]
    for k in part.knobs:
        cells = (f"`{k.name}`", f"`{k.default}`", k.takes, prose(k.meaning), prose(k.source))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _found(part: Part) -> Iterator[str]:
    measured = read_measured()
    yield f"**Cost, measured.** {_sentence(measured.cost(part.name))}"
    found: tuple[Finding, ...] = measured.findings.get(part.name, ())
    yield "**Scores, measured.** " + (" ".join(prose(f.text) for f in found) or "Not measured yet.")
    for command in dict.fromkeys(finding.command for finding in found):
        yield f"```console\n$ {command}\n```"


def catalogue(kind: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the table of all tuners or all techniques.

    Args:
        kind: ``tuner`` or ``technique``.

    Returns:
        Titles and rows, for the page ``docs/catalogue.md``.
    """
    measured = read_measured()
    own = ("numbers that train", "merges") if kind == "tuner" else ("for the targets",)
    scores = "`X > full` against `full`" if kind == "tuner" else "`full+X` against `full`"
    head = ("name", "what it is", "knobs", *own, "trains", "step", "memory", scores)
    rows: list[tuple[str, ...]] = []
    for part in (part for part in parts() if part.kind == kind):
        cost = ratios(measured.costs.get(part.name, Cost()), measured.costs.get(PLAIN, Cost()))
        found = "; ".join(f.short for f in measured.findings.get(part.name, ()) if f.short)
        told = (
            (prose(part.facts.get("formula", "")), "no" if part.facts.get("no_merge") else "yes")
            if kind == "tuner"
            else (part.targets,)
        )
        knobs = ", ".join(f"`{k.name}={k.default}`" for k in part.knobs) or "none"
        link = f"[`{part.name}`]({FOLDERS[kind]}/{part.name}.md)"
        shown = (cell or "not measured" for cell in (*cost, found))
        rows.append((link, prose(part.summary).rstrip("."), knobs, *told, *shown))
    return head, rows


def ratios(cost: Cost, plain: Cost) -> tuple[str, str, str]:
    """Write what training takes, step and memory as ratios to plain fine-tuning.

    Args:
        cost: The cost of a tuner or technique.
        plain: The cost of ``full``, from the same run.

    Returns:
        Share, step and memory; a cell is empty where nothing was measured.
    """
    share = "" if cost.share is None else f"{cost.share:.3g} %"
    pairs = ((cost.step, plain.step), (cost.memory, plain.memory))
    step, memory = (f"{own / other:.2f}" if own and other else "" for own, other in pairs)
    return share, step, memory


def prose(text: str) -> str:
    """Return plain text as Markdown shows it, papers as links.

    Args:
        text: May hold code between single backquotes.

    Returns:
        Markdown.
    """
    pieces = re.split(r"(`[^`]*`)", text)
    for i in range(0, len(pieces), 2):
        plain = pieces[i].replace("<", "&lt;").replace("*", "\\*").replace("\n", " ")
        pieces[i] = NUMBER.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", plain)
    return "".join(pieces)


def _sentence(text: str) -> str:
    return prose(text[:1].upper() + text[1:]).rstrip(".") + "."
