"""Step 4: the stages, each with everything decided; what cannot train is refused."""

from __future__ import annotations

from dataclasses import replace

from headstart.config import FitConfig
from headstart.errors import NotationError, raise_all
from headstart.models.backbone import ParameterCount, SplitModel
from headstart.steps.few_rows import for_few_rows
from headstart.steps.stages.earlier import may_return
from headstart.steps.stages.plan import plan_stages, with_enough_steps
from headstart.steps.stages.types import StagePlan
from headstart.steps.types import Hyperparameters, LoadedModel, RunSettings, Splits, TrainingPlan
from headstart.steps.undefined import require_score_of_choices, undefined_scores
from headstart.strategies.plan import lengths
from headstart.strategies.stages import Strategy
from headstart.techniques import TECHNIQUES
from headstart.techniques._base import trains_head
from headstart.training.loader import ExamplesLoader
from headstart.training.machine.precision import settle_precision
from headstart.training.machine.recompute import require_recomputable
from headstart.training.machine.runtime import Runtime
from headstart.tuners._bind import bind, bind_techniques, read_strategy


def make_plan(
    settings: RunSettings, splits: Splits, loaded: LoadedModel, runtime: Runtime
) -> TrainingPlan:
    """Decide each stage.

    The precision of ``runtime`` is lowered to what the model can do. Raises ``HeadstartError`` if
    the model or the target cannot be trained as asked.
    """
    settings = for_few_rows(settings, splits, loaded.model)
    config, model, encoded = settings.config, loaded.model, loaded.encoded
    if config.gradient_checkpointing:
        require_recomputable(model)
    hyperparameters = with_enough_steps(settings.hyperparameters, config, len(encoded.train))
    loaders = [ExamplesLoader(rows, runtime.device) for rows in (encoded.train, encoded.validation)]
    slower = settle_precision(model, loaders, runtime)
    stages = _stages(config, hyperparameters, settings.strategy, splits, model, len(encoded.train))
    notes = (slower,) if slower else ()
    require_score_of_choices(config, settings.strategy, splits)
    carved = _carved_in_vain(config, settings.strategy)
    warnings = (
        *settings.warnings, *carved, *loaded.warnings, *splits.warnings, *undefined_scores(splits)
    )  # fmt: skip
    return TrainingPlan(
        config, splits.task, hyperparameters, settings.strategy, runtime, splits, model,
        loaded.preprocessor, encoded, stages, _counts(model, stages), loaded.fingerprint,
        loaded.pristine, settings.strategy_note, notes, warnings,
    )  # fmt: skip


def _carved_in_vain(config: FitConfig, strategy: Strategy) -> list[str]:
    """Warn of rows that are taken from training without a use."""
    chosen = config.select == "best" or any(s.until == "plateau" for s in strategy.stages)
    used = chosen or config.calibrate or config.tune_threshold
    if config.selection != "carve" or used or may_return(config.select, strategy):
        return []
    return [
        "--selection carve takes rows from training, though no score selects anything here; "
        "add --select best, --calibrate or --tune-threshold, or drop it."
    ]


def with_settings(plan: TrainingPlan, settings: RunSettings) -> TrainingPlan:
    """Plan other training on the rows and the model that a run has.

    ``settings`` are changed in seed, strategy or rates. Another seed does not draw the rows and the
    head again; the model is shared.
    """
    config, strategy = settings.config, settings.strategy
    hyperparameters = with_enough_steps(settings.hyperparameters, config, len(plan.encoded.train))
    size = len(plan.encoded.train)
    stages = _stages(config, hyperparameters, strategy, plan.splits, plan.model, size)
    return replace(
        plan, config=config, hyperparameters=hyperparameters, strategy=strategy, stages=stages,
        counts=_counts(plan.model, stages),
    )  # fmt: skip


def _stages(
    config: FitConfig,
    hyperparameters: Hyperparameters,
    strategy: Strategy,
    splits: Splits,
    model: SplitModel,
    rows: int,
) -> tuple[StagePlan, ...]:
    _require_meaning(config.strategy, splits.kind.name)
    numbers = lengths(
        strategy,
        rows=rows,
        batch_size=hyperparameters.preset.batch_size,
        epochs=hyperparameters.epochs,
        total_epochs=hyperparameters.total_epochs,
        share=hyperparameters.share,
    )
    size = sum(p.numel() for p in model.backbone.values())
    return plan_stages(strategy, numbers, config, hyperparameters.preset, size)


def _counts(model: SplitModel, stages: tuple[StagePlan, ...]) -> tuple[ParameterCount, ...]:
    """Count what each stage trains; what the model cannot carry is refused."""
    return tuple(_count(model, stage, last=stage is stages[-1]) for stage in stages)


def _count(split: SplitModel, plan: StagePlan, *, last: bool) -> ParameterCount:
    techniques = bind_techniques(plan.stage)
    for technique in techniques:
        technique.check(split)
    tuner = bind(plan.stage)
    trained = tuner.attach(split, reversible=tuner.installs)
    count = split.train_only(trained, head=trains_head(techniques))
    try:
        if last or plan.stage.reserve:
            tuner.require_merge(split)
    finally:
        if tuner.installs:
            tuner.detach(split)
    return count


def _require_meaning(line: str, target: str) -> None:
    """Refuse techniques that have no meaning for a kind of target.

    Raises ``HeadstartError`` if there are any; each points at its place.
    """
    raise_all(
        NotationError(
            line, *addition.place, f"a technique that has a meaning for the target {target}",
            addition.name, f"It is made for {' and '.join(targets)}; drop it.",
        )
        for stage in read_strategy(line).stages
        for addition in stage.techniques
        if target not in (targets := TECHNIQUES.get(addition.name).targets)
    )  # fmt: skip
