"""HTML that the pages of studies and analyses are made of: whole in one file, asking no network."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape as escape_signs
from typing import Any

from headstart.report.figures import Figure
from headstart.untrusted import LONGEST_MESSAGE, printable, shortened

# Nothing may be fetched: the scripts and styles are in the page, pictures are drawn in it.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)


@dataclass(frozen=True)
class Section:
    """A part of a page: its identity there, its title, and its content as HTML."""

    id: str
    title: str
    content: str


def document(title: str, sections: Sequence[Section], figures: Sequence[Figure]) -> str:
    """Write a whole page of HTML.

    The first section is what whoever skips the contents wants; ``figures`` are those that stand in
    the sections.
    """
    from plotly.offline import get_plotlyjs

    links = "".join(f'<li><a href="#{s.id}">{escape(s.title)}</a></li>' for s in sections)
    body = "".join(
        f'<section id="{s.id}" aria-labelledby="{s.id}-title"><h2 id="{s.id}-title">'
        f"{escape(s.title)}</h2>{s.content}</section>\n"
        for s in sections
    )
    plots = {figure.id: {"data": figure.data, "layout": figure.layout} for figure in figures}
    scripts = [f"<script>{get_plotlyjs()}</script>"] if figures else []
    return "\n".join([
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(title)}</title>\n<style>{_resource('style.css')}</style>\n</head>",
        f'<body>\n<a class="skip" href="#{sections[0].id}">To the {sections[0].title.lower()}</a>',
        f"<header><h1>{escape(title)}</h1>",
        '<button type="button" id="scheme" hidden>Dark page</button></header>',
        f'<nav aria-label="Contents"><ul>{links}</ul></nav>\n<main>{body}</main>',
        "<noscript><p>The figures need JavaScript; their captions tell the same.</p></noscript>",
        f'<script type="application/json" id="figures">{_json(plots)}</script>',
        *scripts,
        f"<script>{_resource('page.js')}</script>\n</body>\n</html>\n",
    ])  # fmt: skip


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table that can be sorted; titles of columns of numbers begin with ``>``."""
    titles = "".join(
        f'<th scope="col"{_right(title)} aria-sort="none"><button type="button">'
        f"<span>{words(title.removeprefix('>'))}</span>"
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


def escape(text: str) -> str:
    """Write text in which no sign is HTML and no character turns the direction of reading."""
    return escape_signs(printable(shortened(text, LONGEST_MESSAGE)))


def words(text: str) -> str:
    """Write text in which a number stays with its percent sign."""
    return escape(text).replace("95 %", "95&nbsp;%")


def _right(title: str) -> str:
    return ' class="number"' if title.startswith(">") else ""


def figures(found: Sequence[Figure]) -> str:
    """Write the places of figures, with their captions."""
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


def listing(text: str) -> str:
    """Write text in which every character counts."""
    return f'<pre tabindex="0"><code>{escape_signs(printable(text.rstrip()))}</code></pre>'


def _json(values: Any) -> str:
    """Return JSON that no script element can be left from."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _resource(name: str) -> str:
    return importlib.resources.files("headstart.report").joinpath(name).read_text("utf-8")
