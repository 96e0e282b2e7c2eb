"""Paired differences between sides of an analysis, and what they amount to in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headstart.analysis._base import Side
from headstart.report.answer import ALPHA, show_p, show_size
from headstart.report.read import Run
from headstart.study.outcome.comparison import Comparison, Found, compare, corrected
from headstart.study.outcome.statistics import smallest_p

Value = Callable[[Run], float]


def score(run: Run) -> float:
    """Return the score, at most 1, of the state that a run has saved."""
    return run.result.scores["score"]


@dataclass(frozen=True)
class Pair:
    """Two sides that are compared, paired by seed."""

    name: str
    ours: Side
    theirs: Side


def differences(pairs: Sequence[Pair], value: Value = score) -> list[Found]:
    """Compare pairs of sides that have a seed in common, and correct for their number."""
    made = {}
    for pair in pairs:
        both = sorted(pair.ours.runs.keys() & pair.theirs.runs.keys())
        ours, theirs = ([value(s.runs[k]) for k in both] for s in (pair.ours, pair.theirs))
        comparison = compare(ours, theirs)
        if comparison is not None:
            made[pair.name] = comparison
    return corrected(made)


def against(sides: Sequence[Side], theirs: Side, value: Value = score) -> list[Found]:
    """Compare sides with another one."""
    return differences([Pair(s.variant.name, s, theirs) for s in sides], value)


@dataclass(frozen=True)
class Verdict:
    """A conclusion in words, without a full stop, and whether some difference is certain."""

    text: str
    certain: bool


def verdict(found: Sequence[Found], higher: str, lower: str) -> Verdict:
    """Describe which differences of one family of comparisons are certain.

    A difference is certain if its interval leaves out 0 and its corrected p is below 0.05.
    ``higher`` and ``lower`` are what a side does that has the higher or the lower value, for
    example ``scores higher than full``.
    """
    if not found:
        return Verdict("nothing can be compared yet", certain=False)

    def told(each: Found) -> str:
        estimate = each.comparison.difference.estimate
        does = higher if estimate > 0 else lower if estimate < 0 else "is level"
        return f"{each.name} {does} {show_size(each.comparison)}"

    certain = [each for each in found if _is_certain(each.comparison)]
    if certain:
        parts = [f"{told(e)}, {show_p(e.comparison.adjusted or 0)}" for e in certain]
        left = len(found) - len(certain)
        others = f"; of {left} other{'s' * (left > 1)} no difference is certain" if left else ""
        return Verdict(f"{'; '.join(parts)}{_corrected(found)}{others}", certain=True)
    top = max(found, key=lambda each: abs(each.comparison.difference.estimate))
    if top.comparison.difference.low is None:
        why = "with one seed, chance and a real difference look alike"
        return Verdict(f"no difference is certain: {why}; {told(top)}", certain=False)
    apart = [each for each in found if _leaves_out_0(each.comparison)]
    if not apart:
        what = "each 95 % interval holds" if len(found) > 1 else "its 95 % interval holds"
        return Verdict(
            f"no difference is certain, as {what} 0; {_largest(found)}{told(top)}", certain=False
        )
    clearest = min(apart, key=lambda each: each.comparison.adjusted or 0)
    p = show_p(clearest.comparison.adjusted or 0)
    return Verdict(
        f"no difference is certain: {told(clearest)}, but {p}{_corrected(found)}"
        f"{_least(found)}", certain=False,
    )  # fmt: skip


def _is_certain(found: Comparison) -> bool:
    return found.adjusted is not None and found.adjusted < ALPHA and _leaves_out_0(found)


def _leaves_out_0(found: Comparison) -> bool:
    low, high = found.difference.low, found.difference.high
    return low is not None and high is not None and not low <= 0 <= high


def _largest(found: Sequence[Found]) -> str:
    return "largest: " if len(found) > 1 else ""


def _corrected(found: Sequence[Found]) -> str:
    return f" after Holm's correction over {len(found)} comparisons" if len(found) > 1 else ""


def _least(found: Sequence[Found]) -> str:
    """Write how many seeds p needs to fall below 0.05, where those at hand are too few."""
    seeds, count = max(each.comparison.seeds for each in found), len(found)
    if count * smallest_p(seeds) < ALPHA:
        return ""
    return f"; {seeds} seeds cannot make it smaller than 0.05, {seeds_for(count)} can"


def seeds_for(comparisons: int) -> int:
    """Return how many seeds it takes for a corrected p below 0.05 to be possible."""
    seeds = 2
    while comparisons * smallest_p(seeds) >= ALPHA:
        seeds += 1
    return seeds


def answers(told: Mapping[str, Sequence[Verdict]], sentences: Sequence[str]) -> list[str]:
    """Prepend a sentence about all cases to those about each, where there are several.

    ``told`` are verdicts by the name of the case; the first sentence answers the question.
    """
    if len(told) < 2:
        return list(sentences)
    certain = [name for name, found in told.items() if any(v.certain for v in found)]
    if not certain:
        return [f"No difference is certain in any of {len(told)} cases.", *sentences]
    names = "; ".join(certain)
    return [f"Some difference is certain in {len(certain)} of {len(told)} cases: {names}.",
            *sentences]  # fmt: skip
