"""Successive halving over strategies: who stays in the race, and who has won it.

::

    every candidate is tried on 2 splits of the training rows, the same for all
    until one is left:
        the better half stays, and the default beside it; the splits are doubled
    the winner is taken if it beats the default by more than the noise; else the default is

Arithmetic alone; nothing trains here.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FIRST_SPLITS = 2
SPLITS = 4
"""Splits on which the last ones are compared; the noise cannot be told from fewer."""


@dataclass(frozen=True)
class Trial:
    """One candidate, trained on one split.

    Args:
        strategy: Its canonical line.
        split: Which split, from 0.
        score: Mean of the metrics on the split's held-out rows; ``None`` where training failed.
        loss: Mean loss there.
        steps: Optimizer steps of all stages.
        seconds: Wall time.
        error: Why it failed.
    """

    strategy: str
    split: int
    score: float | None
    loss: float
    steps: int
    seconds: float
    error: str = ""


Trials = Mapping[tuple[str, int], Trial]
"""By candidate and split."""


def ranking(trials: Trials, names: Sequence[str], splits: int) -> list[str]:
    """Order candidates, the best first.

    Args:
        trials: What has been tried.
        names: The candidates, in the order of preference that a tie leaves.
        splits: How many splits count; each candidate has been tried on all of them.

    Returns:
        By the mean score, then the mean loss, then the optimizer steps; failures last.
    """

    def key(name: str) -> tuple[float, float, int]:
        score, loss = mean_score(trials, name, splits), mean_loss(trials, name, splits)
        return -score, loss, sum(trials[name, i].steps for i in range(splits))

    return sorted(names, key=key)


def mean_score(trials: Trials, name: str, splits: int) -> float:
    """Return a candidate's mean score.

    Args:
        trials: What has been tried.
        name: The candidate.
        splits: How many splits count.

    Returns:
        The mean, or minus infinity where one of its trials failed.
    """
    scores = [trials[name, i].score for i in range(splits)]
    return statistics.fmean(-math.inf if s is None else s for s in scores)


def mean_loss(trials: Trials, name: str, splits: int) -> float:
    """Return a candidate's mean loss.

    Args:
        trials: What has been tried.
        name: The candidate.
        splits: How many splits count.

    Returns:
        The mean; infinity where it is not a number.
    """
    loss = statistics.fmean(trials[name, i].loss for i in range(splits))
    return loss if math.isfinite(loss) else math.inf


def better_half(order: Sequence[str]) -> list[str]:
    """Return who stays of a ranking.

    Args:
        order: The candidates, the best first.

    Returns:
        The first half, rounded down, one at least.
    """
    return list(order[: max(1, len(order) // 2)])


def decide(trials: Trials, winner: str, default: str, splits: int) -> tuple[str, str]:
    """Take the winner or keep the default.

    On a few held-out rows the best of several is best by chance. So it has to beat the default by
    more than the standard error of its differences from it, split by split.

    Args:
        trials: What has been tried.
        winner: Who came out first.
        default: The strategy that runs take without a search.
        splits: Splits on which both have been tried.

    Returns:
        The chosen line, and why, in words.
    """
    if winner == default:
        return default, "The default came out first."
    if not math.isfinite(mean_score(trials, default, splits)):
        return winner, "The default's training failed."
    pairs = [(trials[winner, i].score, trials[default, i].score) for i in range(splits)]
    gains = [(ours or 0.0) - (theirs or 0.0) for ours, theirs in pairs]
    gain, noise = statistics.fmean(gains), statistics.stdev(gains) / math.sqrt(splits)
    told = (
        f"{winner} is {gain:+.4f} from the default on {splits} splits, standard error {noise:.4f}"
    )
    if gain > noise:
        return winner, f"{told}: more than the noise."
    return default, f"{told}: no more than the noise, so the default stays."
