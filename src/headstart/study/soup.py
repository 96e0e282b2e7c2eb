"""Greedy soup: the mean of the models of several seeds, as far as each one helps.

::

    best seed first:    mean = its weights
    for each other one: try the mean with it; keep it if the validation score does not fall

Wortsman et al. 2022, arXiv 2203.05482, recipe 1. A study keeps no weights, so the runs are trained
again: the same settings and seed give the same bits on the same machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from headstart.config import FitConfig
from headstart.configfile import TRUST, without_trust
from headstart.errors import RunError
from headstart.files.home import path_of
from headstart.files.writing import whole_folder
from headstart.plugins.cards import Card
from headstart.results import RunResult
from headstart.run import prepare_run
from headstart.steps.callback import Callback
from headstart.steps.output.record import finish, make_record
from headstart.steps.save import save_run
from headstart.steps.stages.runner import StrategyRunner
from headstart.steps.train import stage_runner, train
from headstart.steps.types import TrainingPlan
from headstart.study.outcome.read import canonical, read_records
from headstart.training.evaluate import predict_logits
from headstart.training.machine.runtime import Runtime

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Ingredient:
    """One seed's part in a soup.

    ``score`` is its own, trained again, ``with_it`` that of the mean with it, both on the
    validation rows.
    """

    seed: int
    score: float
    with_it: float
    kept: bool


def stirred(mean: Mapping[str, torch.Tensor], count: int, more: Weights) -> Weights:
    """Return the mean of one model more.

    ``mean`` is that of ``count`` models. What is no fraction (counters, indices) stays that of the
    first.
    """
    return {
        name: have + (more[name] - have) / (count + 1) if have.is_floating_point() else have
        for name, have in mean.items()
    }


def greedy(
    parts: Iterable[tuple[int, float, Weights]], score: Callable[[Weights], float]
) -> tuple[Weights, list[Ingredient]]:
    """Add one model after the other to a mean, and keep those with which the score does not fall.

    ``parts`` are seed, own score and weights of each, the best first. Returned are the mean of
    those kept, and what became of each.
    """
    mean: Weights = {}
    told: list[Ingredient] = []
    best, count = float("-inf"), 0
    for seed, own, weights in parts:
        trial = stirred(mean, count, weights) if count else weights
        found = score(trial) if count else own
        kept = found >= best
        told.append(Ingredient(seed, own, found, kept))
        if kept:
            mean, best, count = trial, found, count + 1
    return mean, told


@dataclass
class _Run:
    """A run that has trained in this process."""

    plan: TrainingPlan
    runner: StrategyRunner
    result: RunResult

    @property
    def score(self) -> float:
        return self.runner.data.judge(self.runner.last_logits)["score"]

    def weights(self) -> Weights:
        model = self.plan.model.model
        return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def judge(self, weights: Weights) -> dict[str, float]:
        """Evaluate other weights on the validation rows; the model then has them."""
        model, data = self.plan.model.model, self.runner.data
        model.load_state_dict(weights)
        self.runner.last_logits = predict_logits(
            model, data.validation, self.plan.runtime, data.outputs
        )
        return data.judge(self.runner.last_logits)


def make_soup(
    address: str,
    line: str,
    out: Path,
    callback: Callback | None = None,
    *,
    trust_remote_code: bool | None = None,
) -> tuple[RunResult, list[Ingredient]]:
    """Train the seeds of a strategy again, average them greedily, and save the result as a run.

    Args:
        address: The study's folder.
        line: The strategy.
        out: Folder for the result; there must be none.
        callback: Hears what happens.
        trust_remote_code: Whether code that comes with the model may run. What the study's folder
            says of it does not count: it may be somebody else's.

    Returns:
        The record, also written to ``out/result.json``, and what became of each seed.

    Raises:
        HeadstartError: If the study has not at least two finished runs of the strategy that were
            scored on the same rows, or ``out`` is there; or its runs were trusted to run code of
            the model's own and the call says nothing of it.
    """
    callback, out = callback or Callback(), path_of(out)
    if out.exists():
        raise RunError("a new folder for --out", f"{out}, which is there", "Choose another --out.")
    runs = [_trusted(run, address, trust_remote_code) for run in _ordered(address, canonical(line))]
    first = _train(runs[0], callback)

    def parts() -> Iterator[tuple[int, float, Weights]]:
        yield first.result.seed, first.score, first.weights()
        for run in runs[1:]:
            other = _train(run, callback)
            yield other.result.seed, other.score, other.weights()

    weights, told = greedy(parts(), lambda trial: first.judge(trial)["score"])
    result = first.result
    final = result.stages[-1]
    final.end = first.judge(weights)
    final.best = final.end if result.selected == "best" else final.best
    kept = [str(one.seed) for one in told if one.kept]
    result.rule = (
        f"a greedy soup, the mean of the seeds {', '.join(kept)} of {len(told)}, chosen by the "
        "score on the validation rows, the same rows that the score is reported on"
    )
    finish(first.plan, first.runner, result, callback)
    result.settings["out"] = str(out)
    first.runner.pretrained_head = None
    with whole_folder(out, replace=False) as new:
        save_run(first.plan, first.runner, result, new)
    return result, told


def _train(run: _Planned, callback: Callback) -> _Run:
    """Train a run again, and say so if another score comes out than the study has."""
    config = FitConfig.build({**run.settings, "out": None, "calibrate": False})
    callback.message(f"Training seed {config.seed} again.")
    runtime = Runtime(config.device, config.precision, config.threads)
    plan = prepare_run(config, runtime)
    runner, result = stage_runner(plan, Callback()), make_record(plan)
    train(runner, result)
    trained = _Run(plan, runner, result)
    if abs(trained.score - run.score) > 1e-6:
        callback.warning(
            f"Seed {config.seed} scores {trained.score:.4f} where the study has {run.score:.4f}: "
            "it ran on another machine, with other threads, or other versions."
        )
    return trained


@dataclass(frozen=True)
class _Planned:
    """A run of the study: its settings, its score there, its validation rows' fingerprint."""

    settings: dict[str, Any]
    score: float
    rows: str
    where: tuple[str, ...]


def _trusted(run: _Planned, address: str, trust: bool | None) -> _Planned:
    """Replace the folder's ``trust_remote_code`` by that of this call."""
    settings = without_trust(run.settings, address, said=trust is not None)
    return replace(run, settings={**settings, TRUST: bool(trust)})


def _ordered(address: str, strategy: str) -> list[_Planned]:
    """Return the finished runs of a strategy, the best first, and see that they can be compared."""
    records = read_records(address, strategies=[strategy])
    settings = {run.id: run.settings for run in records.planned}
    runs = [
        _Planned(
            settings[each["id"]],
            RunResult.from_dict(each["result"]).selecting["score"],
            str(each["result"]["data"].get("validation_fingerprint")),
            tuple(f"{k} {v}" for k, v in each["axes"].items() if k not in {"seed", "strategy"}),
        )
        for each in records.results
    ]
    places = {run.where for run in runs}
    if len(places) > 1:
        found = "; ".join(sorted(", ".join(place) for place in places))
        raise RunError(
            "a strategy that was run in one place: one task, model, size and setting", found,
            "Make a study of one of them.",
        )  # fmt: skip
    if len({run.rows for run in runs}) > 1:
        raise RunError(
            "runs that were scored on the same validation rows",
            "rows held out of the training rows, others for each seed",
            "Give the study a validation file and `selection: validation`: what one seed is scored "
            "on, another would have been trained on.",
        )
    if any(run.settings.get("tune_threshold") for run in runs):
        raise RunError(
            "runs whose labels all have the threshold 0.5",
            "tune_threshold: a mean of models has none of theirs",
            "Make the study without tune_threshold.",
        )
    if len(runs) < 2:
        raise RunError(
            f"at least two finished runs of {strategy}", str(len(runs)), "Add seeds to the study."
        )
    return sorted(runs, key=lambda run: (-run.score, run.settings["seed"]))


CARD = Card(
    idea="Models of one strategy that differ in their seed are averaged, weight by weight. The "
    "best one is first, and each other one is kept only while the score on the validation rows "
    "does not fall. The result is one checkpoint, as large and as fast as one of them.",
    equation="mean of the kept weights, where each next one is kept if score(mean with it) ≥ "
    "score(mean without it)",
    helps="When a study has trained the seeds anyway: the paper finds the mean above the best "
    "single model, and steadier on rows of another kind.",
    harms="With few validation rows: they choose what is kept, so the score on them flatters. "
    "Seeds whose heads began at random lie further apart than the paper's, which share one head, "
    "and a mean of distant models is poor. It costs the training of every seed.",
    citation="Wortsman et al.: Model Soups: Averaging Weights of Multiple Fine-Tuned Models "
    "Improves Accuracy without Increasing Inference Time (ICML 2022), arXiv 2203.05482.",
    deviations="The paper averages over hyper-parameters and seeds; here over seeds alone. Its "
    "models start from one zero-shot or linear-probed head.",
    notes="The line may hold any stages and techniques. A study keeps no weights, so its runs are "
    "trained again.",
)
