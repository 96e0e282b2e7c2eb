"""The answer of a study in two sentences: which strategy, and how sure one can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from headstart.study.outcome.comparison import Comparison, Found, corrected
from headstart.study.outcome.statistics import smallest_p
from headstart.study.outcome.summary import Summary, compare_over_groups
from headstart.study.outcome.tables import (
    FEWEST_PAIRS,
    SAME_ROWS,
    errors_note,
    short_name,
    show_interval,
)

ALPHA = 0.05


@dataclass(frozen=True)
class Answer:
    """The conclusion of a study: which strategy is best, how sure that is, and cautions."""

    best: str
    sure: str
    cautions: list[str] = field(default_factory=list)


def answer(summary: Summary) -> Answer:
    """Write the conclusion of a study."""
    cautions = _cautions(summary)
    if not summary.finished:
        return Answer(*_nothing(summary), cautions)
    tables = [{e.strategy: e for e in group.entries if e.scores} for group in summary.groups]
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    if summary.baseline not in shared:
        best = f"{short_name(summary.baseline)}, the baseline, has not finished on every task yet."
        return Answer(best, "Nothing can be compared with it so far.", cautions)
    others = [name for name in shared if name != summary.baseline]
    pairs = {name: compare_over_groups(summary.groups, name, summary.baseline) for name in others}
    known = {name: found for name, found in pairs.items() if found}
    if not known:
        so_far = "" if _ended(summary) == summary.planned else " so far"
        best = f"Only {short_name(summary.baseline)} has finished{so_far}."
        cautions += _unshared(summary, {summary.baseline})
        return Answer(best, "There is no other strategy to compare it with.", cautions)
    found = sorted(corrected(known), key=lambda each: -each.comparison.difference.estimate)
    cautions += _unshared(summary, set(known) | {summary.baseline})
    if len(tables) > 1:
        count = f"{len(tables)} comparisons"
        cautions.append(f"The answer is about the mean over the {count}; each has its own table.")
    return Answer(*_verdict(summary, found), cautions)


def show_p(p: float) -> str:
    """Write a p-value with its sign. For example ``p = 0.031`` or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _nothing(summary: Summary) -> tuple[str, str]:
    failed, planned = len(summary.failures), summary.planned
    of = f" of {planned}" if planned else ""
    told = f"; {_count(failed, 'run')} failed" if failed else ""
    fix = "Mend what failed first." if failed else "Wait for the first runs to finish."
    return f"No run{of} has finished{told}.", f"Nothing can be told about the strategies. {fix}"


def _verdict(summary: Summary, found: Sequence[Found]) -> tuple[str, str]:
    top, base = found[0], short_name(summary.baseline)
    name, seeds = short_name(top.name), top.comparison.seeds
    estimate, size = top.comparison.difference.estimate, show_size(top.comparison)
    if seeds < FEWEST_PAIRS:
        best = f"It cannot be told yet which strategy is best: {_closest(top, base)} {size}."
        return best, _too_few(top.comparison)
    if top.p is not None and top.p < ALPHA and estimate > 0:
        best = f"{name} scores highest on this data: better than {base} {size}."
        return best, _sure_of_win(summary, found)
    if top.p is not None and top.p < ALPHA:
        best = f"{base}, the baseline, scores highest on this data: {_closest(top, base)} {size}."
        unsure = sum(each.p is None or each.p >= ALPHA for each in found)
        told = f"That is unlikely to be chance ({show_p(top.p)}{_tests(len(found))})"
        return best, f"{told}{f'; of {unsure} others it cannot be said' if unsure else ''}."
    best = f"No strategy is shown to be better than {base}: {_closest(top, base)} {size}."
    p = f"{show_p(top.p)}{_tests(len(found))}" if top.p is not None else "there is no test"
    return (
        best,
        f"This may well be chance ({p}), and is no proof that they are equal; {_more(top)}.",
    )


def _closest(top: Found, base: str) -> str:
    estimate, name = top.comparison.difference.estimate, short_name(top.name)
    if not estimate:
        return f"{name} scores the same as {base}"
    return f"{name} scores {'higher' if estimate > 0 else 'lower'} than {base}"


def show_size(found: Comparison) -> str:
    """Write a difference in words, with its interval and the number of seeds.

    For example ``(+1.2 points, 95 % interval 0.3 to 2.1, 8 seeds)``.
    """
    text = show_interval(found.difference)
    number, _, interval = text.partition(" ")
    told = f"95 % interval {interval.strip('[]').replace(', ', ' to ')}, " if interval else ""
    mark = SAME_ROWS if found.same_rows else ""
    return f"({number}{mark} points, {told}{_count(found.seeds, 'seed')})"


def _too_few(found: Comparison) -> str:
    if found.seeds < 2:
        return (
            "With one seed, chance and a real difference look alike; "
            f"at least {FEWEST_PAIRS} seeds are needed."
        )
    least = f"{smallest_p(found.seeds):.3f}".rstrip("0")
    needed = max(found.seeds_needed or FEWEST_PAIRS, FEWEST_PAIRS)
    sized = f"; about {needed} would show a difference of this size (power 0.8)"
    return (
        f"With {found.seeds} seeds p cannot be below {least}, however large the difference: "
        f"at least {FEWEST_PAIRS} seeds are needed{sized if needed > FEWEST_PAIRS else ''}."
    )


def _sure_of_win(summary: Summary, found: Sequence[Found]) -> str:
    top = found[0]
    told = f"That is unlikely to be chance ({show_p(top.p or 0)}{_tests(len(found))})"
    if len(found) < 2 or found[1].comparison.difference.estimate <= 0:
        return f"{told}."
    rival = compare_over_groups(summary.groups, top.name, found[1].name)
    if rival is None or rival.p is None:
        return f"{told}; it was not compared with the next best."
    apart = "can also be told from" if rival.p < ALPHA else "cannot be told from"
    next_best = short_name(found[1].name)
    return f"{told}; it {apart} the next best, {next_best} ({show_p(rival.p)}, uncorrected)."


def _tests(count: int) -> str:
    return f" after Holm's correction over {count} strategies" if count > 1 else ""


def _more(top: Found) -> str:
    needed = top.comparison.seeds_needed
    if not needed:
        return "the seeds do not say how many more would be needed"
    if needed <= top.comparison.seeds:
        return f"a few more seeds than {top.comparison.seeds} may show it"
    return f"to show a difference of this size, about {needed:,} seeds are needed (power 0.8)"


def _cautions(summary: Summary) -> list[str]:
    told = []
    if (ended := _ended(summary)) < summary.planned:
        told.append(f"{summary.planned - ended} of {summary.planned} runs have not ended yet.")
    if summary.failures and summary.finished:
        told.append(f"{_count(len(summary.failures), 'run')} failed, part of no mean.")
    runs = [r for g in summary.groups for e in g.entries for r in e.runs.values()]
    collapsed = sum(run.collapsed for run in runs)
    if collapsed:
        told.append(f"{_count(collapsed, 'finished run')} ended at chance or in one class.")
    if any(run.same_rows for run in runs):
        told.append("Numbers with * rest on rows that also selected: they flatter.")
    if errors := errors_note(name for group in summary.groups for name in group.metrics):
        told.append(f"{errors}.")
    return told


def _ended(summary: Summary) -> int:
    return summary.finished + len(summary.failures)


def _unshared(summary: Summary, compared: set[str]) -> list[str]:
    names = {e.strategy: None for g in summary.groups for e in g.entries}
    left = [short_name(name) for name in names if name not in compared]
    if not left:
        return []
    return [f"Left out of the answer, as not finished on every task: {', '.join(left)}."]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
