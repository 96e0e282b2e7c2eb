"""``--strategy auto``: find a strategy by successive halving within a budget of time.

The candidates are tried on splits of the training rows; the validation rows are not looked at.
What has been tried is kept in the run's folder, so that an interrupted search goes on.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from headstart.config import AUTO, FitConfig
from headstart.errors import ConfigError, HeadstartError
from headstart.files.jsonfile import with_digest
from headstart.search.halving import (
    FIRST_SPLITS,
    SPLITS,
    Trial,
    better_half,
    decide,
    mean_score,
    ranking,
)
from headstart.search.state import STATE, Search, load_search
from headstart.search.trial import SHARE, Clock, OutOfTime, Speed, TrialRunner, split_rows
from headstart.steps.callback import Callback
from headstart.steps.output.folder import CHECKPOINTS, RunFolder
from headstart.steps.plan import with_settings
from headstart.steps.settings import changed_settings
from headstart.steps.stages.interrupt import Pauser
from headstart.steps.stages.resume import origin_of, require_same
from headstart.steps.summary import PlanSummary, summarise
from headstart.steps.types import TrainingPlan
from headstart.strategies.builtin import ALIASES
from headstart.training.step_reports import Pause
from headstart.writing import write_text

CANDIDATES = tuple(ALIASES[name].line for name in ("default", "ft", "eh-ft", "eh-ft-lora"))
"""What is tried: the default first, then in order of preference where nothing else decides."""
DEFAULT = CANDIDATES[0]
SEARCH_SHARE = 0.5
"""The most of the budget that the search takes; the rest is for the training itself."""
LENGTHS = (1.0, 0.5, 0.25, 0.125)
"""Shares of the run's epochs for which candidates may train; the longest that fits is taken."""
MARGIN = 1.2
"""Estimates are made so much longer: batches differ, and so does what else the machine does."""
HEAD_ALONE = "head(until=optimum)"
"""What is trained where the time suffices for nothing else."""
SHORTEST = 0.5
"""Epochs of fine-tuning below which it is left out."""


def first_settings(config: FitConfig) -> FitConfig:
    """Return settings by which rows and model can be made ready before the strategy is known.

    Args:
        config: The settings as given.

    Returns:
        With the default in the place of ``auto``; the budget tells that a search is to come.
    """
    return config.model_copy(update={"strategy": DEFAULT}) if config.budget else config


def check_search(plan: TrainingPlan) -> None:
    """Refuse a search that cannot be carried out.

    Args:
        plan: A run; one without a budget is let through.

    Raises:
        HeadstartError: If there are too few rows, or several processes, whose clocks differ.
    """
    if not plan.config.budget:
        return
    split_rows(plan, 0)
    if plan.runtime.world > 1:
        fix = "Name a strategy, or search in one process first."
        found = f"{plan.runtime.world} processes, whose clocks differ"
        raise ConfigError("one process for --strategy auto", found, fix)


def with_search(summary: PlanSummary, plan: TrainingPlan) -> PlanSummary:
    """Tell in a plan's summary that a search comes before it.

    Args:
        summary: The summary of training by the default.
        plan: The run.

    Returns:
        The summary.
    """
    if not plan.config.budget:
        return summary
    told = (
        f"{'; '.join(CANDIDATES)}: on {FIRST_SPLITS}, then {SPLITS} splits that hold out "
        f"{SHARE:.0%} of the training rows; up to {SEARCH_SHARE:.0%} of {plan.config.budget}"
    )
    note = (
        f"The stages are those of the default, {DEFAULT}; the search may choose another strategy. "
        "It does not look at the validation rows."
    )
    return replace(
        summary,
        strategy=AUTO,
        facts=(("candidates", told), *summary.facts),
        notes=(note, *summary.notes),
    )


class Searcher:
    """Carries a search out.

    Args:
        plan: The run, by the default strategy.
        search: How far it has come.
        folder: Where it is kept.
        callback: Hears what is tried and why something is chosen.
        bench: Tries candidates.
        began: When the run began, by the clock.
        clock: Gives seconds.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        search: Search,
        folder: Path,
        callback: Callback,
        bench: TrialRunner,
        began: float,
        clock: Clock = time.perf_counter,
    ) -> None:
        self.plan, self.search, self.folder = plan, search, folder
        self.callback, self.bench, self.clock = callback, bench, clock
        self.began = began - search.seconds
        self.trials = {(t.strategy, t.split): t for t in search.trials}
        self.steps: dict[str, int] = {}
        self.speed = Speed(0.0, 0.0)

    def run(self) -> str:
        """Search, unless it is done already.

        Returns:
            The chosen line.

        Raises:
            KeyboardInterrupt: If the user interrupts; the trials that are done are kept.
        """
        if not self.search.chosen:
            names = self._candidates()
            self.speed = self.bench.measure()
            limit = self._limit(names)
            try:
                found = self._shortened() if limit is None else self._race(names, limit)
            except OutOfTime:
                why = "The time for the search was over before the candidates could be compared."
                found = self._from_rounds(why)
            chosen, why = found
            self.search.chosen, self.search.why = chosen, why
            self._keep()
        self.callback.message(f"auto: chosen is {self.search.chosen}. {self.search.why}")
        return self.search.chosen

    def _candidates(self) -> list[str]:
        """Return the candidates that this model can carry."""
        names = []
        for line in CANDIDATES:
            try:
                config = self.plan.config.model_copy(update={"strategy": line})
                planned = with_settings(self.plan, changed_settings(config, self.plan.task))
                summarise(planned)  # looks whether the model can carry the tuners
            except HeadstartError as error:
                self.search.dropped[line] = str(error)
                self.callback.message(f"auto: {line} is left out: {error}")
                continue
            self.steps[line] = sum(stage.length.expected for stage in planned.stages)
            names.append(line)
        return names

    def _limit(self, names: Sequence[str]) -> float | None:
        """Return when the search has to be over, by the clock; ``None`` if there is no time."""
        budget, rows = self.plan.config.budget_seconds, self.plan.encoded
        points = 2 + self.plan.hyperparameters.epochs
        evaluated = points * (len(rows.validation) + len(rows.train)) * self.speed.row
        last = {line: MARGIN * (self.steps[line] * self.speed.step + evaluated) for line in names}
        elapsed = self.clock() - self.began
        if elapsed + last[DEFAULT] > budget and not self.trials:
            return None
        return self.began + min(SEARCH_SHARE * budget, budget - max(last.values()))

    def _shortened(self) -> tuple[str, str]:
        """Return the default with so many epochs as the budget allows, the head alone at worst."""
        plan, splits = self.plan, self.plan.encoded
        left = self.plan.config.budget_seconds - (self.clock() - self.began)
        per_epoch = math.ceil(len(splits.train) / plan.hyperparameters.preset.batch_size)
        evaluated = 3 * (len(splits.validation) + len(splits.train)) * self.speed.row
        epochs = (left / MARGIN - evaluated) / max(1e-9, per_epoch * self.speed.step)
        told = (
            f"Nothing was tried: training by the default takes longer than the "
            f"{_minutes(max(0.0, left))} that are left of {self.search.budget}."
        )
        if epochs < SHORTEST:
            return HEAD_ALONE, f"{told} They do for a head on the frozen model alone."
        return f"{HEAD_ALONE} > full(epochs={epochs:.2g})", f"{told} Its last stage is shortened."

    def _race(self, names: list[str], limit: float) -> tuple[str, str]:
        """Halve until one is left; return the chosen line and why."""
        search, splits = self.search, FIRST_SPLITS
        search.length = search.length or self._length(names, limit)
        search.held_out = len(split_rows(self.plan, 0)[1])
        if not search.length:
            shortest = self._seconds(names, FIRST_SPLITS, LENGTHS[-1])
            left = max(0.0, limit - self.clock())
            return DEFAULT, (
                f"Nothing was tried: the first round would take about {_minutes(shortest)}, and "
                f"{_minutes(left)} are left for the search. The default is taken."
            )
        search.rounds.clear()
        while True:
            if self.clock() + self._seconds(names, splits, search.length) > limit:
                return self._from_rounds(
                    f"The round on {splits} splits would not fit into the time for the search."
                )
            self._round(names, splits, limit)
            order = ranking(self.trials, names, splits)
            search.rounds.append({"splits": splits, "order": order})
            best = better_half(order)
            names = [line for line in CANDIDATES if line in {*best, DEFAULT}]
            if len(best) == 1 and splits >= SPLITS:
                return decide(self.trials, best[0], DEFAULT, splits)
            splits *= 2

    def _from_rounds(self, reason: str) -> tuple[str, str]:
        """Choose by the rounds that were finished, if they compared on enough splits."""
        if not self.search.rounds:
            return DEFAULT, f"{reason} The default is taken."
        done = self.search.rounds[-1]
        failed = not math.isfinite(mean_score(self.trials, DEFAULT, done["splits"]))
        if done["splits"] < SPLITS and not failed:
            few = f"{done['splits']} splits do not tell a gain from noise."
            return DEFAULT, f"{reason} {few} The default is taken."
        chosen, why = decide(self.trials, done["order"][0], DEFAULT, done["splits"])
        return chosen, f"{reason} {why}"

    def _round(self, names: Sequence[str], splits: int, limit: float) -> None:
        for split in range(splits):
            for line in names:
                if (line, split) not in self.trials:
                    trial = self.bench.attempt(line, split, self.search.length, limit)
                    self.trials[line, split] = trial
                    self.search.trials.append(trial)
                    self._keep()
                    self.callback.message(f"auto: {_told(trial)}")
        scores = ", ".join(
            f"{line} {mean_score(self.trials, line, splits):.4f}"
            for line in ranking(self.trials, names, splits)
        )
        self.callback.message(
            f"auto: {splits} splits, {self.search.held_out} rows held out in each, "
            f"{self.search.length:g} of the epochs: {scores}"
        )

    def _length(self, names: Sequence[str], limit: float) -> float:
        """Return the longest share of the epochs with which the search fits; 0 if none does."""
        left = limit - self.clock()
        dear = sorted(names, key=lambda line: -self.steps[line])[: len(names) // 2 + 1]
        for length in LENGTHS:
            first = self._seconds(names, FIRST_SPLITS, length)
            further = self._seconds(dear, SPLITS - FIRST_SPLITS, length)
            if first + further <= left:
                return length
        return LENGTHS[-1] if self._seconds(names, FIRST_SPLITS, LENGTHS[-1]) <= left else 0.0

    def _seconds(self, names: Sequence[str], splits: int, length: float) -> float:
        """Estimate what is left of a round."""
        total = 0.0
        for line in names:
            missing = sum((line, split) not in self.trials for split in range(splits))
            total += missing * self._trial_seconds(line, length)
        return total

    def _trial_seconds(self, line: str, length: float) -> float:
        done = [t.seconds for (name, _), t in self.trials.items() if name == line]
        if done:
            return MARGIN * sum(done) / len(done)
        planned = self.bench.on_split(line, 0, length)
        steps = sum(stage.length.expected for stage in planned.stages)
        rows = len(planned.stages) * (
            2 * len(planned.encoded.validation) + len(planned.encoded.train)
        )
        return MARGIN * (steps * self.speed.step + rows * self.speed.row)

    def _keep(self) -> None:
        self.search.seconds = self.clock() - self.began
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / STATE, json.dumps(with_digest(asdict(self.search))))


def _told(trial: Trial) -> str:
    found = trial.error if trial.score is None else f"score {trial.score:.4f}"
    steps = f"{trial.steps:,} steps, {trial.seconds:.1f} s"
    return f"{trial.strategy} on split {trial.split + 1}: {found} ({steps})"


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def find_strategy(
    plan: TrainingPlan, folder: RunFolder, callback: Callback, began: float
) -> Search:
    """Find a strategy, or go on with finding one.

    Args:
        plan: The run, by the default strategy.
        folder: Its folder, which keeps what was tried.
        callback: Hears what is tried and why something is chosen.
        began: When the run began, by ``time.perf_counter``.

    Returns:
        What was found.

    Raises:
        RunError: If a search that goes on was about other rows or another backbone.
        KeyboardInterrupt: If the user interrupts; the trials that are done are kept.
    """
    kept, origin = folder.work / CHECKPOINTS, origin_of(plan)
    search = load_search(kept) if plan.config.resume else None
    if search:
        require_same(search.origin, origin)
    search = search or Search(str(plan.config.budget), origin)
    with Pauser(math.inf) as pauser:
        trials = TrialRunner(plan, time.perf_counter, lambda: pauser() == Pause.STOP)
        Searcher(plan, search, kept, callback, trials, began).run()
        if pauser() == Pause.STOP:
            raise KeyboardInterrupt
    return search
