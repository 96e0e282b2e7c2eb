"""The report of a study: one page of HTML that holds all it needs and asks nothing of a network."""

from __future__ import annotations

from headstart.report import curves, figures, repeat
from headstart.report.answer import answer
from headstart.report.document import Section, document, escape, listing, table, words
from headstart.report.document import figures as figures_html
from headstart.report.figures import Figure
from headstart.report.read import Evidence
from headstart.study.outcome import tables
from headstart.study.outcome.tables import short_name

MOST_FAILURES = 200
CORRECTED = (
    "the p of the answer is corrected over the strategies, those in the tables over the tables"
)


def build(evidence: Evidence) -> str:
    """Write the report."""
    sections, drawn = _sections(evidence)
    return document(_title(evidence), sections, drawn)


def _title(evidence: Evidence) -> str:
    names = dict.fromkeys(group.task for group in evidence.summary.groups)
    shown = ", ".join([*names][:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"Study of {shown}" if names else "Study"


def _sections(evidence: Evidence) -> tuple[list[Section], list[Figure]]:
    """Return the sections and the figures in them."""
    summary = evidence.summary
    drawn: list[Figure] = []
    sections = [Section("answer", "Answer", _answer(evidence))]
    if summary.groups:
        sections.append(Section("tables", "Scores and tests", _tables(evidence)))
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
            sections.append(Section(name, title, f"<p>{escape(told)}</p>{figures_html(shown)}"))
    if summary.failures or summary.damaged:
        sections.append(Section("failures", "Failed runs and damaged results", _failures(evidence)))
    sections.append(Section("repeat", "To repeat it", _repeat(evidence)))
    return sections, drawn


def _answer(evidence: Evidence) -> str:
    summary = evidence.summary
    found = answer(summary)
    cautions = "".join(f"<li>{escape(text)}</li>" for text in found.cautions)
    listed = f'<ul class="cautions">{cautions}</ul>' if cautions else ""
    of = f" of {summary.planned:,}" if summary.planned else ""
    return (
        f'<p class="answer"><strong>{words(found.best)}</strong> {words(found.sure)}</p>{listed}'
        f'<p class="small">{summary.finished:,}{of} runs finished, '
        f"{len(summary.failures):,} failed. Folder: <code>{escape(evidence.address)}</code></p>"
    )


def _tables(evidence: Evidence) -> str:
    summary = evidence.summary
    parts = [
        table(tables.title(group, summary), tables.HEAD, tables.rows(group))
        for group in summary.groups
    ]
    if summary.overall and summary.overall.ranks:
        rows = tables.overall_rows(summary.overall)
        parts.append(table(tables.overall_title(summary), tables.OVERALL_HEAD, rows))
    notes = [*tables.legend(), *tables.notes(summary), CORRECTED]
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'{"".join(parts)}<ul class="small">{listed}</ul>'


def _failures(evidence: Evidence) -> str:
    summary = evidence.summary
    shown = summary.failures[:MOST_FAILURES]
    extra = {name: None for f in shown for name in f["axes"]} if shown else {}
    models = {group.model for group in summary.groups}
    # The path of the only model would push the reason off a telephone.
    names = [n for n in extra if n != "strategy" and (n != "model" or len(models) > 1)]
    head = ("strategy", *names, "reason")
    rows = [
        [short_name(f["axes"]["strategy"]),
         *("all" if (v := f["axes"].get(n)) is None else str(v) for n in names),
         str(f.get("error") or "no reason is known")]
        for f in shown
    ]  # fmt: skip
    parts = [table("failed runs", [h.replace("_", " ") for h in head], rows)] if rows else []
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
        parts.append(f"<p>With this file as <code>{repeat.FILE}</code>:</p>{listing(text)}")
        parts.append(f"<p>run:</p>{listing(repeat.command(evidence))}")
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
