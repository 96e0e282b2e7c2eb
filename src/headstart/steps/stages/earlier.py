"""The last stage must not make things worse: earlier stages' models, kept to be compared.

What an earlier stage ended with, its tuner still on, is small: the head and what the tuner trained.
If the held-out rows show that this was the better model by more than noise, it is put together
again on the checkpoint's backbone and its tuner merged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from headstart.errors import ConfigError
from headstart.models.backbone import SplitModel
from headstart.steps.stages.types import Pristine, StagePlan
from headstart.strategies.stages import Strategy
from headstart.targets._base import Floats
from headstart.training.evaluate import Judge
from headstart.training.seeds import seeded, stream
from headstart.tuners._base import Tuner
from headstart.tuners._bind import bind

SIGNIFICANT = 0.05
"""The p-value below which an earlier model counts as the better one."""


@dataclass(frozen=True)
class EarlierModel:
    """The tensors and logits at the end of a stage before the last one.

    Tensors, by name, are the head, whatever its tuner trained, and the running statistics; logits
    are of the validation rows, (n, outputs).
    """

    index: int
    tensors: Mapping[str, torch.Tensor]
    logits: Floats

    @classmethod
    def of(
        cls, index: int, split: SplitModel, trained: Mapping[str, torch.Tensor], logits: Floats
    ) -> EarlierModel:
        """Copy a stage's last state, with the logits of the validation rows, (n, outputs)."""
        ended = {**trained, **dict(split.buffers())}
        return cls(index, {n: t.detach().cpu().clone() for n, t in ended.items()}, logits)


def may_return(select: str, strategy: Strategy) -> bool:
    """Return whether held-out rows may choose an earlier stage's model instead of the last one.

    ``select`` says so, no stage hands on a backbone that it has changed, and of one stage at least
    the model can be put together again.
    """
    early = strategy.stages[:-1]
    if select != "auto" or any(stage.reserve for stage in early):
        return False
    return any(not tuner.no_merge and not tuner.wants_rows for tuner in map(bind, early))


def can_return(tuner: Tuner, split: SplitModel) -> bool:
    """Return whether a stage's model can be put together again from what it trained.

    Its change can then be merged, and attaching it needs nothing but the seed.
    """
    try:
        tuner.require_merge(split)
    except ConfigError:
        return False
    return not tuner.wants_rows


def better(earlier: Floats, final: Floats, judge: Judge) -> bool:
    """Return whether an earlier model is better than the final one by more than noise.

    Its score has to be higher, and a one-sided test on the held-out rows has to say so: of classes
    the exact test of McNemar, of numbers Wilcoxon's signed-rank test of the squared errors, of
    several labels a row a sign test of the rows' F1. None can be significant on fewer than five
    rows that the two models predict differently. Logits are those on the held-out rows, (n,
    outputs).
    """
    if not judge(earlier)["score"] > judge(final)["score"]:  # which may be undefined
        return False
    # Each at the threshold that it would be saved with.
    of_earlier, of_final = (
        judge.decided(logits).kind.row_scores(logits, judge.labels) for logits in (earlier, final)
    )
    gains = of_earlier - of_final
    changed = gains[gains != 0]
    return bool(len(changed)) and judge.kind.p_better(changed) < SIGNIFICANT


def best_of(kept: Sequence[EarlierModel], final: Floats, judge: Judge) -> EarlierModel | None:
    """Choose the earlier model to go back to, if any.

    It is the one with the highest score of those that are better by more than noise; ``final`` are
    the final model's logits on the held-out rows, (n, outputs).
    """
    found = [model for model in kept if better(model.logits, final, judge)]
    return max(found, key=lambda model: judge(model.logits)["score"]) if found else None


def put_back(
    split: SplitModel, plan: StagePlan, earlier: EarlierModel, pristine: Pristine, seed: int
) -> None:
    """Make the model what a stage ended with, its tuner merged into the backbone."""
    values = pristine()
    with torch.no_grad():
        for name, parameter in split.backbone.items():
            parameter.copy_(values[name])
    split.load_buffers({name: values[name] for name, _ in split.buffers()})
    tuner = bind(plan.stage)
    with seeded(stream(seed, "tuner", plan.stage.trains)):
        trained = tuner.attach(split, reversible=False)
    with torch.no_grad():
        for name, parameter in {**trained, **split.head}.items():
            parameter.copy_(earlier.tensors[name])
    split.load_buffers(split.known_buffers(earlier.tensors))
    tuner.merge(split)


_LOGITS = "logits of the validation rows"


def to_tensors(kept: Sequence[EarlierModel]) -> dict[str, torch.Tensor]:
    """Return earlier models as tensors for a checkpoint."""
    found: dict[str, torch.Tensor] = {}
    for model in kept:
        tensors = {**model.tensors, _LOGITS: torch.from_numpy(model.logits)}
        found |= {f"earlier/{model.index}/{name}": tensor for name, tensor in tensors.items()}
    return found


def from_tensors(tensors: Mapping[str, torch.Tensor]) -> list[EarlierModel]:
    """Return the earlier models that a checkpoint holds."""
    by_stage: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("earlier/"):
            _, index, own = name.split("/", 2)
            by_stage.setdefault(int(index), {})[own] = tensor
    return [
        EarlierModel(index, found, found.pop(_LOGITS).numpy())
        for index, found in sorted(by_stage.items())
    ]
