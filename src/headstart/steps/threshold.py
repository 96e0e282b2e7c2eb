"""Choosing the probability above which one of several labels is predicted."""

from __future__ import annotations

from headstart.errors import ConfigError
from headstart.models.model_config import THRESHOLD
from headstart.results import RunResult
from headstart.steps.types import TrainingPlan, gold_labels
from headstart.targets._base import Floats, TargetKind
from headstart.training.evaluate import Judge


def require_thresholds(kind: TargetKind) -> None:
    """Refuse ``--tune-threshold``, before any training, where labels have no threshold.

    Args:
        kind: The kind of target.

    Raises:
        ConfigError: If they have none.
    """
    if not kind.thresholds():
        raise ConfigError(
            "--tune-threshold beside several labels a row",
            f"the target {kind.name}",
            "Drop --tune-threshold.",
        )


def choose_threshold(
    plan: TrainingPlan, held_out: Floats, reported: Floats, result: RunResult
) -> TargetKind:
    """Choose a threshold by the score on held-out rows, and save it with the model.

    Rows that have been carved for selection choose it and the untouched validation rows judge it;
    else the validation rows do both, which a warning says.

    Args:
        plan: The run.
        held_out: Logits of the final state on the held-out rows, (n, labels).
        reported: Those on the rows that the record's ``scores`` are about.
        result: The record; its scores become those at the threshold.

    Returns:
        The kind of target with the threshold.
    """
    rows, untouched, metrics = plan.encoded.validation, plan.encoded.untouched, plan.task.metrics
    kinds = plan.splits.kind.thresholds()
    scores = {t: Judge(kind, gold_labels(rows), metrics)(held_out) for t, kind in kinds.items()}
    # Of several that are best, the one nearest to the middle.
    best = max(scores, key=lambda threshold: (scores[threshold]["score"], -abs(threshold - 0.5)))
    setattr(plan.model.model.config, THRESHOLD, best)
    before = result.selecting
    for state in ("last", "best"):  # which may be the same
        if getattr(result, state) == before:
            setattr(result, state, scores[best])
    where = f"the score on {len(rows):,} held-out rows, {plan.splits.origin}"
    result.rule += f"; a label is predicted above a probability of {best:g}, chosen by {where}"
    if untouched is not None:
        result.untouched = Judge(kinds[best], gold_labels(untouched), metrics)(reported)
    else:
        result.warnings.append(
            f"The threshold {best:g} was chosen on the rows that the scores are about, which "
            "flatters them a little; --selection carve chooses it on other rows."
        )
    return kinds[best]
