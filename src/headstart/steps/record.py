"""The record of a run: what is known before it, and what came of it."""

from __future__ import annotations

import datetime

from headstart.config import FitConfig
from headstart.results import RunResult
from headstart.steps.calibrate import calibrate, choose_threshold, final_logits
from headstart.steps.callback import Callback
from headstart.steps.output.saved import task_record
from headstart.steps.output.versions import versions
from headstart.steps.settings import source_name
from headstart.steps.stages.runner import StrategyRunner
from headstart.steps.types import TrainingPlan, data_record, gold_labels
from headstart.strategies.stages import Strategy
from headstart.targets._base import Floats
from headstart.training.evaluate import Judge

_UNSEEN = "no score was looked at to choose it"
_KEPT = "the held-out rows showed that it is better than the last one"


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
        rule=_rule(config, plan.strategy),
        notes=plan.told, warnings=[*plan.warnings],
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


def _rule(config: FitConfig, strategy: Strategy) -> str:
    if config.select == "auto" and len(strategy.stages) > 1:
        return "the state after the last step, unless held-out rows prefer an earlier stage's model"
    if config.select != "best":
        rows = "carved rows" if config.selection == "carve" else "validation rows"
        stopped = [stage.trains for stage in strategy.stages if stage.until == "plateau"]
        looked = f"the length of {' and '.join(stopped)} was chosen by the score on the {rows}"
        return f"the state after the last step; {looked if stopped else _UNSEEN}"
    if config.selection == "carve":
        return "the highest score on rows carved from the training rows"
    return "the highest score on the validation rows, the same rows that the score is reported on"


def finish(
    plan: TrainingPlan, runner: StrategyRunner, result: RunResult, callback: Callback
) -> Floats:
    """Add the scores, and warnings about them, to the record.

    Returns the logits that the record's ``scores`` are about, (n, outputs).
    """
    final, kind, told = result.stages[-1], plan.splits.kind, len(result.warnings)
    result.last, result.best = final.end, final.best
    if runner.kept_stage is not None:
        result.last = runner.data.judge(runner.last_logits)
        result.rule = f"the model after stage {runner.kept_stage + 1}; {_KEPT}"
    for stage in result.stages:
        chance, loss = runner.data.chance, stage.held_out_loss
        if loss is not None and loss >= chance:
            result.warnings.append(
                f"{stage.stage} found nothing on the frozen features that held-out rows confirm: "
                f"their loss is {loss:.3f}, {chance:.3f} by chance."
            )
        if stage.learned is False and stage.handed_on != "nothing":
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
