"""Temperature scaling and a decision threshold, chosen on held-out rows after training."""

from __future__ import annotations

import numpy as np

from headstart.data.examples import Examples
from headstart.errors import ConfigError
from headstart.models.checkpoints.model_config import TEMPERATURE, THRESHOLD
from headstart.models.rescale import divide_logits
from headstart.results import RunResult
from headstart.steps.types import TrainingPlan, gold_labels
from headstart.targets._base import Floats, TargetKind
from headstart.tasks.calibration import cross_fitted, fit_temperature, measure
from headstart.training.evaluate import Judge, predict_logits
from headstart.training.loader import ExamplesLoader
from headstart.training.seeds import stream


def calibrate(plan: TrainingPlan, logits: Floats, result: RunResult) -> Floats:
    """Fit a temperature, fold it into the model, and judge what that has done.

    No row is judged by a temperature that was fitted on it: where rows have been carved for
    selection they fit it and the untouched validation rows judge it; else the validation rows do
    both, in halves (cross-fitting). ``logits`` are of the final state on the rows that the record's
    ``scores`` are about, (n, classes); those of the calibrated model are returned. The record's
    scores become its own, and warnings are added.
    """
    rows, untouched = plan.encoded.validation, plan.encoded.untouched
    # Not the logits of the last evaluation: a resumed run may have computed those in other steps.
    fitting = final_logits(plan, rows)
    before = fitting if untouched is None else logits
    if not (np.isfinite(fitting).all() and np.isfinite(before).all()):
        result.warnings.append("Not calibrated: the model gives logits that are no numbers.")
        return logits
    found = fit_temperature(fitting, gold_labels(rows))
    gold = gold_labels(rows if untouched is None else untouched)
    result.calibration = {
        "temperature": 1.0 if found.bound else found.value,
        "bound": found.bound,
        "rows": len(rows),
        "origin": plan.splits.origin,
        "same_rows": untouched is None,
        "judged_by": "2-fold cross-fitting" if untouched is None else result.reported_on,
        "before": measure(before, gold),
    }
    if found.bound:
        result.calibration["after"] = result.calibration["before"]
        result.warnings.append(
            f"Not calibrated: the held-out rows determine no temperature, since {found.reason}."
        )
        return logits
    after = _fold(plan, found.value, result)
    seed = stream(plan.config.seed, "calibration")
    judged = after if untouched is not None else cross_fitted(before, gold, seed)
    result.calibration["after"] = measure(judged, gold)
    if result.calibration["after"]["log_loss"] > result.calibration["before"]["log_loss"]:
        result.warnings.append(_NO_BETTER)
    return after


_NO_BETTER = (
    "Calibration did not lower the log loss on rows that the temperature was not fitted on; "
    "fit it on more rows, or drop --calibrate."
)


def final_logits(plan: TrainingPlan, rows: Examples) -> Floats:
    """Compute the logits, (n, outputs), of the model as it is now."""
    loader = ExamplesLoader(rows, plan.runtime.device)
    return predict_logits(plan.model.model, loader, plan.runtime, plan.splits.kind.outputs)


def _fold(plan: TrainingPlan, temperature: float, result: RunResult) -> Floats:
    """Divide the model's logits, and put its scores into the record in place of the former."""
    encoded = plan.encoded
    divide_logits(plan.model, plan.splits.target.outputs, temperature)
    setattr(plan.model.model.config, TEMPERATURE, temperature)
    # Computed anew, since these are to be the saved model's: weights round once they are divided.
    logits = final_logits(plan, encoded.validation)
    kind = plan.splits.kind
    scores = Judge(kind, gold_labels(encoded.validation), plan.task.metrics)(logits)
    setattr(result, result.selected, scores)
    if encoded.untouched is not None:
        logits = final_logits(plan, encoded.untouched)
        gold = gold_labels(encoded.untouched)
        result.untouched = Judge(kind, gold, plan.task.metrics)(logits)
    return logits


def require_thresholds(kind: TargetKind) -> None:
    """Refuse ``--tune-threshold``, before any training, where labels have no threshold.

    Raises ``ConfigError`` if they have none.
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
    else the validation rows do both, which a warning says. Logits are of the final state, (n,
    labels), ``reported`` on the rows that the record's ``scores`` are about; these become those at
    the threshold, with which the kind of target is returned.
    """
    rows, untouched, metrics = plan.encoded.validation, plan.encoded.untouched, plan.task.metrics
    kinds = plan.splits.kind.thresholds()
    judge = Judge(plan.splits.kind, gold_labels(rows), metrics, tune=True).decided(held_out)
    best = next(threshold for threshold, kind in kinds.items() if kind == judge.kind)
    scores = judge(held_out)
    setattr(plan.model.model.config, THRESHOLD, best)
    before = result.selecting
    for state in ("last", "best", "earlier"):  # which may be the same
        if getattr(result, state) == before:
            setattr(result, state, scores)
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
