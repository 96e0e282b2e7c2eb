"""The page of an analysis, in the look of a study's report."""

from __future__ import annotations

from collections.abc import Sequence

from headstart.analysis._base import Findings
from headstart.report.document import Section, document, escape, figures, listing, table, words


def page(title: str, findings: Findings, command: str, notes: Sequence[str] = ()) -> str:
    """Write the page: HTML, whole in one file, with the command that repeats it."""
    first, *others = findings.sentences or ["Nothing has ended yet."]
    told = "".join(f"<li>{words(text)}</li>" for text in others)
    warned = "".join(f"<li>{escape(text)}</li>" for text in notes)
    answer = f'<p class="answer"><strong>{words(first)}</strong></p>'
    answer += f"<ul>{told}</ul>" if told else ""
    answer += f'<ul class="cautions">{warned}</ul>' if warned else ""
    sections = [Section("answer", "Answer", answer)]
    if findings.figures:
        sections.append(Section("drawn", "Figures", figures(findings.figures)))
    if findings.tables:
        tables = "".join(table(t.caption, t.head, t.rows) for t in findings.tables)
        sections.append(Section("tables", "Tables", tables))
    sections.append(Section("repeat", "To repeat it", listing(command)))
    return document(title, sections, findings.figures)
