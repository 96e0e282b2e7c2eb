"""The table of a study as a file: plain text, Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from headstart.study.outcome.summary import Summary
from headstart.study.outcome.tables import (
    CSV_HEAD,
    HEAD,
    OVERALL_HEAD,
    legend,
    notes,
    overall_rows,
    overall_title,
    records,
    rows,
    title,
)
from headstart.untrusted import markdown as markdown_text
from headstart.untrusted import one_line

FORMATS = ("text", "md", "csv", "latex")


def as_text(summary: Summary, form: str) -> str:
    """Write the tables of a study."""
    writers = (_text, _markdown, _csv, _latex)
    return dict(zip(FORMATS, writers, strict=True))[form](summary)


def markdown(summary: Summary, head: Sequence[str] = HEAD) -> list[str]:
    """Write the tables of a study in Markdown, without notes."""
    lines: list[str] = []
    for name, titles, cells in _tables(summary, head):
        lines += [f"**{markdown_text(name)}**", "", _line([h.removeprefix(">") for h in titles]),
                  _line(["--:" if h.startswith(">") else "---" for h in titles])]  # fmt: skip
        lines += [_line([markdown_text(cell, "|<*") for cell in row]) for row in cells]
        lines.append("")
    return lines


def _markdown(summary: Summary) -> str:
    notes_of_it = (f"- {markdown_text(note, '<*')}" for note in _footnotes(summary))
    return "\n".join([*markdown(summary), *notes_of_it]) + "\n"


def _csv(summary: Summary) -> str:
    """Write numbers as they are, one row for each group and strategy."""
    made = io.StringIO()
    writer = csv.DictWriter(made, CSV_HEAD, lineterminator="\n")
    writer.writeheader()
    for row in records(summary):
        extra = ";".join(f"{k}={v}" for k, v in row["settings"].items())
        writer.writerow({**row, "settings": extra})
    return made.getvalue()


def _text(summary: Summary) -> str:
    lines: list[str] = []
    for name, head, raw in _tables(summary):
        cells = [[one_line(cell) for cell in row] for row in raw]
        rows_of_it = [[h.removeprefix(">") for h in head], *cells]
        columns = [
            [f"{cell:>{width}}" if h.startswith(">") else f"{cell:<{width}}" for cell in column]
            for h, column in zip(head, zip(*rows_of_it, strict=True), strict=True)
            for width in [max(map(len, column))]
        ]
        lines.append(one_line(name))
        lines += ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]
        lines.append("")
    return "\n".join([*lines, *map(one_line, _footnotes(summary))]) + "\n"


def _latex(summary: Summary) -> str:
    lines: list[str] = []
    for name, head, cells in _tables(summary):
        columns = "".join("r" if h.startswith(">") else "l" for h in head)
        titles = [_tex(h.removeprefix(">")) for h in head]
        lines += [f"% {one_line(name)}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule",
                  " & ".join(titles) + r" \\", r"\midrule"]  # fmt: skip
        lines += [" & ".join(map(_tex, row)) + r" \\" for row in cells]
        lines += [r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join([*lines, *(f"% {one_line(note)}" for note in _footnotes(summary))]) + "\n"


def _tables(
    summary: Summary, head: Sequence[str] = HEAD
) -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    places = [HEAD.index(name) for name in head]
    for group in summary.groups:
        yield title(group, summary), head, [[row[i] for i in places] for row in rows(group)]
    if summary.overall and summary.overall.ranks:
        yield overall_title(summary), OVERALL_HEAD, overall_rows(summary.overall)


def _footnotes(summary: Summary) -> list[str]:
    return ["; ".join(legend()), *notes(summary)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    ">": r"\textgreater{}", "<": r"\textless{}", "±": r"$\pm$",
}  # fmt: skip


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in one_line(text))
