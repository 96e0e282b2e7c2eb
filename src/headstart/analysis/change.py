"""Parameter change: where in the backbone and by how much parameters change, strategy by strategy.

Of a tensor, the absolute change is the mean of |after - before| over its elements, and the relative
change is that divided by the mean of |before|. Of several tensors taken together, both means go
over all their elements. What was 0 before, as a bias that a tuner has added, has no relative change
of its own, and counts only above the fraction stroke of what it is part of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from headstart.analysis._base import Analysis, Case, Findings, Side, Table, measured_in_all
from headstart.analysis.shared.change_figures import heat_maps
from headstart.analysis.shared.change_tensors import (
    Keep,
    Tensor,
    absolute,
    by_seed,
    in_layers,
    kinds,
    only,
    parts,
    relative,
    tensors,
)
from headstart.analysis.shared.fallen_back import without_head
from headstart.analysis.shared.numbers import (
    against,
    least_and_most,
    names,
    score_column,
    scored,
    scores,
    with_sd,
)
from headstart.observers._places import ABOVE, BELOW

SORTS = (("weights", False), ("biases", True))
WORDS = {1: "more than", -1: "less than", 0: "by an amount that cannot be told from that"}
DEFINITION = (
    "Absolute change: mean of |after - before| over the elements of a tensor, from the pretrained "
    "backbone to the end of training. Relative: divided by the mean of |before|; both means go "
    "over all elements of what is taken together. A tensor that was 0 before has no relative "
    "change. LayerNorm's scales count as weights; the head is no part of the backbone. Embeddings "
    "stands for all that is neither in a layer nor above the layers; of word embeddings, only the "
    "rows of tokens that occur in training get a gradient. Shades go by the root of the change, "
    "the same for all strategies."
)


def findings(cases: Sequence[Case]) -> Findings:
    """Describe where and by how much parameters have changed."""
    named = list(zip(names(cases), cases, strict=True))
    answers = [_answer(name, case) for name, case in named]
    told = [s for name, case in named for s in _compared(name, case)]
    told += [*without_head(named), *(s for name, case in named for s in _where(name, case))]
    tables = [_totals(name, case) for name, case in named]
    tables += [each for name, case in named for each in _places(name, case)]
    figures = [each for n, (name, case) in enumerate(named) for each in heat_maps(n, name, case)]
    values = [
        {"case": name, "model": case.model, "strategy": side.variant.strategy, "seed": seed,
         "score": run.result.scores["score"], "totals": _plain(run.measured["tensors"]),
         "tensors": [{**t, "relative": relative([t])} for t in run.measured["tensors"]]}
        for name, case in named for side in case.sides for seed, run in sorted(side.runs.items())
    ]  # fmt: skip
    return Findings([*answers, *told, DEFINITION, *scored(cases)], tables, figures, values)


def _plain(found: Sequence[Tensor]) -> dict[str, Any]:
    sorts = {sort: [t for t in found if t["bias"] == bias] for sort, bias in SORTS}
    return {s: {"change": absolute(t), "relative": relative(t)} for s, t in sorts.items()}


def _totals(name: str, case: Case) -> Table:
    head = ["strategy", ">seeds", ">layers' weights, %"]
    for sort, _ in SORTS:
        head += [f">{sort}, 1e-6", f">{sort}, %"]
    rows = []
    for side in case.finished:
        cells = [c for _, bias in SORTS for c in _cells(side, only(bias))]
        first = [side.variant.name, str(len(side.runs)), with_sd([*_weights(side).values()])]
        rows.append([*first, *cells, with_sd(scores(side), ".1f")])
    return Table(
        f"{name}: change of the backbone from its pretrained state, relative in %, absolute in "
        "millionths (1e-6), mean ± sd",
        [*head, score_column(case.metrics)], rows,
    )  # fmt: skip


def _cells(side: Side, keep: Keep) -> tuple[str, str]:
    return (
        with_sd([1e6 * value for value in by_seed(side, keep, absolute).values()]),
        with_sd(_percent(by_seed(side, keep, relative))),
    )


def _percent(found: Mapping[int, float]) -> list[float]:
    return [100 * value for value in found.values()]


def _places(name: str, case: Case) -> Iterator[Table]:
    """Yield the numbers of the heat maps: by part, and by kind over all parts."""
    done = case.finished
    for sort, bias in SORTS:
        chosen = tensors(case, bias)
        if not chosen:
            continue
        keeps = {part: only(bias, part) for part in parts(chosen)}
        for kind in kinds(chosen):
            keeps[f"all {kind}"] = only(bias, kind=kind)
        for at, measure in enumerate(("absolute, in millionths", "relative, in %")):
            yield Table(
                f"{name}: change of {sort}, {measure}, by part and by kind, mean ± sd",
                ("where", *(f">{side.variant.name}" for side in done)),
                [[where, *(_cells(side, keep)[at] for side in done)]
                 for where, keep in keeps.items()],
                page_only=True,
            )  # fmt: skip


def _weights(side: Side) -> dict[int, float]:
    """Return the relative change of the layers' weights, in percent, by seed."""
    return {seed: 100 * value for seed, value in by_seed(side, in_layers, relative).items()}


def _answer(name: str, case: Case) -> str:
    low, high, over = least_and_most(case, lambda side: _weights(side).values())
    least, most = (with_sd([*_weights(side).values()]) for side in (low, high))
    if low is high:
        return (
            f"{name}: the layers' weights change by {least} % of their mean size under "
            f"{low.variant.name}, {over}."
        )
    return (
        f"{name}: the layers' weights change least under {low.variant.name}, by {least} % of their "
        f"mean size, and most under {high.variant.name}, by {most} % (± sd over {over})."
    )


def _compared(name: str, case: Case) -> Iterator[str]:
    for side, base in case.against_first:
        sign, difference = against(_weights(side), _weights(base), ".3g", " points")
        yield (
            f"{name}: under {side.variant.name} the layers' weights change {WORDS[sign]} under "
            f"{base.variant.name} ({difference})."
        )


def _where(name: str, case: Case) -> Iterator[str]:
    """Yield sentences for each strategy: in which parts and kinds it changes most and least."""
    for side in case.finished:
        told = {sort: _where_of(case, side, sort, bias) for sort, bias in SORTS}
        if not any(told.values()):
            yield f"{name}: under {side.variant.name} no parameter of the backbone changes."
            continue
        for sort, bias in SORTS:
            if tensors(case, bias):
                text = told[sort] or f"{sort} stay as they are"
                yield f"{name}: under {side.variant.name} {text}."


def _where_of(case: Case, side: Side, sort: str, bias: bool) -> str:
    if not any(by_seed(side, only(bias), absolute).values()):
        return ""
    chosen = tensors(case, bias)
    by_part = {part: _mean(side, only(bias, part)) for part in parts(chosen)}
    below, above = by_part.pop(BELOW, None), by_part.pop(ABOVE, None)
    inside = kinds([t for t in chosen if t["part"] in by_part])
    by_kind = {kind: _mean(side, only(bias, kind=kind)) for kind in inside}
    told = [f"embeddings {below:.3g} %"] if below is not None else []
    told += _range("layers from {} ({}) to {} ({})", by_part)
    told += [f"above them {above:.3g} %"] if above is not None else []
    ends = _range("of the kinds in layers, {1} changes least ({0}) and {3} most ({2})", by_kind)
    total = with_sd(_percent(by_seed(side, only(bias), relative)))
    return "; ".join([f"{sort} change by {total} %: {', '.join(told)}", *ends])


def _mean(side: Side, keep: Keep) -> float | None:
    found = by_seed(side, keep, relative)
    return 100 * float(np.mean([*found.values()])) if found else None


def _range(form: str, found: Mapping[str, float | None]) -> list[str]:
    """Describe the smallest and the largest value, where there are two or more."""
    known = sorted((value, name) for name, value in found.items() if value is not None)
    if len(known) < 2:
        return [f"{name} {value:.3g} %" for value, name in known]
    (low, least), (high, most) = known[0], known[-1]
    return [form.format(f"{low:.3g} %", least, f"{high:.3g} %", most)]


ANALYSIS = Analysis(
    title="Parameter change",
    question="Where in the backbone and by how much do parameters change, strategy by strategy?",
    variants=partial(measured_in_all, measure={"name": "change"}),
    findings=findings,
    strategies="ft, lp-ft, eh-ft",
    example="--task rte --data rte/ --model roberta-base --seeds 3 --out studies/change",
)
