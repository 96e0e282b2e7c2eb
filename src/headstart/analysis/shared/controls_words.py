"""The comparison of heads in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from headstart.analysis._base import Case
from headstart.analysis.shared.controls import FRESH, WHOLE, Compared, Pair, significant
from headstart.analysis.shared.verdicts import seeds_for
from headstart.report.answer import ALPHA
from headstart.study.outcome.statistics import smallest_p
from headstart.study.outcome.tables import score_scale, show_interval

WITH_PLAIN, WITH_WHOLE = "against_plain", "against_whole"
DEFINITIONS = (
    "fresh head: plain fine-tuning (full). Every other side has the same stage 1 and the same "
    "stage 2 (steps, order of rows, dropout), and differs in the head at step 0 of stage 2 alone. "
    "Stage 1 comes on top: plain fine-tuning has fewer steps in all.",
    "Weights are the head's tensors of two and more dimensions, biases its vectors, gains and "
    "shifts of norm layers among them. shuffled: the inputs of each weight permuted, in all rows "
    "alike; norms, angles between classes and biases stay. fresh norm: each weight scaled to the "
    "fresh head's Frobenius norm, its bias with it. other seed: the head of a stage 1 on the same "
    "rows with another start, order and dropout.",
    "Differences are in points, paired by seed, with 95 % intervals; p is that of the sign-flip "
    "test, Holm-adjusted over the rows of its column. Norms, turns and cosines are those of "
    "the head's last weight.",
)


def sentences(case: Case, found: Sequence[Compared]) -> Iterator[str]:
    """Describe which heads help, and how certain that is; the first sentence is the answer."""
    sides = {each.name: each for each in found}
    whole = sides.get(WHOLE)
    if whole is None or whole.against_plain is None:
        yield f"{case.name}: nothing to compare yet: no seed has a pretrained and a fresh head."
        return
    pair = whole.against_plain
    yield f"{case.name}: {_answer(pair, found)}"
    yield from _lists(found)
    yield (
        f"Before the first step of stage 2 the whole head scores {_mean(whole.step0)} and "
        f"the fresh one {_mean(sides[FRESH].step0)}; after it {_mean(whole.final)} and "
        f"{_mean(sides[FRESH].final)} ({score_scale(case.metrics)})."
    )
    yield from _limits(found)


def left_out(case: Case) -> Iterator[str]:
    """Describe the runs that had no head to compare, and controls that had different ones."""
    reasons: dict[str, dict[int, list[str]]] = {}
    heads: dict[int, set[str]] = {}
    for side in case.sides:
        for seed, run in side.runs.items():
            if run.measured["given_up"]:
                notes = run.measured["notes"] or run.result.guard
                reasons.setdefault(run.measured["given_up"], {})[seed] = notes
            if side.variant.name != FRESH:
                heads.setdefault(seed, set()).add(run.measured["pretrained"])
    for reason, seeds in reasons.items():
        yield f"Left out, because {reason}: seed{'s' * (len(seeds) > 1)} {_listed([*seeds])}."
        seed, notes = min(seeds.items())
        if notes:
            yield (
                f"With seed {seed}, {notes[-1].split(';')[0]}. More steps or another rate in the "
                "stage of --tuner, or more rows, may help."
            )
    differ = [seed for seed, prints in heads.items() if len(prints) > 1]
    if differ:
        yield (
            f"Stage 1 did not give the same head to all sides of seed{'s' * (len(differ) > 1)} "
            f"{_listed(differ)}: the computation does not repeat its bits."
        )


def _answer(pair: Pair, found: Sequence[Compared]) -> str:
    shown = (
        f"{show_interval(pair.difference)} points over {_seeds(pair.seeds)}, p = "
        f"{pair.adjusted:.3f}"
    )
    others = [c for c in significant(found, WITH_PLAIN, 1) if c.name != WHOLE]
    if pair.adjusted > ALPHA:
        told = f"that the pretrained head changes anything cannot be told from chance ({shown})"
        if others:
            return f"{told}; above plain fine-tuning all the same: {_names(others, WITH_PLAIN)}."
        return f"{told}, so no part of it can be said to help."
    if pair.difference.estimate < 0:
        return f"the pretrained head costs against plain fine-tuning ({shown})."
    lose = [*significant(found, WITH_WHOLE, -1)]
    helps = f"so does {_names(others, WITH_PLAIN)}" if others else "nothing else surely does"
    less = _names(lose, WITH_WHOLE) if lose else "none surely"
    return f"the pretrained head helps ({shown}); {helps}. Less than the whole head: {less}."


def _lists(found: Sequence[Compared]) -> Iterator[str]:
    """List the sides that are surely below plain fine-tuning or above the whole head."""
    below = [c for c in significant(found, WITH_PLAIN, -1) if c.name != WHOLE]
    above = [*significant(found, WITH_WHOLE, 1)]
    if below:
        yield f"Worse than plain fine-tuning: {_names(below, WITH_PLAIN)}."
    if above:
        yield f"Better than the whole head: {_names(above, WITH_WHOLE)}."
    unsure = [
        c for c in found
        if c.against_plain and c.against_whole
        and c.against_plain.adjusted > ALPHA and c.against_whole.adjusted > ALPHA
    ]  # fmt: skip
    if unsure:
        yield (
            "Neither from plain fine-tuning nor from the whole head can these be told; that is not "
            f"to say that they are equal: {', '.join(c.name for c in unsure)}."
        )


def _limits(found: Sequence[Compared]) -> Iterator[str]:
    pairs = [c.against_plain for c in found if c.against_plain]
    fewest, tests = min(pair.seeds for pair in pairs), len(pairs)
    least = min(1.0, tests * smallest_p(fewest))
    if least > ALPHA:
        yield (
            f"With {_seeds(fewest)} and {tests} comparisons no adjusted p can be below "
            f"{least:.2g}: no difference can be called significant, however large. "
            f"{seeds_for(tests)} seeds can."
        )


def _seeds(number: int) -> str:
    return f"{number} seed{'s' * (number != 1)}"


def _names(sides: Sequence[Compared], against: str) -> str:
    pairs = [(side.name, getattr(side, against)) for side in sides]
    return ", ".join(f"{name} ({show_interval(pair.difference)})" for name, pair in pairs)


def _mean(values: Sequence[float]) -> str:
    return f"{100 * float(np.mean(values)):.1f}"


def _listed(seeds: Sequence[int] | set[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))
