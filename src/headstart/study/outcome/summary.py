"""The summary of a study: every strategy on every task against the baseline, paired by seed.

A group is what is compared: one task, model, training size and setting of the grid; within it the
strategies differ and nothing else. A figure is about the seeds that both sides have finished.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.errors import ConfigError, did_you_mean
from headstart.results import RunResult
from headstart.study.outcome.comparison import FEWEST_TO_COMPARE, Comparison, compare
from headstart.study.outcome.ranks import (
    Friedman,
    average_ranks,
    critical_difference,
    friedman,
)
from headstart.study.outcome.statistics import Description, churn, describe, holm

Logits = Callable[[str], npt.NDArray[np.float32] | None]
Key = tuple[Any, ...]
AXES = ("task", "model", "strategy", "train_rows", "seed")
"""Names of the axes that every run has; settings of the grid follow."""
GIVEN_UP = "nothing"
"""What an attempt at a stage hands on that the guard has taken back."""


def group_key(axes: Mapping[str, Any]) -> Key:
    """Return what tells groups apart: the axes of a run without strategy and seed."""
    settings = sorted(f"{k}={v}" for k, v in axes.items() if k not in AXES)
    return (axes["task"], axes["model"], axes["train_rows"], *settings)


@dataclass(frozen=True)
class RunScore:
    """One finished run, as far as the summary looks at it.

    ``gained`` is over the untrained model; ``seconds`` are of training and evaluation;
    ``same_rows`` says that the rows that are reported also selected the state or the length,
    ``fresh`` that a stage was given up, so that the next one began with a fresh head;
    ``temperature`` is what its logits were divided by, ``None`` if it was not to be calibrated.
    """

    id: str
    seed: int
    score: float
    gained: float
    seconds: float
    collapsed: bool
    same_rows: bool
    rows: int
    fresh: bool = False
    temperature: float | None = None


@dataclass
class Entry:
    """One strategy in a group.

    ``crashed`` are seeds whose run failed; ``churn`` is the share of rows, or of tags of words, on
    which two seeds disagree; ``comparison`` is against the baseline. What is unknown is ``None``.
    """

    strategy: str
    runs: dict[int, RunScore]
    crashed: list[int]
    scores: Description | None = None
    churn: float | None = None
    comparison: Comparison | None = None

    @property
    def failed_share(self) -> float:
        """Share of runs that crashed, collapsed or ended at chance."""
        bad = len(self.crashed) + sum(run.collapsed for run in self.runs.values())
        total = len(self.crashed) + len(self.runs)
        return bad / total if total else 0.0

    @property
    def seconds(self) -> float | None:
        """Mean wall time of a run."""
        times = [run.seconds for run in self.runs.values()]
        return float(np.mean(times)) if times else None

    @property
    def gain_per_second(self) -> float | None:
        """Score gained over the untrained model for each second."""
        gained = [run.gained for run in self.runs.values()]
        return float(np.mean(gained)) / self.seconds if gained and self.seconds else None

    @property
    def same_rows(self) -> bool:
        """Whether a score is about rows that also selected."""
        return any(run.same_rows for run in self.runs.values())


@dataclass
class Group:
    """Runs that are compared: all but strategy and seed is the same.

    ``train_rows`` is ``None`` for all; ``metrics`` are what the score is the mean of; ``several``
    says that a row may have several labels.
    """

    task: str
    model: str
    train_rows: int | None
    settings: dict[str, Any]
    metrics: tuple[str, ...]
    entries: list[Entry]
    several: bool = False

    @property
    def key(self) -> Key:
        """What tells it from the other groups."""
        own = {"task": self.task, "model": self.model, "train_rows": self.train_rows}
        return group_key({**own, **self.settings})

    @property
    def name(self) -> str:
        """Task, training rows and settings of the grid, for titles."""
        rows = "" if self.train_rows is None else f", {self.train_rows:,} rows"
        extra = "".join(f", {name} {value}" for name, value in self.settings.items())
        return f"{self.task}{rows}{extra}"


@dataclass
class Overall:
    """The comparison over all groups together.

    Args:
        strategies: Those that every group has.
        ranks: Their average rank over the groups; 1 is best.
        critical_difference: Nemenyi's, between average ranks; ``None`` for fewer than two groups.
        friedman: The test of all ranks together.
        comparisons: By strategy, the mean over the groups against the baseline, paired by seed.
        same_rows: Whether a score is about rows that also selected, which touches every rank.
    """

    strategies: list[str]
    ranks: list[float]
    critical_difference: float | None
    friedman: Friedman | None
    comparisons: dict[str, Comparison]
    same_rows: bool = False


@dataclass
class Summary:
    """The summary of a study.

    ``overall`` is ``None`` for a single group; ``failures`` have their reasons, ``damaged`` are
    sentences about results that were set aside; ``planned`` and ``finished`` count runs.
    """

    baseline: str
    groups: list[Group]
    overall: Overall | None
    failures: list[dict[str, Any]] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    planned: int = 0
    finished: int = 0


def summarise(
    results: Iterable[Mapping[str, Any]],
    failures: Sequence[Mapping[str, Any]],
    baseline: str,
    strategies: Sequence[str],
    logits: Logits = lambda _: None,
) -> Summary:
    """Compute the summary of a study.

    Records are as in ``results/`` and ``failures/``; ``logits`` gives those of a run, for the
    churn. There are no groups where no run has ended. Raises ``ConfigError`` if the baseline is not
    among the strategies.
    """
    if baseline not in strategies:
        raise ConfigError(
            "a baseline among the strategies of the study", repr(baseline),
            did_you_mean(baseline, strategies),
        )  # fmt: skip
    found: dict[Key, Group] = {}
    places: dict[Key, dict[str, Entry]] = defaultdict(dict)
    finished = 0
    for record in [*results, *failures]:
        axes, strategy = record["axes"], record["axes"]["strategy"]
        if strategy not in strategies:
            continue
        key, extra = group_key(axes), {k: v for k, v in axes.items() if k not in AXES}
        group = found.setdefault(
            key, Group(axes["task"], axes["model"], axes["train_rows"], extra, (), [])
        )
        entry = places[key].setdefault(strategy, Entry(strategy, {}, []))
        if "result" not in record:
            entry.crashed.append(axes["seed"])
            continue
        finished += 1
        result = RunResult.from_dict(record["result"])
        group.metrics = tuple(result.task["metrics"])
        group.several = result.task.get("target") == "multilabel"
        entry.runs[axes["seed"]] = run_score(record["id"], result)
    for key, group in found.items():
        _fill(group, places[key], strategies, baseline, logits)
    groups = list(found.values())
    _correct([[e for g in groups for e in g.entries if e.strategy == name] for name in strategies])
    overall = _overall(groups, strategies, baseline) if len(groups) > 1 else None
    shown = [dict(failure) for failure in failures if failure["axes"]["strategy"] in strategies]
    return Summary(baseline, groups, overall, shown, finished=finished)


def _fill(
    group: Group,
    entries: Mapping[str, Entry],
    strategies: Sequence[str],
    baseline: str,
    logits: Logits,
) -> None:
    group.entries = [entries[name] for name in strategies if name in entries]
    for entry in group.entries:
        entry.crashed.sort()
        _describe(entry, entries.get(baseline), logits, several=group.several)


def run_score(identity: str, result: RunResult) -> RunScore:
    """Return what the summary looks at."""
    score, start = result.scores["score"], result.stages[0].start.get("score", 0.0)
    rows = result.data["untouched_rows"] if result.untouched else result.data["validation_rows"]
    return RunScore(
        identity, result.seed, score, score - start, sum(s.seconds for s in result.stages),
        result.collapsed, _scores_decided(result) and not result.untouched, int(rows),
        _gave_up(result), result.calibration.get("temperature"),
    )  # fmt: skip


def _scores_decided(result: RunResult) -> bool:
    """Return whether scores on held-out rows chose what is saved, or how long a stage trained."""
    early = [stage.handed_on for stage in result.stages[:-1]]
    returns = result.settings.get("select") == "auto" and "everything" not in early
    compared = returns and "head" in early
    chosen = compared or result.selected != "last"
    return chosen or any(stage.until == "plateau" for stage in result.stages)


def _gave_up(result: RunResult) -> bool:
    """Return whether a stage handed nothing on, tried as often as it may be."""
    followed = zip(result.stages, result.stages[1:], strict=False)
    return any(s.handed_on == GIVEN_UP and after.attempt == 1 for s, after in followed)


def _describe(entry: Entry, baseline: Entry | None, logits: Logits, *, several: bool) -> None:
    seeds = sorted(entry.runs)
    if not seeds:
        return
    entry.scores = describe([entry.runs[seed].score for seed in seeds])
    entry.churn = _churn([entry.runs[seed].id for seed in seeds], logits, several=several)
    if baseline is None or baseline is entry:
        return
    both = [seed for seed in seeds if seed in baseline.runs]
    ours = [entry.runs[seed].score for seed in both]
    theirs = [baseline.runs[seed].score for seed in both]
    flattered = entry.same_rows or baseline.same_rows
    entry.comparison = compare(ours, theirs, same_rows=flattered)


def _correct(families: Iterable[Sequence[Entry]]) -> None:
    """Add Holm's correction over the groups to the comparisons of each strategy."""
    for entries in families:
        found = [(e, e.comparison) for e in entries if e.comparison]
        for (entry, comparison), p in zip(found, holm([c.p for _, c in found]), strict=True):
            entry.comparison = replace(comparison, adjusted=p)


def _churn(identities: Sequence[str], logits: Logits, *, several: bool) -> float | None:
    """Return the share of rows, or tags of words, on which seeds disagree.

    Of several labels a row, any of them counts.
    """
    found = [logits(identity) for identity in identities]
    known = [f for f in found if f is not None and f.ndim == 2 and f.shape[1] > 1]
    if len(known) < FEWEST_TO_COMPARE or len({len(f) for f in known}) > 1:
        return None
    if not several:
        return churn(np.stack([f.argmax(axis=1) for f in known]))
    masks = np.stack([f > 0 for f in known])  # a threshold that was tuned stands in no logits
    flat = masks.reshape(-1, masks.shape[-1])
    return churn(np.unique(flat, axis=0, return_inverse=True)[1].reshape(masks.shape[:2]))


def _overall(groups: Sequence[Group], strategies: Sequence[str], baseline: str) -> Overall:
    tables = [{e.strategy: e for e in group.entries if e.scores} for group in groups]
    shared = [name for name in strategies if all(name in table for table in tables)]
    ranks: list[float] = []
    test, distance = None, None
    if len(shared) > 1:
        means = [[table[name].scores.mean for name in shared] for table in tables]  # type: ignore[union-attr]
        ranks = [float(rank) for rank in average_ranks(means)]
        distance = critical_difference(len(shared), len(groups))
        test = friedman(means) if len(shared) > 2 else None
    comparisons = {}
    for name in shared:
        if name == baseline or baseline not in shared:
            continue
        if found := compare_over_groups(groups, name, baseline):
            comparisons[name] = found
    flattered = any(table[name].same_rows for table in tables for name in shared)
    return Overall(shared, ranks, distance, test, comparisons, flattered)


def compare_over_groups(groups: Sequence[Group], ours: str, theirs: str) -> Comparison | None:
    """Compare the means of two strategies over all groups, paired by seed.

    Both have finished runs in each; ``None`` without a seed that all have.
    """
    sides = [
        [next(e for e in group.entries if e.strategy == name) for group in groups]
        for name in (ours, theirs)
    ]
    seeds = sorted(set.intersection(*(set(entry.runs) for side in sides for entry in side)))
    one, other = (
        [float(np.mean([entry.runs[seed].score for entry in side])) for seed in seeds]
        for side in sides
    )
    flattered = any(entry.same_rows for side in sides for entry in side)
    return compare(one, other, same_rows=flattered)
