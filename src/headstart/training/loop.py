"""The training loop: one stage, one optimizer, any model, any tuner.

::

    optimizer and schedule are fresh
    evaluate                                        -> point at step 0
    for each step:
        seed the dropout stream for this step
        techniques: before_step
        for each micro-batch of the step's rows:    forward, loss (techniques), backward
        techniques: gradients
        clip, update with this step's learning rate
        at a window's end:      is the loss finite? has the head learned?
        at an evaluation:       -> point; is this the best? does the score still rise?
        when it is time, or the user interrupts:    checkpoint
    evaluate                                        -> last point
    techniques: end

Techniques see every event that ``techniques._base`` names.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.data.batching import BatchOrder
from headstart.data.labels import Labels
from headstart.data.tokens.windows import window_weights
from headstart.kernels.memory import kept_memory
from headstart.kernels.rows import RowGradients
from headstart.models.backbone import saved_buffers
from headstart.results import Point
from headstart.targets._adjusted import adjusted_score_of_sums
from headstart.targets._base import TargetKind
from headstart.techniques._base import Technique, Updated
from headstart.training.checkpoint import under
from headstart.training.frozen.solve import Fitted, fit_head
from headstart.training.loader import BatchLoader, send
from headstart.training.machine.masking import known_padding
from headstart.training.machine.runtime import Runtime
from headstart.training.optim import build_optimizer, rate_factor, set_rates
from headstart.training.seeds import stream
from headstart.training.state import LoopState, StageSetup
from headstart.training.step_reports import Pause, StepReports
from headstart.training.stopping import LearnedRule, PlateauRule
from headstart.training.techniques import Techniques
from headstart.training.used_embeddings import used_rows

WINDOW_ROWS = 512
"""Rows that the rule judges at once, or an epoch if it has more: the standard error of a share of
512 rows is two points."""
WINDOW_STEPS = 100
"""Steps after which the rule looks in any case."""


class StageLoop:
    """Trains one stage.

    Parameters are frozen or not as the stage needs. ``evaluate`` gives the validation metrics of
    the model as it is; ``on_step`` hears of each step and its mean loss, ``on_point`` of each
    evaluation. ``pause``, asked in each step, gives a ``Pause``: what any process wants, all do
    together. ``checkpoint`` writes one, and is told whether the run shall stop after it. Each of
    the ``techniques`` has begun.
    """

    def __init__(
        self,
        model: nn.Module,
        head: dict[str, nn.Parameter],
        tuner: dict[str, nn.Parameter],
        loader: BatchLoader,
        kind: TargetKind,
        evaluate: Callable[[], dict[str, float]],
        setup: StageSetup,
        runtime: Runtime,
        on_step: Callable[[int, float], None] = lambda _step, _loss: None,
        on_point: Callable[[Point], None] = lambda _point: None,
        pause: Callable[[], int] = lambda: Pause.NO,
        checkpoint: Callable[[StageLoop, bool], None] = lambda _loop, _stop: None,
        techniques: Sequence[Technique] = (),
    ) -> None:
        self.model, self.loader, self.evaluate = model.to(runtime.device), loader, evaluate
        row_of = loader.row_of
        self._weights = None if row_of is None else torch.from_numpy(window_weights(row_of))
        self.kind, self.setup, self.runtime = kind, setup, runtime
        self.on_step, self.on_point = on_step, on_point
        self.pause, self.checkpoint = pause, checkpoint
        self.techniques = Techniques(techniques, kind)
        self.trained = {**tuner, **head}
        apart = not self.techniques.whole
        self._used = used_rows(model, tuner, loader, runtime) if apart else None
        swapped = {
            n: self._used.table for n, p in tuner.items() if self._used and p is self._used.weight
        }
        self._updated = {**self.trained, **swapped}
        self.optimizer = build_optimizer(
            head, {**tuner, **swapped}, setup.optimizer, self.techniques.rate
        )
        rows = {n: self._used.rows for n in swapped if self._used}
        updated = {n: Updated(p, rows.get(n)) for n, p in self._updated.items()}
        self.techniques.optimizer(self.optimizer, updated)
        self.state = LoopState()
        self.step_reports = StepReports(runtime)
        self._row_gradients = RowGradients()
        self._window: torch.Tensor | None = None
        self._paused = Pause.NO
        self.best_tensors: dict[str, torch.Tensor] = {}
        seed = stream(setup.seed, "order")
        self.order = BatchOrder(loader.lengths, setup.batch_size, seed)
        self.rule: LearnedRule | PlateauRule | None = None
        if setup.length.until == "learned":
            self.rule = LearnedRule()
        elif setup.length.until == "plateau":
            self.rule = PlateauRule(setup.patience)
        self._every = setup.eval_every or self.order.per_epoch
        self._epoch, self._batches = -1, self.order.epoch(0)
        whole = max(self.order.per_epoch, math.ceil(WINDOW_ROWS / setup.batch_size))
        self.window_steps = min(whole, WINDOW_STEPS)

    def solve(self, labels: Labels, strength: float | None = None) -> Fitted:
        """Fit the head to its optimum on stored features instead of training it step by step.

        ``run`` then evaluates and is over. ``strength`` is the penalty; ``None`` lets held-out rows
        choose it.
        """
        began = time.perf_counter()
        self._point()
        evaluated = time.perf_counter()
        fitted = fit_head(
            self.model, self.trained, self.loader, self.kind, labels, self.setup.seed, strength
        )
        ended = time.perf_counter()
        self.state.seconds += ended - began
        self.state.training_seconds += ended - evaluated
        self.state.step, self.state.ended = fitted.iterations, "optimum"
        return fitted

    def run(self) -> LoopState:
        """Train to the stage's end.

        It has ``ended`` by ``nan`` if the loss stopped being a number.
        """
        began = time.perf_counter() - self.state.seconds
        if not self.state.curve:
            self._point()
        first = np.zeros(1, np.int64)
        prepared = self.runtime.prepared(
            self.model, self.optimizer, lambda: self.loader.batch(first)
        )
        with self.runtime.own_randomness(), kept_memory(), prepared as (model, stepper):
            while not self.state.ended:
                self._step(model, stepper)
                self._account()
                self._after_step()
                self.state.seconds = time.perf_counter() - began
                wanted = max(self._paused, self.pause() if self.runtime.world == 1 else Pause.NO)
                if wanted:
                    self._account(everything=True)
                    self._paused = Pause.NO
                    self.checkpoint(self, wanted == Pause.STOP)
        if self.state.curve[-1].step != self.state.step:
            self._point()
        self.techniques.end()
        self.state.seconds = time.perf_counter() - began
        return self.state

    def _rows(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        epoch, place = divmod(self.state.step, self.order.per_epoch)
        if self._epoch != epoch:
            self._epoch, self._batches = epoch, self.order.epoch(epoch)
        return self._batches[place]

    def _step(self, model: nn.Module, stepper: Any) -> None:
        setup, state, runtime = self.setup, self.state, self.runtime
        began = time.perf_counter()
        rows = self._rows()
        mine = rows[runtime.rank :: runtime.world]
        # A process without a row of its own still has to take part; its row then weighs nothing.
        weight = 1.0 if len(mine) else 0.0
        mine = mine if len(mine) else rows[:1]
        size = setup.micro_batch_size or len(mine)
        parts = [mine[i : i + size] for i in range(0, len(mine), size)]
        runtime.seed(stream(setup.seed, "dropout", state.step, runtime.rank))
        total, kernels = torch.zeros((), device=runtime.device), runtime.kernels(self._used)
        units = self.loader.units
        count = len(rows) if units is None else max(1, int(units[rows].sum()))
        self.techniques.before_step(state.step)
        draw = stream(setup.seed, "augment", state.step)
        for number, part in enumerate(parts):
            batch = self.loader.batch(part, draw)
            labels = batch.pop("labels")
            more, told = number + 1 < len(parts), known_padding(self.loader.padded(part))
            with runtime.accumulating(model, more=more), told:
                # Backward passes are kernels already: to look out for more would take time.
                with kernels, runtime.autocast():
                    logits = model(**batch).logits
                    losses = self.techniques.losses(batch, logits, labels, state.step)
                if self._weights is not None:
                    losses = losses * send(self._weights[torch.from_numpy(part)], runtime.device)
                loss = losses.sum() * weight / count
                # Gradients are averaged over processes, so each one's share is scaled up.
                runtime.backward(loss * runtime.world)
            total += loss.detach()
            if isinstance(self.rule, LearnedRule):
                found = self.kind.adjusted_sums(logits.detach(), labels) * weight
                self._window = found if self._window is None else self._window + found
        self._row_gradients.make_dense(self._updated.values())
        self.techniques.gradients(state.step)
        if setup.optimizer.clip:
            runtime.clip(self._updated.values(), setup.optimizer.clip, self.optimizer)
        warmup = round(setup.optimizer.warmup * setup.length.steps)
        factor = rate_factor(state.step, *self._schedule(warmup))
        set_rates(self.optimizer, factor)
        stepper.step()
        stepper.zero_grad(set_to_none=True)
        self._row_gradients.clear()
        self.techniques.after_step(state.step)
        if self._used:
            rate = setup.optimizer.lr * factor
            state.unseen_decay *= 1 - rate * setup.optimizer.weight_decay
        state.step += 1
        state.tokens += int(self.loader.lengths[rows].sum())
        # Several processes pause together, so what one of them wants goes round with the loss.
        wanted = self.pause() if runtime.world > 1 else Pause.NO
        self.step_reports.add(state.step, len(rows), total, wanted)
        state.training_seconds += time.perf_counter() - began

    def _account(self, *, everything: bool = False) -> None:
        """Record what steps have reported."""
        for report in self.step_reports.read(everything=everything):
            total, rows = self.state.since_point
            self.state.since_point = (total + report.loss * report.rows, rows + report.rows)
            self._paused = max(self._paused, report.pause)
            self.on_step(report.step, self.kind.users_loss(report.loss))

    def _window_sums(self) -> list[list[float]]:
        """Return the sums for the adjusted score over all processes since the rule last looked."""
        if self._window is None:
            return []
        found: list[list[float]] = self.runtime.sum(self._window).tolist()
        return found

    def _schedule(self, warmup: int) -> tuple[int, int, int | None]:
        """Return the stage's present end, its warm-up, and where the rate begins to fall.

        A stage whose end is open holds the rate until the rule has spoken and takes a fifth of
        what it has run for the fall; the bound holds for both together.
        """
        bound = self.setup.length.steps
        if not isinstance(self.rule, LearnedRule):
            return bound, warmup, None
        latest = math.ceil(bound / 1.2)
        fall = min(self.state.fall_from or latest, latest)
        return min(bound, fall + max(1, math.ceil(fall / 5))), warmup, fall

    def _after_step(self) -> None:
        state, length = self.state, self.setup.length
        end = self._schedule(0)[0]
        at_window = isinstance(self.rule, LearnedRule) and state.step % self.window_steps == 0
        if at_window or state.step >= end or state.step % self._every == 0:
            self._account(everything=True)
        if not math.isfinite(state.since_point[0]):
            state.ended = "nan"
            return
        if at_window and isinstance(self.rule, LearnedRule):
            done = self.rule.update(
                adjusted_score_of_sums(self.kind, np.array(self._window_sums()))
            )
            if done and state.step >= length.least and state.fall_from is None:
                state.fall_from, end = state.step, self._schedule(0)[0]
            self._window = None
        if state.step >= end:
            open_end = isinstance(self.rule, LearnedRule)
            state.ended = ("learned" if state.fall_from else "bound") if open_end else "end"
        if state.step % self._every == 0 or state.ended:
            self._point()
            score = state.curve[-1].scores["score"]
            if isinstance(self.rule, PlateauRule) and self.rule.update(score) and not state.ended:
                state.ended = "plateau"

    def _point(self) -> None:
        state = self.state
        total, rows = state.since_point
        if self._used:
            self._used.write(state.unseen_decay)
            state.unseen_decay = 1.0
        with self.techniques.evaluated():
            loss = self.kind.users_loss(total / rows) if rows else None
            self._judge(Point(state.step, loss, self.evaluate()))

    def _judge(self, point: Point) -> None:
        """Record an evaluation, and the state if it is the best."""
        state, scores = self.state, point.scores
        state.curve.append(point)
        state.since_point = (0.0, 0)
        self.on_point(state.curve[-1])
        if not math.isfinite(scores.get("loss", 0.0)):
            state.ended = "nan"  # as after an update that the next step would have shown
        if state.ended == "nan":
            return
        best = state.best.get("score", -math.inf)
        if state.step == 0 or not scores["score"] <= best:  # the last, where rows define no score
            state.best_step = state.step
            if self.setup.keep_best:
                state_now = {**self.trained, **dict(saved_buffers(self.model))}
                self.best_tensors = {n: p.detach().clone() for n, p in state_now.items()}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return what a checkpoint must hold: parameters, moments and the best state."""
        if self._used:
            self._used.write()
        found: dict[str, torch.Tensor] = {f"now/{n}": p for n, p in self.trained.items()}
        for name, parameter in self._updated.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"adam/{key}/{name}"] = torch.as_tensor(value)
        found |= {f"best/{name}": t for name, t in self.best_tensors.items()}
        return found | self.techniques.tensors()

    def snapshot(self) -> dict[str, Any]:
        """Return the plain data of a checkpoint."""
        if self.rule is not None:
            self.state.rule = {"best": self.rule.best, "level": self.rule.level}
        self.state.window = self._window_sums()
        self.state.scale = self.runtime.loss_scale
        return self.state.to_dict()

    @torch.no_grad()
    def restore(self, state: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Go back to a checkpoint, bit for bit."""
        self.state = LoopState.from_dict(state)
        self.runtime.resume_loss_scale(self.state.scale)
        if self.rule is not None and self.state.rule:
            self.rule.best, self.rule.level = self.state.rule["best"], self.state.rule["level"]
        if self.state.window:
            # The sums of all processes go on in one of them.
            share = 1.0 if self.runtime.rank == 0 else 0.0
            self._window = share * torch.tensor(self.state.window, device=self.runtime.device)
        for name, parameter in self.trained.items():
            parameter.copy_(tensors[f"now/{name}"])
        if self._used:
            self._used.read()
        for name, parameter in self._updated.items():
            where = torch.device("cpu") if self.setup.optimizer.offload else parameter.device
            moments = {
                key: tensors[f"adam/{key}/{name}"].to("cpu" if key == "step" else where)
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"adam/{key}/{name}" in tensors
            }
            if moments:
                self.optimizer.state[parameter] = moments
        self.techniques.restore(tensors)
        best = under("best", tensors)
        self.best_tensors = {name: t.to(self.runtime.device) for name, t in best.items()}
