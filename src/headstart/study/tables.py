"""The table of a study as text: Markdown, CSV, LaTeX, and rows for a terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from headstart.strategies.builtin import ALIASES
from headstart.study.statistics import Interval, smallest_p
from headstart.study.summary import Comparison, Entry, Group, Overall, Summary

HEAD = (
    "strategy", ">seeds", ">mean ± sd", ">median", ">worst", ">best", ">failed",
    ">difference [95 %]", ">p (Holm)", ">P(better)", ">churn", ">seconds", ">gain/min",
)  # fmt: skip
"""Titles; one that begins with ``>`` is that of numbers."""
SAME_ROWS, UNKNOWN = "*", "-"
LEGEND = (
    "difference: mean over the seeds of both, in points, with its 95 % interval; p: exact or "
    "permutation test of the paired differences, Holm-corrected over the tasks; P(better): "
    "probability that a run beats one of the baseline; churn: rows on which two seeds disagree; "
    "failed: crashed, at chance or of one class; gain/min: points over the untrained model a minute"
)
MARKED = f"{SAME_ROWS} the rows of this score also selected the state or the length: it flatters"


CSV_HEAD = (
    "task", "model", "train_rows", "settings", "strategy", "baseline", "seeds", "mean", "sd",
    "median", "worst", "best", "failed_share", "selected_on_these_rows", "pairs", "difference",
    "low", "high", "p", "p_holm", "probability_of_improvement", "churn", "seconds",
    "gain_per_second",
)  # fmt: skip


def short_name(strategy: str) -> str:
    """Return a strategy's line with its alias, where it has one.

    Args:
        strategy: The canonical line.

    Returns:
        For example ``bitfit > full (eh-ft)``.
    """
    alias = next((name for name, alias in ALIASES.items() if alias.line == strategy), "")
    return f"{strategy} ({alias})" if alias else strategy


def rows(group: Group) -> list[list[str]]:
    """Return the cells of a group.

    Args:
        group: The group.

    Returns:
        One row for each strategy, as ``HEAD`` says.
    """
    return [_row(entry) for entry in group.entries]


def title(group: Group, summary: Summary) -> str:
    """Return the title of a group's table.

    Args:
        group: The group.
        summary: The summary that it stands in.

    Returns:
        One line.
    """
    models = {g.model for g in summary.groups}
    model = f", {group.model}" if len(models) > 1 else ""
    metrics = " + ".join(group.metrics) or "no score yet"
    return f"{group.name}{model}: {metrics} in %, against {short_name(summary.baseline)}"


def overall_rows(overall: Overall) -> list[list[str]]:
    """Return the cells of the comparison over all groups.

    Args:
        overall: The comparison.

    Returns:
        One row for each strategy: name, average rank, seeds, difference, p, P(better).
    """
    made = []
    for name, rank in zip(overall.strategies, overall.ranks, strict=False):
        found = overall.comparisons.get(name)
        made.append([short_name(name), f"{rank:.2f}", *_compared(found)])
    return made


OVERALL_HEAD = (
    "strategy", ">average rank", ">seeds", ">difference [95 %]", ">p", ">P(better)",
)  # fmt: skip


def notes(summary: Summary) -> Iterator[str]:
    """Say what a reader of the table has to know.

    Args:
        summary: The summary.

    Yields:
        Sentences.
    """
    yield LEGEND
    entries = [entry for group in summary.groups for entry in group.entries]
    if any(entry.same_rows for entry in entries):
        yield MARKED
    pairs = [e.comparison.seeds for e in entries if e.comparison]
    if pairs and smallest_p(min(pairs)) > 0.05:
        yield (
            f"with {min(pairs)} pairs of seeds p cannot be below {smallest_p(min(pairs)):.3g}: "
            "no difference can be called significant, however large; 6 pairs or more can"
        )
    overall = summary.overall
    if overall and overall.critical_difference is not None:
        yield (
            f"average ranks that differ by less than {overall.critical_difference:.2f} (Nemenyi, "
            f"{len(summary.groups)} tasks) may do so by chance"
        )


def as_text(summary: Summary, form: str) -> str:
    """Write the tables of a study.

    Args:
        summary: The summary.
        form: ``md``, ``csv`` or ``latex``.

    Returns:
        The text, with a line break at its end.
    """
    return {"md": _markdown, "csv": _csv, "latex": _latex}[form](summary)


def _row(entry: Entry) -> list[str]:
    found, mark = entry.scores, SAME_ROWS if entry.same_rows else ""
    if found is None:
        return [short_name(entry.strategy), "0", *[UNKNOWN] * 4, f"{entry.failed_share:.0%}",
                *[UNKNOWN] * 6]  # fmt: skip
    spread = "" if found.sd is None else f" ± {100 * found.sd:.1f}"
    points = [f"{100 * value:.1f}{mark}" for value in (found.median, found.worst, found.best)]
    _, difference, p, better = _compared(entry.comparison, adjusted=True)
    return [
        short_name(entry.strategy), str(found.n), f"{100 * found.mean:.1f}{mark}{spread}", *points,
        f"{entry.failed_share:.0%}", difference, p, better,
        UNKNOWN if entry.churn is None else f"{entry.churn:.1%}",
        UNKNOWN if entry.seconds is None else f"{entry.seconds:.1f}",
        UNKNOWN if entry.gain_per_second is None else f"{6000 * entry.gain_per_second:.1f}",
    ]  # fmt: skip


def _compared(found: Comparison | None, *, adjusted: bool = False) -> list[str]:
    """Return the cells of a comparison: seeds, difference, p, P(better)."""
    if found is None:
        return [UNKNOWN] * 4
    p = found.adjusted if adjusted else (found.test.p if found.test else None)
    better = found.improvement
    return [
        str(found.seeds),
        show_interval(found.difference, factor=100),
        UNKNOWN if p is None else ("< 0.001" if p < 0.001 else f"{p:.3f}"),
        UNKNOWN if better is None else f"{better.estimate:.0%}",
    ]


def show_interval(interval: Interval, factor: float = 1) -> str:
    """Write a difference with its interval.

    Args:
        interval: The interval.
        factor: What its numbers are multiplied by.

    Returns:
        For example ``+1.2 [-0.1, 2.5]``.
    """
    text = f"{factor * interval.estimate:+.1f}"
    if interval.low is None or interval.high is None:
        return text
    return f"{text} [{factor * interval.low:.1f}, {factor * interval.high:.1f}]"


def _markdown(summary: Summary) -> str:
    lines: list[str] = []
    for name, head, cells in _tables(summary):
        lines += [f"**{_escape(name, '|*_<')}**", "", _line([h.removeprefix(">") for h in head]),
                  _line(["--:" if h.startswith(">") else "---" for h in head])]  # fmt: skip
        lines += [_line([_escape(cell, "|<") for cell in row]) for row in cells]
        lines.append("")
    return "\n".join([*lines, *(f"- {_escape(note, '<')}" for note in notes(summary))]) + "\n"


def _csv(summary: Summary) -> str:
    """Write numbers as they are, one row for each group and strategy."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(CSV_HEAD)
    for group in summary.groups:
        for e in group.entries:
            d, c = e.scores, e.comparison
            described = [d.n, d.mean, d.sd, d.median, d.worst, d.best] if d else [0, *[None] * 5]
            compared: list[float | None] = [None] * 7
            if c:
                compared = [
                    c.seeds, c.difference.estimate, c.difference.low, c.difference.high,
                    c.test.p if c.test else None, c.adjusted,
                    c.improvement.estimate if c.improvement else None,
                ]  # fmt: skip
            extra = ";".join(f"{k}={v}" for k, v in group.settings.items())
            writer.writerow([
                group.task, group.model, group.train_rows, extra, e.strategy, summary.baseline,
                *described, e.failed_share, e.same_rows, *compared, e.churn, e.seconds,
                e.gain_per_second,
            ])  # fmt: skip
    return made.getvalue()


def _latex(summary: Summary) -> str:
    lines: list[str] = []
    for name, head, cells in _tables(summary):
        columns = "".join("r" if h.startswith(">") else "l" for h in head)
        titles = [_tex(h.removeprefix(">")) for h in head]
        lines += [f"% {name}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule",
                  " & ".join(titles) + r" \\", r"\midrule"]  # fmt: skip
        lines += [" & ".join(map(_tex, row)) + r" \\" for row in cells]
        lines += [r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join([*lines, *(f"% {note}" for note in notes(summary))]) + "\n"


def _tables(summary: Summary) -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    for group in summary.groups:
        yield title(group, summary), HEAD, rows(group)
    if summary.overall and summary.overall.ranks:
        yield "all tasks together, in points", OVERALL_HEAD, overall_rows(summary.overall)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(text: str, signs: str) -> str:
    return "".join(f"\\{sign}" if sign in signs else sign for sign in text.replace("\n", " "))


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    ">": r"\textgreater{}", "<": r"\textless{}", "±": r"$\pm$",
}  # fmt: skip


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in text.replace("\n", " "))
