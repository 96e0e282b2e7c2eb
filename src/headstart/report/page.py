"""The report of a study: one page of HTML that holds all it needs and asks nothing of a network."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any

from headstart.report import curves, figures, repeat
from headstart.report.answer import answer
from headstart.report.figures import Figure
from headstart.report.read import Evidence
from headstart.study import tables
from headstart.study.tables import short_name

# Nothing may be fetched: the scripts and styles are in the page, pictures are drawn in it.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)
MOST_FAILURES = 200
CORRECTED = "the p of the answer is corrected over the strategies, that of a table over the tasks"


def build(evidence: Evidence) -> str:
    """Write the report.

    Args:
        evidence: What it is made from.

    Returns:
        A whole page.
    """
    from plotly.offline import get_plotlyjs

    sections, drawn = _sections(evidence)
    title = _title(evidence)
    links = "".join(f'<li><a href="#{name}">{escape(text)}</a></li>' for name, text, _ in sections)
    body = "".join(
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">'
        f"{escape(text)}</h2>{content}</section>\n"
        for name, text, content in sections
    )
    plots = {figure.id: {"data": figure.data, "layout": figure.layout} for figure in drawn}
    scripts = [f"<script>{get_plotlyjs()}</script>"] if drawn else []
    return "\n".join([
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(title)}</title>\n<style>{_resource('style.css')}</style>\n</head>",
        '<body>\n<a class="skip" href="#answer">To the answer</a>',
        f"<header><h1>{escape(title)}</h1>",
        '<button type="button" id="scheme" hidden>Dark page</button></header>',
        f'<nav aria-label="Contents"><ul>{links}</ul></nav>\n<main>{body}</main>',
        "<noscript><p>The figures need JavaScript; their captions tell the same.</p></noscript>",
        f'<script type="application/json" id="figures">{_json(plots)}</script>',
        *scripts,
        f"<script>{_resource('page.js')}</script>\n</body>\n</html>\n",
    ])  # fmt: skip


def _title(evidence: Evidence) -> str:
    names = dict.fromkeys(group.task for group in evidence.summary.groups)
    shown = ", ".join([*names][:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"Study of {shown}" if names else "Study"


def _sections(evidence: Evidence) -> tuple[list[tuple[str, str, str]], list[Figure]]:
    """Return identity, title and content of each section, and the figures in them."""
    summary = evidence.summary
    drawn: list[Figure] = []
    sections = [("answer", "Answer", _answer(evidence))]
    if summary.groups:
        sections.append(("tables", "Scores and tests", _tables(evidence)))
    for name, title, told, found in (
        ("seeds", "Seed by seed",
         "Each line is one seed: the baseline on the left, the strategy on the right. Solid lines "
         "rise, dashed lines fall; the thick line is the mean.", figures.by_seed(summary)),
        ("curves", "Learning curves",
         "Mean score over the seeds; the area is one standard deviation to each side. Stages "
         "follow one another, each with its own kind of line. Steps that fewer than half of the "
         "runs reached, and attempts that were given up, are left out.", curves.learning(evidence)),
        ("convergence", "Convergence against plain fine-tuning",
         "The last stage of each strategy, from its first step.", curves.convergence(evidence)),
        ("sizes", "Score against training size",
         "How the score grows with the rows to train on.", figures.by_size(evidence)),
        ("cost", "Score against cost",
         "Further left is faster, further up is better.", figures.by_cost(summary)),
    ):  # fmt: skip
        shown = list(found)
        if shown:
            drawn += shown
            sections.append((name, title, f"<p>{escape(told)}</p>{_figures(shown)}"))
    if summary.failures or summary.damaged:
        sections.append(("failures", "Failed runs and damaged results", _failures(evidence)))
    sections.append(("repeat", "To repeat it", _repeat(evidence)))
    return sections, drawn


def _answer(evidence: Evidence) -> str:
    summary = evidence.summary
    found = answer(summary)
    cautions = "".join(f"<li>{escape(text)}</li>" for text in found.cautions)
    listed = f'<ul class="cautions">{cautions}</ul>' if cautions else ""
    of = f" of {summary.planned:,}" if summary.planned else ""
    return (
        f'<p class="answer"><strong>{_words(found.best)}</strong> {_words(found.sure)}</p>{listed}'
        f'<p class="small">{summary.finished:,}{of} runs finished, '
        f"{len(summary.failures):,} failed. Folder: <code>{escape(evidence.address)}</code></p>"
    )


def _tables(evidence: Evidence) -> str:
    summary = evidence.summary
    parts = [
        _table(tables.title(group, summary), tables.HEAD, tables.rows(group))
        for group in summary.groups
    ]
    if summary.overall and summary.overall.ranks:
        rows = tables.overall_rows(summary.overall)
        parts.append(_table("all tasks together, in points", tables.OVERALL_HEAD, rows))
    notes = [*tables.legend(), *tables.notes(summary), CORRECTED]
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'{"".join(parts)}<ul class="small">{listed}</ul>'


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    titles = "".join(
        f'<th scope="col"{_right(title)} aria-sort="none"><button type="button">'
        f"<span>{_words(title.removeprefix('>'))}</span>"
        '<span class="mark" aria-hidden="true"></span>'
        "</button></th>"
        for title in head
    )
    body = "".join(f"<tr>{''.join(_cells(head, row))}</tr>\n" for row in rows)
    return (
        f"<h3>{escape(caption)}</h3>"
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">'
        f'<table class="sortable" aria-label="{escape(caption)}">'
        f"<thead><tr>{titles}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def _cells(head: Sequence[str], row: Sequence[str]) -> Iterator[str]:
    for place, (title, cell) in enumerate(zip(head, row, strict=True)):
        if place == 0:
            yield f'<th scope="row">{escape(cell)}</th>'
        else:
            yield f"<td{_right(title)}>{escape(cell)}</td>"


def _words(text: str) -> str:
    """Return text in which a number stays with its percent sign."""
    return escape(text).replace("95 %", "95&nbsp;%")


def _right(title: str) -> str:
    return ' class="number"' if title.startswith(">") else ""


def _figures(found: Sequence[Figure]) -> str:
    kind = "small-figures" if all(figure.small for figure in found) else "figures"
    return f'<div class="{kind}">{"".join(_figure(figure) for figure in found)}</div>'


def _figure(figure: Figure) -> str:
    text = escape(f"{figure.title}. {figure.caption}")
    return (
        f'<figure id="{figure.id}"><h3>{escape(figure.title)}</h3>'
        f'<div class="plot" data-figure="{figure.id}" role="img" aria-label="{text}" '
        f'style="height:{int(figure.layout["height"])}px"></div>'
        f"<figcaption>{escape(figure.caption)}</figcaption></figure>\n"
    )


def _failures(evidence: Evidence) -> str:
    summary = evidence.summary
    shown = summary.failures[:MOST_FAILURES]
    extra = {name: None for f in shown for name in f["axes"]} if shown else {}
    names = [name for name in extra if name != "strategy"]
    head = ("strategy", *names, "reason")
    rows = [
        [short_name(f["axes"]["strategy"]),
         *("all" if (v := f["axes"].get(n)) is None else str(v) for n in names),
         str(f.get("error") or "no reason is known")]
        for f in shown
    ]  # fmt: skip
    parts = [_table("failed runs", [h.replace("_", " ") for h in head], rows)] if rows else []
    if len(summary.failures) > MOST_FAILURES:
        parts.append(f"<p>… and {len(summary.failures) - MOST_FAILURES:,} more.</p>")
    if shown:
        parts.append("<p>The same command with <code>--retry-failed</code> repeats them.</p>")
    if summary.damaged:
        told = "".join(f"<li>{escape(text)}</li>" for text in summary.damaged)
        parts.append(f"<h3>Damaged results</h3><ul>{told}</ul>")
    return "".join(parts)


def _repeat(evidence: Evidence) -> str:
    parts = []
    text = repeat.study_file(evidence)
    if text:
        parts.append(f"<p>With this file as <code>{repeat.FILE}</code>:</p>{_listing(text)}")
        parts.append(f"<p>run:</p>{_listing(repeat.command(evidence))}")
        if not repeat.whole(evidence):
            parts.append("<p>The study was asked for in parts; this file asks for all their "
                         "combinations, which are more runs.</p>")  # fmt: skip
    rows = repeat.facts(evidence)
    if rows:
        cells = "".join(
            f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>\n'
            for name, value in rows
        )
        parts.append(
            "<details><summary>Settings as resolved, versions, machines and data</summary>"
            '<div class="scroll" role="region" tabindex="0" aria-label="Settings and versions">'
            f'<table class="facts"><tbody>{cells}</tbody></table></div></details>'
        )
    return "".join(parts) or "<p>It is not known what was asked for.</p>"


def _listing(text: str) -> str:
    return f'<pre tabindex="0"><code>{escape(text.rstrip())}</code></pre>'


def _json(values: Any) -> str:
    """Return JSON that no script element can be left from."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _resource(name: str) -> str:
    return importlib.resources.files("headstart.report").joinpath(name).read_text("utf-8")
