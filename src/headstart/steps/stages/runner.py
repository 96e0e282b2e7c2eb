"""Carrying out a strategy: attach, train, hand on, and never hand on a head that learned nothing.

::

    for each stage:
        attach the tuner; only it and the head train
        train with a fresh optimizer
        (a head until its optimum: fitted on stored features instead)
        before a further stage: has the head learned?   no -> try once more with other rates,
                                                        then go to the last stage with the head
                                                        that this stage was given
        '>'   detach: the backbone is bit for bit the checkpoint's; the head stays
        '>>'  merge:  the change stays in the backbone
        end   merge
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.errors import NumericalError
from headstart.files.schema import as_record
from headstart.models.backbone import BufferSnapshot
from headstart.results import StageResult
from headstart.steps.callback import Callback
from headstart.steps.stages.context import closing, technique_context
from headstart.steps.stages.earlier import (
    EarlierModel,
    best_of,
    can_return,
    from_tensors,
    may_return,
    put_back,
    to_tensors,
)
from headstart.steps.stages.guard import has_learned, may_hand_on, second_attempt, why_not
from headstart.steps.stages.loaders import activation_memory, stage_loaders
from headstart.steps.stages.pretrained import PretrainedBackbone
from headstart.steps.stages.types import StagePlan, TrainingArguments, TrainingData
from headstart.strategies.stages import Stage, Strategy
from headstart.targets._adjusted import adjusted_score
from headstart.targets._base import Floats
from headstart.techniques._base import Technique, trains_head
from headstart.training.checkpoint import under
from headstart.training.evaluate import predict_logits
from headstart.training.frozen.solve import usual_strength
from headstart.training.loader import BatchLoader, SubsetLoader
from headstart.training.loop import StageLoop
from headstart.training.machine.runtime import Runtime
from headstart.training.seeds import seeded, stream
from headstart.training.state import StageSetup
from headstart.training.step_reports import Pause
from headstart.tuners._base import Tuner
from headstart.tuners._bind import bind, bind_techniques

SCORED_ROWS = 1000
"""Training rows at most on which the adjusted score is measured."""
MOST_POINTS = 20
"""Evaluations in a stage, where the user does not say how often."""
Save = Callable[[dict[str, Any], dict[str, torch.Tensor], bool], None]


class StrategyRunner:
    """Trains the stages of a strategy one after the other."""

    def __init__(
        self,
        strategy: Strategy,
        plans: tuple[StagePlan, ...],
        data: TrainingData,
        arguments: TrainingArguments,
        runtime: Runtime,
        callback: Callback,
    ) -> None:
        self.strategy, self.plans, self.data = strategy, plans, data
        self.arguments, self.runtime, self.callback = arguments, runtime, callback
        # Asked in each step; writes a checkpoint and is told whether the run stops after it.
        self.pause: Callable[[], int] = lambda: Pause.NO
        self.save: Save = lambda _state, _tensors, _stop: None
        self.split = data.split
        self.results: list[StageResult] = []
        self.guard_notes: list[str] = []
        self.pretrained_head: dict[str, torch.Tensor] | None = None
        self.last_logits: Floats = np.zeros((0, 0), dtype=np.float32)
        self.kept_stage: int | None = None
        self.compared = False
        self._earlier: list[EarlierModel] = []
        # Only what is handed on is compared with it.
        self._fingerprint = self.split.fingerprint() if len(plans) > 1 else ""
        self._kept: set[str] = set()
        self._names = set(self.split.backbone)
        self._before: dict[str, torch.Tensor] = {}
        reserved = [p.stage.reserve for p in plans[:-1]]
        self._returns = bool(data.pristine) and may_return(arguments.select, strategy)
        # A '>' after a '>>' goes back to the checkpoint, which the merge has overwritten.
        returns = any(a and not all(reserved[i:]) for i, a in enumerate(reserved))
        self._origin = PretrainedBackbone(self.split) if returns else None

    def run(
        self,
        resume: tuple[dict[str, Any], dict[str, torch.Tensor]] | None = None,
        stages: int | None = None,
    ) -> list[StageResult]:
        """Train every stage, or only the first so many, from a checkpoint if there is one.

        The model then holds the result. Raises ``NumericalError`` if the loss of the last stage, or
        of any without the guard, is no longer a number.
        """
        index, attempt = 0, 1
        start = self.split.head_state()
        if resume:
            index, attempt, start = self._go_back(*resume)
        while index < (stages or len(self.plans)):
            plan = self._plan(index, attempt)
            result = self._train(index, attempt, plan, start, resume)
            resume = None
            last = index == len(self.plans) - 1
            if result.ended == "nan" and (last or not self.arguments.guard):
                rate = "--lr 1e-5" if last else f"{plan.stage.trains}(lr=1e-4)"
                raise NumericalError(
                    "a training loss that is a number",
                    f"NaN or infinity in stage {index + 1} ({plan.stage}) at step {result.steps}",
                    f"Lower its learning rate, for example {rate}, or use --precision fp32.",
                )
            if result.handed_on != "nothing":
                start, index, attempt = self.split.head_state(), index + 1, 1
                continue
            self.split.load_head(start)
            why = why_not(result)
            if attempt == 1:
                attempt = 2
                self._note(f"{plan.stage} did not learn: {why}; trying once more.")
            else:
                fresh = "the head before it" if self.pretrained_head else "a fresh head"
                goes_on = f"going on with {self.plans[-1].stage} from {fresh}"
                self._note(
                    f"{plan.stage} did not learn again: {why}; "
                    f"{goes_on if stages is None else 'the head is as it was'}."
                )
                index, attempt = len(self.plans) - 1, 1
        if self._earlier and stages is None:
            self._keep_better()
        return self.results

    def _keep_better(self) -> None:
        """Go back to an earlier stage's model where the last one is worse by more than noise."""
        data, final = self.data, self.last_logits
        # A last stage may have added parameters, which the checkpoint does not hold.
        if data.pristine is None or set(self.split.backbone) != self._names:
            return
        self.compared = True
        best = best_of(self._earlier, final, data.judge)
        if best is None:
            return
        plan = self.plans[best.index]
        put_back(self.split, plan, best, data.pristine, self.arguments.seed)
        self.last_logits = predict_logits(
            self.split.model, data.validation, self.runtime, data.outputs
        )
        self.kept_stage = best.index
        scores = [data.judge(logits)["score"] for logits in (best.logits, final)]
        self._note(
            f"the model after stage {best.index + 1} is saved: its score on the held-out rows is "
            f"{scores[0]:.3f}, {scores[1]:.3f} after the last stage."
        )

    def _plan(self, index: int, attempt: int) -> StagePlan:
        """Return a stage's plan, changed for a second attempt and by what is left of a budget."""
        plan, budget = self.plans[index], self.arguments.budget
        if attempt == 2:
            return second_attempt(plan, self.results[-1], self.data.chance)
        if budget and index == self.strategy.main:
            # A head that is fitted counts for nothing, also where it has to be trained instead.
            counted = [r for r in self.results if r.until != "optimum"]
            used = sum(r.steps for r in counted if r.handed_on != "nothing")
            return replace(plan, length=replace(plan.length, steps=budget - used))
        return plan

    def _note(self, text: str) -> None:
        self.guard_notes.append(text)
        self.callback.warning(f"guard: {text}")

    def _train(
        self,
        index: int,
        attempt: int,
        plan: StagePlan,
        start: dict[str, torch.Tensor],
        resume: tuple[dict[str, Any], dict[str, torch.Tensor]] | None,
    ) -> StageResult:
        last, began = index == len(self.plans) - 1, time.perf_counter()
        tuner = bind(plan.stage, self.strategy.line)
        anchored = tuner.changes_weights or plan.stage.techniques
        self._before = {} if last and not anchored else self._changed_backbone()
        with seeded(stream(self.arguments.seed, "tuner", plan.stage.trains)):
            trained = tuner.attach(self.split, reversible=not last)
        self._buffers = BufferSnapshot(self.split)
        techniques = bind_techniques(plan.stage, self.strategy.line)
        head = self.split.head if trains_head(techniques) else {}
        count = self.split.train_only(trained, head=bool(head))
        result = plan.begin_record(attempt, count)
        told = time.perf_counter()
        self.callback.stage_started(result, index + 1, len(self.plans))
        began += time.perf_counter() - told  # what observers do there is not the stage's
        parts, frozen = (self.data, self.arguments, self.runtime), tuner.frozen_features
        guarded, stored = self._detached_on_error(tuner, last), not any(t.live for t in techniques)
        loaders = stage_loaders(*parts, self.callback, stored=frozen and stored)
        saving = activation_memory(*parts, frozen=frozen)
        with guarded, saving, loaders as (train, val), closing(techniques):
            found = technique_context(*parts, {**trained, **head}, train, plan.length)
            if tuner.wants_rows:
                tuner.prepare(self.split, found.batches, found.loss)
            for technique in techniques:
                technique.begin(found)
            loop = self._loop(index, attempt, plan, start, trained, head, (train, val), techniques)
            loop.state.count_setup(time.perf_counter() - began, evaluation=val.setup_seconds)
            if resume:
                loop.restore(resume[0]["loop"], resume[1])
                self._buffers.resume(resume[1])
            if plan.length.until == "optimum" and train is not self.data.train:
                fitted = loop.solve(self.data.train_labels, self._known_strength())
                result.held_out_loss, result.strength = fitted.held_out_loss, fitted.strength
                result.lr = result.head_lr = None
            state, over = loop.run(), time.perf_counter()
            if head and not last:
                result.train_adjusted_score = self._adjusted_score(train)
        state.record(result)
        if last:
            self._choose_state(loop)
        elif head:
            result.learned = has_learned(result, self.data.chance)
            if may_hand_on(result) and self._returns and can_return(tuner, self.split):
                ended = EarlierModel.of(index, self.split, loop.trained, self.last_logits)
                self._earlier.append(ended)
        if self._hand_on(plan.stage, tuner, result, last):
            self._check_backbone(plan.stage.trains)
        result.seconds = state.seconds + time.perf_counter() - over
        self.results.append(result)
        self.callback.stage_ended(result)
        return result

    def _known_strength(self) -> float | None:
        """Return the penalty for features that were trained on all rows: as before, or as usual."""
        known = (r.strength for r in reversed(self.results) if r.strength)
        return next(known, usual_strength(self.data.kind)) if self._kept else None

    def _loop(
        self,
        index: int,
        attempt: int,
        plan: StagePlan,
        start: dict[str, torch.Tensor],
        trained: dict[str, nn.Parameter],
        head: dict[str, nn.Parameter],
        loaders: tuple[BatchLoader, BatchLoader],
        techniques: Sequence[Technique],
    ) -> StageLoop:
        data, arguments = self.data, self.arguments

        def evaluate() -> dict[str, float]:
            self.last_logits = predict_logits(
                self.split.model, loaders[1], self.runtime, data.outputs
            )
            return data.judge(self.last_logits)

        def checkpoint(loop: StageLoop, stop: bool) -> None:
            state = {
                "stage": index,
                "attempt": attempt,
                "loop": loop.snapshot(),
                "results": [asdict(r) for r in self.results],
                "guard": self.guard_notes,
                "kept": sorted(self._kept),
            }
            tensors = loop.tensors() | self._buffers.tensors()
            tensors |= {f"start/{name}": t for name, t in start.items()}
            tensors |= to_tensors(self._earlier)
            kept = self._before or {name: self.split.backbone[name] for name in self._kept}
            tensors |= {f"kept/{name}": t for name, t in kept.items()}
            if self.pretrained_head:
                tensors |= {f"given/{n}": t for n, t in self.pretrained_head.items()}
            self.save(state, tensors, stop)

        setup = StageSetup(
            length=plan.length,
            optimizer=plan.optimizer,
            batch_size=arguments.batch_size,
            micro_batch_size=arguments.micro_batch_size,
            eval_every=arguments.eval_every or self._interval(plan.length.steps),
            patience=plan.stage.patience or 2,
            seed=arguments.seed,
            keep_best=index == len(self.plans) - 1 and arguments.select == "best",
        )
        return StageLoop(
            self.split.model, head, trained, loaders[0], data.kind, evaluate, setup,
            self.runtime, on_step=self.callback.step, on_point=self.callback.point,
            pause=self.pause, checkpoint=checkpoint, techniques=techniques,
        )  # fmt: skip

    def _choose_state(self, loop: StageLoop) -> None:
        """Leave the selected state of the last stage in the model, and its logits at hand."""
        best = self.arguments.select == "best" and loop.best_tensors
        if best:
            with torch.no_grad():
                for name, parameter in loop.trained.items():
                    parameter.copy_(loop.best_tensors[name])
            self.split.load_buffers(self.split.known_buffers(loop.best_tensors))
        # A stage that was resumed behind its last step has not been evaluated again.
        if best or not len(self.last_logits):
            loop.evaluate()

    def _changed_backbone(self) -> dict[str, torch.Tensor]:
        """Return copies of what earlier stages have merged into the backbone."""
        return {name: self.split.backbone[name].detach().clone() for name in self._kept}

    def _interval(self, steps: int) -> int:
        """Return the steps between evaluations: an epoch, or more where evaluating costs more.

        A row costs about a third as much to evaluate as to train on, so this bounds evaluation to
        about a third of the training time. Epochs of a few steps do not fill the screen either.
        """
        rows = max(len(self.data.train.lengths), len(self.data.validation.lengths))
        return max(math.ceil(rows / self.arguments.batch_size), math.ceil(steps / MOST_POINTS))

    @contextlib.contextmanager
    def _detached_on_error(self, tuner: Tuner, last: bool) -> Iterator[None]:
        """Give the model back clean to whoever goes on with it after an error or an interrupt."""
        try:
            yield
        except BaseException:
            if not last:
                tuner.detach(self.split)
                self._buffers.restore()
            raise

    def _adjusted_score(self, train: BatchLoader) -> float:
        """Measure the adjusted score on a thousand training rows at most, without dropout."""
        labels = self.data.train_labels
        rng = np.random.default_rng(stream(self.arguments.seed, "adjusted_score"))
        rows = np.sort(rng.permutation(len(labels))[:SCORED_ROWS])
        part = SubsetLoader(train, rows)
        logits = predict_logits(self.split.model, part, self.runtime, self.data.outputs)
        return adjusted_score(self.data.kind, logits, labels[rows])

    def _check_backbone(self, name: str) -> None:
        """Check that the backbone is bit for bit what it was."""
        if not self._kept and self.split.fingerprint() != self._fingerprint:
            raise RuntimeError(f"{name}.detach() did not restore the backbone")

    def _hand_on(self, stage: Stage, tuner: Tuner, result: StageResult, last: bool) -> bool:
        """Merge or detach the tuner; say whether the backbone shall be what it was before."""
        given_up = not last and self.arguments.guard and not may_hand_on(result)
        if last or (stage.reserve and not given_up):
            tuner.merge(self.split)
            self._kept |= set() if last else set(self.split.backbone)
            result.handed_on = "model" if last else "everything"
            return False
        tuner.detach(self.split)
        self._buffers.restore()
        if self._origin and not given_up:
            self._origin.restore()
            self._kept.clear()
        result.handed_on = "nothing" if given_up else "head"
        if not given_up:
            self.pretrained_head = self.split.head_state()
        return True

    @torch.no_grad()
    def _go_back(
        self, state: dict[str, Any], tensors: dict[str, torch.Tensor]
    ) -> tuple[int, int, dict[str, torch.Tensor]]:
        self.results[:] = [as_record(StageResult, r) for r in state["results"]]
        self.guard_notes[:] = state["guard"]
        self._kept = set(state["kept"])
        self._earlier = from_tensors(tensors)
        for plan in self.plans[: state["stage"]]:
            if plan.stage.reserve and not self._kept <= self.split.backbone.keys():
                # A merge can add parameters; their values come from the checkpoint.
                tuner = bind(plan.stage, self.strategy.line)
                tuner.attach(self.split, reversible=False)
                tuner.merge(self.split)
        for name in self._kept:
            self.split.backbone[name].copy_(tensors[f"kept/{name}"])
        self.pretrained_head = under("given", tensors) or None
        start = under("start", tensors)
        self.split.load_head(start)
        return state["stage"], state["attempt"], start
