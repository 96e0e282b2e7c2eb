"""The table of a study: titles, cells, numbers, and what a reader has to know of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from headstart.strategies.builtin import ALIASES
from headstart.study.outcome.comparison import Comparison
from headstart.study.outcome.power import detectable_difference, seeds_needed
from headstart.study.outcome.statistics import Interval, smallest_p
from headstart.study.outcome.summary import Entry, Group, Overall, Summary
from headstart.tasks.metrics import METRICS, is_share, score_name

HEAD = (
    "strategy", ">seeds", ">mean ± sd", ">median", ">worst", ">best", ">failed",
    ">difference [95 %]", ">p (Holm)", ">P(better)", ">needs", ">churn", ">seconds", ">gain/min",
)  # fmt: skip
"""Titles; one that begins with ``>`` is that of numbers."""
SAME_ROWS, UNKNOWN = "*", "-"
LEGEND = {
    ">failed": "failed: crashed, at chance or of one class",
    ">difference [95 %]": "difference: mean over the seeds of both, in points, with its 95 % "
    "interval",
    ">p (Holm)": "p: exact or permutation test of the paired differences, Holm-corrected over the "
    "tables",
    ">P(better)": "P(better): probability that a run beats one of the baseline",
    ">needs": "needs: pairs of seeds that show a difference of this size in 4 of 5 studies",
    ">churn": "churn: rows, or words with a tag each, on which two seeds disagree",
    ">gain/min": "gain/min: points over the untrained model a minute",
}
MARKED = (
    f"{SAME_ROWS} rests on scores of rows that also selected the state or the length, which "
    "flatters them; --selection carve keeps the two apart"
)
FEWEST_PAIRS = 6
"""Pairs of seeds below which no p is under 0.05, however large the difference."""


COMPARED = (
    "pairs", "difference", "low", "high", "p", "p_holm", "probability_of_improvement",
    "seeds_needed", "compared_on_rows_that_selected",
)  # fmt: skip
CSV_HEAD = (
    "task", "model", "train_rows", "settings", "strategy", "baseline", "seeds", "mean", "sd",
    "median", "worst", "best", "failed_share", "selected_on_these_rows", *COMPARED, "churn",
    "seconds", "gain_per_second",
)  # fmt: skip


def short_name(strategy: str) -> str:
    """Return a strategy's line with its alias, where it has one.

    For example ``bitfit > full (eh-ft)``.
    """
    alias = next((name for name, alias in ALIASES.items() if alias.line == strategy), "")
    return f"{strategy} ({alias})" if alias else strategy


def rows(group: Group) -> list[list[str]]:
    """Return the cells of a group, a row for each strategy, as ``HEAD`` says."""
    return [_row(entry) for entry in group.entries]


def title(group: Group, summary: Summary) -> str:
    """Return the title of a group's table."""
    models = {g.model for g in summary.groups}
    model = f", {group.model}" if len(models) > 1 else ""
    scale = score_scale(group.metrics) if group.metrics else "no score yet"
    return f"{group.name}{model}: {scale}, against {short_name(summary.baseline)}"


def score_scale(metrics: Sequence[str]) -> str:
    """Write what a score is, in the scale in which tables and figures show it.

    For example ``accuracy in %``, or ``-log_loss × 100 (higher is better)``.
    """
    if is_share(metrics):
        return f"{score_name(metrics) or 'score'} in %"
    mean = (
        f"mean of {', '.join(score_name([name]) for name in metrics)}," if len(metrics) > 1 else ""
    )
    return f"{mean or score_name(metrics)} × 100 (higher is better)"


def errors_note(metrics: Iterable[str]) -> str:
    """Write how errors count in a score, without a full stop; empty without any."""
    errors = [n for n in dict.fromkeys(metrics) if n in METRICS and METRICS[n].lower_is_better]
    if not errors:
        return ""
    return (
        f"{' and '.join(errors)}: lower is better; in a score it counts as negative, so that a "
        "higher score is better, and a point is a hundredth of its unit"
    )


def overall_title(summary: Summary) -> str:
    """Return the title of the table over all groups."""
    return f"All {'tasks' if _own_tasks(summary) else 'tables'} together, in points"


def _own_tasks(summary: Summary) -> bool:
    """Return whether no two groups are of one task."""
    return len({group.task for group in summary.groups}) == len(summary.groups)


def overall_rows(overall: Overall) -> list[list[str]]:
    """Return the cells of the comparison over all groups, as ``OVERALL_HEAD`` says."""
    mark = SAME_ROWS if overall.same_rows else ""
    made = []
    for name, rank in zip(overall.strategies, overall.ranks, strict=False):
        found = overall.comparisons.get(name)
        made.append([short_name(name), f"{rank:.2f}{mark}", *_compared(found)])
    return made


OVERALL_HEAD = (
    "strategy", ">average rank", ">seeds", ">difference [95 %]", ">p", ">P(better)", ">needs",
)  # fmt: skip


def needed(found: Comparison) -> int | None:
    """Return how many pairs of seeds show a difference of the size that was found.

    They are those for a power of 0.8, but not fewer than can show any difference; ``None`` where
    that is unknown.
    """
    return None if found.seeds_needed is None else max(FEWEST_PAIRS, found.seeds_needed)


def legend(head: Iterable[str] = HEAD) -> list[str]:
    """Explain the columns of these titles, where the title does not tell."""
    return [LEGEND[title] for title in head if title in LEGEND]


def notes(summary: Summary) -> Iterator[str]:
    """Write the notes below the table."""
    entries = [entry for group in summary.groups for entry in group.entries]
    if any(entry.same_rows for entry in entries):
        yield MARKED
    errors = errors_note(name for group in summary.groups for name in group.metrics)
    if errors:
        yield errors
    yield from _run_notes(entries)
    found = [e.comparison for e in entries if e.comparison]
    fewest = min((comparison.seeds for comparison in found), default=0)
    if fewest and smallest_p(fewest) > 0.05:
        pairs = "1 pair" if fewest == 1 else f"{fewest} pairs"
        yield (
            f"with {pairs} of seeds p cannot be below {smallest_p(fewest):.3g}: no "
            f"difference can be called significant, however large; {FEWEST_PAIRS} pairs or "
            "more can"
        )
    yield from _power_note(found)
    overall = summary.overall
    if overall and overall.friedman:
        told = overall.friedman
        f = f", F = {told.f:.2f}, p = {_p(told.f_p)}" if told.f is not None else ""
        yield (
            f"that all strategies are alike: chi-square = {told.chi_square:.2f}, "
            f"p = {_p(told.chi_square_p)}{f} (Friedman; Iman and Davenport)"
        ).replace("p = <", "p <")
    if overall and overall.critical_difference is not None:
        count, own = len(summary.groups), _own_tasks(summary)
        caution = "" if own else "; those of one task are not independent, so it may take more"
        yield (
            f"average ranks that differ by less than {overall.critical_difference:.2f} may do so "
            f"by chance (Nemenyi, {count} {'tasks' if own else 'tables'}{caution})"
        )


def _run_notes(entries: Sequence[Entry]) -> Iterator[str]:
    """Write notes on runs whose scores do not tell the whole story."""
    for name in dict.fromkeys(entry.strategy for entry in entries):
        runs = [run for e in entries if e.strategy == name for run in e.runs.values()]
        fresh = sum(run.fresh for run in runs)
        if fresh:
            yield (
                f"{short_name(name)}: in {fresh:,} of {len(runs):,} runs a stage learned nothing, "
                "and the next one began with a fresh head; give it more epochs or rows"
            )
    runs = [run for entry in entries for run in entry.runs.values()]
    found = [run.temperature for run in runs if run.temperature is not None]
    if found:
        yield (
            f"{len(found):,} of {len(runs):,} runs were calibrated: their logits were divided by "
            f"{_range(found, '.2f')}, which changes probabilities, not predictions"
        )


def _power_note(found: Sequence[Comparison]) -> Iterator[str]:
    """Write which differences the seeds can show, and how many a single point takes."""
    known = [(c.seeds, c.spread) for c in found if c.spread]
    if not known:
        return
    shown = [100 * detectable_difference(n, spread) for n, spread in known]
    # Of errors in a large unit a point is too little for any number of seeds.
    needed = [needed for _, spread in known if (needed := seeds_needed(0.01, spread))]
    takes = _range([max(FEWEST_PAIRS, n) for n in needed], ",") if needed else ""
    pairs = _range([n for n, _ in known], ",")
    yield (
        f"at the spread seen here, {pairs} pairs of seeds show differences from "
        f"{_range(shown, '.1f')} points up in 4 of 5 studies"
        f"{f'; one point takes {takes}' if takes else ''}"
    )


def _range(values: Sequence[float], form: str) -> str:
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return low if low == high else f"{low} to {high}"


def records(summary: Summary) -> list[dict[str, Any]]:
    """Return the numbers of the tables by the names of ``CSV_HEAD``, group by group."""
    return [
        {
            "task": group.task, "model": group.model, "train_rows": group.train_rows,
            "settings": dict(group.settings), "strategy": entry.strategy,
            "baseline": summary.baseline, **_described(entry), **_numbers(entry.comparison),
        }
        for group in summary.groups
        for entry in group.entries
    ]  # fmt: skip


def _described(entry: Entry) -> dict[str, Any]:
    found = entry.scores
    names = ("mean", "sd", "median", "worst", "best")
    return {
        "seeds": found.n if found else 0, **{name: getattr(found, name, None) for name in names},
        "failed_share": entry.failed_share, "selected_on_these_rows": entry.same_rows,
        "churn": entry.churn, "seconds": entry.seconds, "gain_per_second": entry.gain_per_second,
    }  # fmt: skip


def _numbers(found: Comparison | None) -> dict[str, Any]:
    if found is None:
        return dict.fromkeys(COMPARED)
    better = found.improvement
    values = (
        found.seeds, found.difference.estimate, found.difference.low, found.difference.high,
        found.p, found.adjusted, better.estimate if better else None,
        needed(found), found.same_rows,
    )  # fmt: skip
    return dict(zip(COMPARED, values, strict=True))


def _row(entry: Entry) -> list[str]:
    found, mark = entry.scores, SAME_ROWS if entry.same_rows else ""
    if found is None:
        return [short_name(entry.strategy), "0", *[UNKNOWN] * 4, f"{entry.failed_share:.0%}",
                *[UNKNOWN] * 7]  # fmt: skip
    spread = "" if found.sd is None else f" ± {100 * found.sd:.1f}"
    points = [f"{100 * value:.1f}{mark}" for value in (found.median, found.worst, found.best)]
    gain = entry.gain_per_second
    _, *compared = _compared(entry.comparison, adjusted=True)
    return [
        short_name(entry.strategy), str(found.n), f"{100 * found.mean:.1f}{mark}{spread}", *points,
        f"{entry.failed_share:.0%}", *compared,
        UNKNOWN if entry.churn is None else f"{entry.churn:.1%}",
        UNKNOWN if entry.seconds is None else f"{entry.seconds:.1f}",
        UNKNOWN if gain is None else f"{6000 * gain:.1f}{mark}",
    ]  # fmt: skip


def _compared(found: Comparison | None, *, adjusted: bool = False) -> list[str]:
    """Return the cells of a comparison: seeds, difference, p, P(better), seeds needed."""
    if found is None:
        return [UNKNOWN] * 5
    p = found.adjusted if adjusted else found.p
    better, needs = found.improvement, needed(found)
    mark = SAME_ROWS if found.same_rows else ""
    return [
        str(found.seeds),
        f"{show_interval(found.difference)}{mark}",
        UNKNOWN if p is None else f"{_p(p)}{mark}",
        UNKNOWN if better is None else f"{better.estimate:.0%}{mark}",
        UNKNOWN if needs is None else f"{needs:,}{mark}",
    ]


def _p(p: float | None) -> str:
    return UNKNOWN if p is None else ("< 0.001" if p < 0.001 else f"{p:.3f}")


def show_interval(interval: Interval) -> str:
    """Write a difference in points with its interval. For example ``+1.2 [-0.1, 2.5]``."""
    text = f"{100 * interval.estimate:+.1f}"
    if interval.low is None or interval.high is None:
        return text
    return f"{text} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
