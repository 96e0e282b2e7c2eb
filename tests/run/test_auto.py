"""The search for a strategy: what it looks at, how long it takes, what it leaves."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart as hs
from headstart.config import FitConfig
from headstart.errors import ConfigError, DataError, HeadstartError, NumericalError, RunError
from headstart.run import prepare_run
from headstart.search import auto
from headstart.search.auto import Searcher, first_settings
from headstart.search.halving import Trial
from headstart.search.state import Search
from headstart.search.trial import OutOfTime, Speed, TrialRunner
from headstart.steps.callback import Callback
from headstart.steps.types import TrainingPlan
from headstart.strategies.presets import PRESETS
from headstart.training.runtime import Runtime
from headstart.untrusted import markdown
from tiny_runs import Watch, frame, inputs, same, saved

LINES = (
    "bitfit(steps=3) > full(steps=2)",
    "full(steps=2)",
    "head(steps=3) > full(steps=2)",
    "lora(steps=3) > full(steps=2)",
)
DEFAULT, PLAIN, PROBED, LORA = LINES


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every candidate train for a few steps."""
    monkeypatch.setattr(auto, "CANDIDATES", LINES)
    monkeypatch.setattr(auto, "DEFAULT", DEFAULT)


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    return inputs(folder) | {"strategy": "auto", "budget": "5h", "guard": False} | more


def without_times(search: dict[str, Any]) -> dict[str, Any]:
    trials = [{k: v for k, v in t.items() if k != "seconds"} for t in search["trials"]]
    return {k: v for k, v in search.items() if k != "seconds"} | {"trials": trials}


class FakeBench(TrialRunner):
    """Tries nothing: scores are given, and a clock moves on by the steps."""

    def __init__(self, plan: TrainingPlan, score: Callable[[str, int], float], speed: float = 1.0):
        self.now, self.score, self.speed = 0.0, score, speed
        self.tried: list[tuple[str, int, float]] = []
        super().__init__(plan, lambda: self.now, lambda: False)

    def measure(self) -> Speed:
        return Speed(1.0, 0.0)

    def attempt(self, line: str, number: int, length: float, deadline: float) -> Trial:
        steps = sum(s.length.steps for s in self.on_split(line, number, length).stages)
        self.now += steps * self.speed
        if self.now > deadline:
            raise OutOfTime
        self.tried.append((line, number, length))
        return Trial(line, number, self.score(line, number), 0.5, steps, steps * self.speed)


class Told(Callback):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)


def search_with(
    folder: Path, budget: str, score: Callable[[str, int], float], speed: float = 1.0
) -> tuple[Search, FakeBench]:
    config = FitConfig.build(settings(folder, budget=budget, out=folder / "x"))
    plan = prepare_run(first_settings(config), Runtime("cpu", "fp32", None))
    bench = FakeBench(plan, score, speed)
    found = Search(budget, {})
    Searcher(plan, found, folder / "kept", Told(), bench, 0.0, lambda: bench.now).run()
    return found, bench


def favour(best: str) -> Callable[[str, int], float]:
    return lambda line, number: 0.5 + 0.01 * number + (0.2 if line == best else 0.0)


@pytest.mark.parametrize("best", LINES)
def test_the_best_candidate_is_found_by_halving(tmp_path: Path, best: str) -> None:
    found, bench = search_with(tmp_path, "10h", favour(best))
    assert found.chosen == best
    first = [(line, split) for split in (0, 1) for line in LINES]
    assert [t[:2] for t in bench.tried[:8]] == first
    assert [r["splits"] for r in found.rounds] == [2, 4]
    assert [r["order"][0] for r in found.rounds] == [best, best]
    left = {line for line, split, _ in bench.tried if split >= 2}
    assert {DEFAULT, best} <= left
    assert len(left) <= 3
    assert len(bench.tried) == len(set(bench.tried))
    assert {length for *_, length in bench.tried} == {1.0}


def test_the_default_stays_where_the_difference_is_noise(tmp_path: Path) -> None:
    def score(line: str, number: int) -> float:
        return 0.5 + (0.1 * (-1) ** number + 0.01 if line == LORA else 0.0)

    found, _ = search_with(tmp_path, "10h", score)
    assert found.rounds[-1]["order"][0] == LORA
    assert found.chosen == DEFAULT
    assert "noise" in found.why


def budget_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use candidates whose length follows the run's epochs: 18 steps of plain fine-tuning."""
    lines = ("full", "full+llrd", "full+llrd(factor=0.9)", "full+llrd(factor=0.8)")
    monkeypatch.setattr(auto, "CANDIDATES", lines)
    monkeypatch.setattr(auto, "DEFAULT", "full")
    monkeypatch.setitem(PRESETS, "default", replace(PRESETS["default"], least_steps=0))


@pytest.mark.parametrize(
    ("budget", "length", "rounds"),
    [("1h", 1.0, 2), ("310s", 0.5, 2), ("170s", 0.25, 2), ("75s", 0.125, 2), ("50s", 0.125, 1)],
)
def test_candidates_train_as_long_as_the_budget_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: str, length: float, rounds: int
) -> None:
    budget_lines(monkeypatch)
    found, bench = search_with(tmp_path, budget, favour("full+llrd"))
    whole = FitConfig.build(settings(tmp_path, budget=budget)).budget_seconds
    assert (found.length, len(found.rounds)) == (length, rounds)
    assert bench.now <= whole / 2
    assert bench.now + 18 <= whole
    assert found.chosen == ("full+llrd" if rounds == 2 else "full")
    assert ("2 splits do not tell a gain from noise" in found.why) == (rounds == 1)


def test_a_budget_that_no_round_fits_into_gives_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget_lines(monkeypatch)
    found, bench = search_with(tmp_path, "25s", favour("full+llrd"))
    assert (found.chosen, bench.tried) == ("full", [])
    assert "Nothing was tried" in found.why


@pytest.mark.parametrize(
    ("budget", "expected"),
    [("20s", "head(until=optimum) > full(epochs=5.6)"), ("1s", "head(until=optimum)")],
)
def test_a_budget_below_the_training_itself_shortens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: str, expected: str
) -> None:
    budget_lines(monkeypatch)
    found, bench = search_with(tmp_path, budget, favour("full"))
    assert (found.chosen, bench.tried) == (expected, [])
    assert "Nothing was tried" in found.why
    assert "shortened" in found.why or "a head on the frozen model alone" in found.why


def test_a_budget_of_a_second_leaves_a_model(tmp_path: Path) -> None:
    result = hs.fit(**settings(tmp_path, budget="1s"), out=tmp_path / "auto")
    assert result.strategy.startswith("head(until=optimum)")
    assert result.status == "done" and result.search["trials"] == []
    assert hs.load(tmp_path / "auto").predict(["abc"])[0].label in {"good", "bad"}


def test_a_machine_that_slows_down_ends_the_search_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget_lines(monkeypatch)
    found, bench = search_with(tmp_path, "1h", favour("full+llrd"), speed=100)
    assert found.chosen == "full"
    assert "over before" in found.why
    assert bench.now <= 1800 + 1800  # the trial in progress is stopped by its own steps


def test_a_trial_ends_at_the_step_after_its_deadline(tmp_path: Path) -> None:
    config = FitConfig.build(settings(tmp_path))
    plan = prepare_run(first_settings(config), Runtime("cpu", "fp32", None))
    before = {n: t.clone() for n, t in plan.model.model.state_dict().items()}
    ticks = iter(range(1000))
    bench = TrialRunner(plan, lambda: float(next(ticks)), lambda: False)
    with pytest.raises(OutOfTime):
        bench.attempt(DEFAULT, 0, 1.0, deadline=7.0)
    assert next(ticks) < 12
    assert same(before, plan.model.model.state_dict())


def test_the_winner_trains_as_if_it_had_been_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attempt(self: TrialRunner, line: str, number: int, length: float, deadline: float) -> Trial:
        trial = tried(self, line, number, length, deadline)
        return Trial(line, number, favour(PROBED)(line, number), 0.5, trial.steps, 0.0)

    tried = TrialRunner.attempt
    monkeypatch.setattr(TrialRunner, "attempt", attempt)
    found = hs.fit(**settings(tmp_path), out=tmp_path / "auto")
    named = hs.fit(**inputs(tmp_path), strategy=PROBED, guard=False, out=tmp_path / "named")
    assert found.strategy == found.search["chosen"] == found.settings["strategy"] == PROBED
    assert found.data == named.data
    assert found.data["train_rows"] == 24
    assert same(saved(tmp_path / "auto"), saved(tmp_path / "named"))
    assert "held out of the training rows" in found.rule
    card = (tmp_path / "auto/model/README.md").read_text()
    assert "## Choice of the strategy" in card
    assert markdown(found.search["why"]) in card
    assert "Choice" not in (tmp_path / "named/model/README.md").read_text()


def test_the_validation_rows_change_nothing(tmp_path: Path) -> None:
    poisoned = frame(30, seed=5, noise=True)
    poisoned["label"] = np.where(poisoned["label"] == "good", "bad", "good")
    one = hs.fit(**settings(tmp_path), out=tmp_path / "one")
    other = hs.fit(**settings(tmp_path, validation=poisoned), out=tmp_path / "other")
    assert one.last != other.last
    assert without_times(one.search) == without_times(other.search)
    assert len({t["score"] for t in one.search["trials"]}) > 1


def test_the_same_seed_searches_alike_and_another_one_elsewhere(tmp_path: Path) -> None:
    one, same_seed, other = (
        hs.fit(**settings(tmp_path), seed=seed, out=tmp_path / name)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert without_times(one.search) == without_times(same_seed.search)
    assert same(saved(tmp_path / "a"), saved(tmp_path / "b"))
    assert without_times(one.search) != without_times(other.search)


def test_candidates_of_a_split_share_rows_head_and_order(tmp_path: Path) -> None:
    config = FitConfig.build(settings(tmp_path))
    plan = prepare_run(first_settings(config), Runtime("cpu", "fp32", None))
    bench = TrialRunner(plan, lambda: 0.0, lambda: False)
    plans = [bench.on_split(line, 0, 1.0) for line in LINES]
    assert len({plan.config.seed for plan in plans}) == 1
    texts = [plan.splits.validation.texts for plan in plans]
    assert all(text == texts[0] for text in texts)
    held_out, kept = texts[0], plans[0].prepared.splits.train.texts
    assert sorted(held_out + kept) == sorted(plan.splits.train.texts)
    assert bench.on_split(PLAIN, 1, 1.0).prepared.splits.validation.texts != held_out
    labels = plans[0].prepared.validation.labels
    assert labels is not None
    assert set(labels) == {0, 1}


def test_a_candidate_that_fails_is_out_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = TrialRunner._train

    def fail(self: TrialRunner, plan: TrainingPlan, *rest: Any) -> Any:
        if plan.config.strategy == LORA:
            raise NumericalError("a number", "NaN", "Lower the rate.")
        return train(self, plan, *rest)

    monkeypatch.setattr(TrialRunner, "_train", fail)
    found = hs.fit(**settings(tmp_path), out=tmp_path / "run").search
    assert found["rounds"][0]["order"][-1] == LORA
    assert any("NaN" in t["error"] for t in found["trials"] if t["strategy"] == LORA)
    assert all(t["split"] < 2 for t in found["trials"] if t["strategy"] == LORA)


def test_a_candidate_that_the_model_cannot_carry_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto, "CANDIDATES", (DEFAULT, PLAIN, "lora(targets=nowhere) > full"))
    found = hs.fit(**settings(tmp_path), out=tmp_path / "run").search
    assert list(found["dropped"]) == ["lora(targets=nowhere) > full"]
    assert {t["strategy"] for t in found["trials"]} == {DEFAULT, PLAIN}


def test_an_interrupted_search_goes_on_without_repeating(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, tried = TrialRunner.attempt, list[tuple[str, int]]()

    def interrupted(self: TrialRunner, line: str, number: int, *rest: Any) -> Trial:
        tried.append((line, number))
        if len(tried) == 4:
            signal.raise_signal(signal.SIGINT)
        return attempt(self, line, number, *rest)

    monkeypatch.setattr(TrialRunner, "attempt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        hs.fit(**settings(tmp_path), out=tmp_path / "run")
    kept = json.loads((tmp_path / "run.partial/checkpoints/search.json").read_text())
    assert [t["strategy"] for t in kept["trials"]] == list(LINES[:3])
    resumed = hs.fit(resume=True, out=tmp_path / "run")
    assert len(tried) == len(set(tried)) + 1  # the interrupted one
    whole = hs.fit(**settings(tmp_path), out=tmp_path / "whole")
    assert without_times(resumed.search) == without_times(whole.search)
    assert resumed.search["seconds"] > kept["seconds"]
    assert same(saved(tmp_path / "run"), saved(tmp_path / "whole"))


def test_training_after_the_search_is_resumed_without_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(lambda _stage, step: signal.raise_signal(signal.SIGINT) if step == 2 else None)
    with pytest.raises(KeyboardInterrupt):
        hs.fit(**settings(tmp_path), out=tmp_path / "run", callback=watch)
    monkeypatch.setattr(TrialRunner, "attempt", lambda *_: pytest.fail("searched again"))
    monkeypatch.setattr(TrialRunner, "measure", lambda *_: pytest.fail("measured again"))
    assert hs.fit(resume=True, out=tmp_path / "run").search["chosen"] in LINES


def test_a_search_on_other_rows_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Searcher.run

    def stop(self: Searcher) -> str:
        run(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(Searcher, "run", stop)
    with pytest.raises(KeyboardInterrupt):
        hs.fit(**settings(tmp_path), out=tmp_path / "run")
    frame(24, seed=9).to_csv(tmp_path / "train.csv", index=False)
    with pytest.raises(RunError, match="other rows"):
        hs.fit(resume=True, out=tmp_path / "run")
    kept = tmp_path / "run.partial/checkpoints/search.json"
    kept.write_text(kept.read_text().replace('"chosen": "', '"chosen": "lora(r=3) > ', 1))
    with pytest.raises(RunError, match="complete record of the search"):
        hs.fit(resume=True, out=tmp_path / "run")


@pytest.mark.parametrize("target", ["classes", "number"])
def test_it_serves_carved_rows_and_numbers(tmp_path: Path, target: str) -> None:
    rows = frame(40)
    if target == "number":
        rows["label"] = np.linspace(-3, 5, len(rows))
    more = {"validation": None, "train": rows, "target": target, "select": "best"}
    found = hs.fit(**settings(tmp_path, **more, selection="carve"), out=tmp_path / "run")
    assert found.data["train_rows"] == 32
    assert found.search["held_out"] == 6
    assert found.selected == "best"


def refused(folder: Path, **more: Any) -> str:
    with pytest.raises(HeadstartError) as told:
        hs.plan(**settings(folder, **more))
    assert not list(folder.glob("*.partial"))
    return str(told.value)


@pytest.mark.parametrize("budget", ["20", "0s", "-5m", "soon", "1.5h", "5m 1h", ""])
def test_a_budget_needs_whole_numbers_and_units(tmp_path: Path, budget: str) -> None:
    assert repr(budget) in refused(tmp_path, budget=budget)


@pytest.mark.parametrize(
    ("budget", "seconds"), [("90s", 90), ("20m", 1200), ("1h30m", 5400), ("1h 5s", 3605)]
)
def test_a_budget_is_read(tmp_path: Path, budget: str, seconds: int) -> None:
    assert FitConfig.build(settings(tmp_path, budget=budget)).budget_seconds == seconds


def test_what_goes_with_a_search_and_what_does_not(tmp_path: Path) -> None:
    assert "--budget beside --strategy auto" in refused(tmp_path, budget=None)
    assert "--strategy auto beside --budget; found eh-ft" in refused(tmp_path, strategy="eh-ft")
    assert "--head or --strategy auto" in refused(tmp_path, head="somewhere")
    with pytest.raises(DataError, match="20 or more; found 12"):
        hs.plan(**settings(tmp_path, train=frame(12)))


def test_the_plan_says_what_will_be_tried(tmp_path: Path) -> None:
    plan = hs.plan(**settings(tmp_path))
    assert plan.strategy == "auto"
    assert all(line in dict(plan.facts)["candidates"] for line in LINES)
    assert any("the search may choose another" in note for note in plan.notes)


def test_a_study_refuses_a_search_with_a_reason(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    with pytest.raises(ConfigError, match="for headstart fit alone"):
        hs.run_study(
            train=given["train"], text="sentence", model=given["model"], strategies="auto,eh-ft",
            out=tmp_path / "study",
        )  # fmt: skip
