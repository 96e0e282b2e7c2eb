"""The guard: has a stage's head learned, and what does a second attempt change."""

from __future__ import annotations

from dataclasses import replace

from headstart.results import StageResult
from headstart.steps.stages.types import StagePlan

LEARNED = 0.1
"""Adjusted score on the training rows (0 is chance, 1 perfect) from which a head has learned."""
LOSS_LEFT = 0.8
"""Share of the loss of a constant guess at which a head has learned, whatever its adjusted score:
balanced accuracy hardly moves while most classes are rare."""


def has_learned(result: StageResult, chance: float) -> bool:
    """Return whether the head that a stage has trained predicts rows well above chance.

    It does so on the training rows, either class by class or, where a few classes hold most rows,
    by its loss; ``chance`` is that of the best constant guess. Of a head fitted to its optimum the
    loss is that of held-out rows, and one that is no better than chance there has not learned.
    """
    if result.ended == "nan" or is_refuted(result, chance):
        return False
    loss = result.curve[-1].train_loss if result.curve else None
    loss = loss if result.held_out_loss is None else result.held_out_loss
    by_loss = loss is not None and loss <= LOSS_LEFT * chance
    return (result.train_adjusted_score or 0) >= LEARNED or by_loss


def is_refuted(result: StageResult, chance: float) -> bool:
    """Return whether held-out rows say that a head at its optimum is no better than chance.

    ``chance`` is the loss of the best constant guess.
    """
    return result.held_out_loss is not None and result.held_out_loss >= chance


def may_hand_on(result: StageResult) -> bool:
    """Return whether a stage before the last one may hand on what it has trained.

    Its head has learned, or did not train. A head fitted to its optimum always may: where it has
    found nothing, its penalty has left it next to no weights that could do harm, and on few rows
    the held-out loss is too noisy to throw away what it may have found.
    """
    if result.learned is None:
        return result.ended != "nan"
    return result.learned or result.ended == "optimum"


def why_not(result: StageResult) -> str:
    """Write why a head has not learned."""
    if result.ended == "nan":
        return "its loss became NaN"
    return (
        f"adjusted score {result.train_adjusted_score or 0:.2f} on the training rows (0 is chance)"
    )


def second_attempt(plan: StagePlan, first: StageResult, chance: float) -> StagePlan:
    """Return the plan for a second attempt: gentler if the loss blew up, else a bolder head."""
    loss = first.curve[-1].train_loss if first.curve else None
    blew_up = first.ended == "nan" or (loss or 0.0) > 1.2 * chance
    old = plan.optimizer
    lr, head_lr = (old.lr / 10, old.head_lr / 10) if blew_up else (old.lr, 3 * old.head_lr)
    return replace(plan, optimizer=replace(old, lr=lr, head_lr=head_lr))
