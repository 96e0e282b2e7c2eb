"""The record of a run: what is known before it, and what came of it."""

from __future__ import annotations

import datetime

from headstart.results import RunResult
from headstart.steps.calibrate import calibrate, choose_threshold, final_logits
from headstart.steps.callback import Callback
from headstart.steps.output.saved import task_record
from headstart.steps.output.versions import versions
from headstart.steps.settings import source_name
from headstart.steps.stages.guard import is_refuted
from headstart.steps.stages.runner import StrategyRunner
from headstart.steps.types import TrainingPlan, data_record, gold_labels
from headstart.targets._base import Floats
from headstart.training.evaluate import Judge


def make_record(plan: TrainingPlan) -> RunResult:
    """Begin a run's record with what is known before it trains."""
    task, splits, config = plan.task, plan.splits, plan.config
    return RunResult(
        strategy=plan.strategy.name,
        seed=config.seed,
        task={
            "name": source_name(config, task), "version": task.version, "shape": task.shape,
            "target": task.target, "metrics": list(task.metrics),
            "labels": list(splits.kind.names), "max_length": plan.preprocessor.max_length,
            "spec": task_record(task),
        },
        settings=plan.resolved.plain(),
        data=data_record(splits),
        backbone={
            "source": config.model, "fingerprint": plan.fingerprint,
            "parameters": sum(p.numel() for p in plan.model.backbone.values()),
            "head": plan.hyperparameters.head, "pooling": plan.hyperparameters.pooling,
            "head_from": config.head, "head_part": config.head_part, "head_init": config.head_init,
        },
        machine=plan.runtime.describe(),
        versions=versions(),
        selected="best" if config.select == "best" else "last",
        notes=plan.told, warnings=[*plan.warnings],
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


def _rule(plan: TrainingPlan, runner: StrategyRunner) -> str:
    """Describe which state is saved, and why."""
    config, carved = plan.config, plan.config.selection == "carve"
    if config.select == "best":
        flattered = "the validation rows, the same rows that the score is reported on"
        rows = "rows carved from the training rows" if carved else flattered
        return f"the state of the last stage with the highest score on {rows}"
    rows = "carved rows" if carved else "validation rows"
    stopped = [stage.trains for stage in plan.strategy.stages if stage.until == "plateau"]
    why = [f"the length of {' and '.join(stopped)} was chosen by the score on the {rows}"]
    why = why if stopped else []
    if runner.kept_stage is not None:
        saved = f"the model after stage {runner.kept_stage + 1}"
        why = [f"on the {rows} it is better than the last one by more than noise", *why]
    else:
        saved = "the state after the last step"
        better = "no model of an earlier stage is better by more than noise"
        why = [f"on the {rows} {better}", *why] if runner.compared else why
    return "; ".join([saved, *(why or ["no score was looked at to choose it"])])


def finish(
    plan: TrainingPlan, runner: StrategyRunner, result: RunResult, callback: Callback
) -> Floats:
    """Add the scores, and warnings about them, to the record.

    Returns the logits that the record's ``scores`` are about, (n, outputs).
    """
    final, kind, told = result.stages[-1], plan.splits.kind, len(result.warnings)
    result.last, result.best = final.end, final.best
    if runner.kept_stage is not None:
        result.selected, result.earlier = "earlier", runner.data.judge(runner.last_logits)
    result.rule = result.rule or _rule(plan, runner)
    for stage in result.stages:
        if is_refuted(stage, chance := runner.data.chance):
            result.warnings.append(
                f"{stage.stage} found nothing on the frozen features that held-out rows confirm: "
                f"their loss is {stage.held_out_loss:.3f}, {chance:.3f} by chance."
            )
        elif stage.learned is False and stage.handed_on != "nothing" and stage.ended != "optimum":
            result.warnings.append(f"{stage.stage} ended no better than chance on its rows.")
    untouched, logits = plan.encoded.untouched, runner.last_logits
    if untouched is not None:
        logits = final_logits(plan, untouched)
        result.untouched = Judge(kind, gold_labels(untouched), plan.task.metrics)(logits)
    if plan.config.tune_threshold:
        kind = choose_threshold(plan, runner.last_logits, logits, result)
    told_so = kind.collapsed(runner.last_logits, gold_labels(plan.encoded.validation))
    if told_so:
        result.collapsed = True
        result.warnings.append(told_so)
    if plan.config.calibrate:
        logits = calibrate(plan, logits, result)
    for warning in result.warnings[told:]:
        callback.warning(warning)
    return logits
