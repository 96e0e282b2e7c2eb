"""Step 6: the model, the head and the record, written into the run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headstart.files.writing import write_text
from headstart.models.checkpoints.saving import has_sentence_form, save_classifier
from headstart.models.headfile import Head
from headstart.models.heads import EncoderClassifier
from headstart.results import RunResult
from headstart.steps.output.card import model_card
from headstart.steps.output.folder import HEAD, MODEL, RESULT
from headstart.steps.stages.runner import StrategyRunner

if TYPE_CHECKING:
    from headstart.steps.types import TrainingPlan


def save_run(plan: TrainingPlan, runner: StrategyRunner, result: RunResult, folder: Path) -> None:
    """Write ``model/``, ``head/`` and ``result.json``."""
    split = plan.model
    split.model.to("cpu")
    plan.preprocessor.write_config(split.model.config)
    _save_head(plan, runner, result, folder / HEAD)
    plan.splits.kind.save_units(split)
    own = isinstance(split.model, EncoderClassifier)
    card = model_card(result, own_head=own, sentence=has_sentence_form(split.model))
    target = plan.splits.target
    trust = plan.config.trust_remote_code
    save_classifier(
        split, target, plan.preprocessor.processor, folder / MODEL, card,
        longest=plan.preprocessor.max_length, trust_remote_code=trust,
    )  # fmt: skip
    write_text(folder / RESULT, result.to_json())


def _save_head(plan: TrainingPlan, runner: StrategyRunner, result: RunResult, folder: Path) -> None:
    """Write the pretrained head with the backbone it belongs to; without one, the final head."""
    split, final = plan.model, plan.model.head_state()
    # A final head belongs to the backbone that was fine-tuned with it.
    about = {"backbone": str(Path(str(plan.config.out)) / MODEL), "strategy": plan.strategy.name}
    handed = [s for s in result.stages[:-1] if s.handed_on == "head"]
    if runner.pretrained_head is not None and handed:
        split.load_head(runner.pretrained_head)
        about["strategy"] = " > ".join(s.stage for s in handed)
        about["backbone"] = plan.config.model
    plan.splits.kind.save_units(split)
    head = Head.of(split, plan.splits.kind.names, scores=result.scores, **about)
    if runner.pretrained_head is not None and handed:
        # The next stage begins with this head on the restored backbone, before its first step.
        after = result.stages[result.stages.index(handed[-1]) + 1]
        head.fingerprint, head.scores = plan.fingerprint, after.start
    head.save(folder)
    split.load_head(final)
