"""A head that has not learned is never handed on in silence."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import headstart as hs
from headstart.cli.shared.tables import stage_end
from headstart.errors import NumericalError
from headstart.models.checkpoints.loading import load_saved
from headstart.results import Point, StageResult
from headstart.steps.stages.guard import LEARNED, has_learned, is_refuted, may_hand_on
from headstart.training.loop import StageLoop
from headstart.training.stopping import LearnedRule
from tiny_runs import Watch, frame, inputs, same, saved, watched

STUCK = "bitfit(steps=8, lr=1e-7, head_lr=1e-7)"
"""Too small a rate for anything to change."""
WILD = "bitfit(steps=8, lr=1e30, head_lr=1e30)"
"""So large a rate that the loss is soon not a number."""
LAST = "full(steps=3)"


def model_of(run: Path) -> dict[str, torch.Tensor]:
    return {name: t for name, t in saved(run).items() if name.startswith("model/")}


@pytest.mark.parametrize(
    ("adjusted_score", "share", "ended", "learned", "handed_on"),
    [
        (0.11, 1.0, "end", True, True),
        (0.09, 0.81, "end", False, False),
        (0.0, 0.79, "end", True, True),
        (0.9, 0.1, "nan", False, False),
    ],
)
def test_what_counts_as_learned(
    adjusted_score: float, share: float, ended: str, learned: bool, handed_on: bool
) -> None:
    """A tenth of the way from chance to no error, or four fifths of the loss of a constant."""
    chance = 0.6
    made = StageResult(
        "bitfit", "bitfit", 1, 9, 1e-3, 1e-3, {}, train_adjusted_score=adjusted_score, ended=ended
    )
    made.curve = [Point(9, share * chance, {"score": 0.5})]
    made.learned = has_learned(made, chance)
    assert (made.learned, may_hand_on(made)) == (learned, handed_on)


@pytest.mark.parametrize(
    ("adjusted_score", "held_out", "learned", "told"),
    [
        (0.5, 0.9, True, "; the head learned (adjusted score 0.50"),
        (0.0, 0.79, True, "; the head learned (adjusted score 0.00"),
        (0.06, 0.9, False, "; the head learned next to nothing (adjusted score 0.06"),
        (-0.2, 1.0, False, "; the head learned next to nothing (adjusted score -0.20"),
        (1.0, 1.0, False, "; held-out rows do not confirm that the head learned (adjusted"),
        (0.5, None, True, "; the head learned (adjusted score 0.50"),
        (0.0, None, False, "; the head learned next to nothing (adjusted score 0.00"),
    ],
)
def test_a_head_at_its_optimum_is_handed_on_whatever_it_has_learned(
    adjusted_score: float, held_out: float | None, learned: bool, told: str
) -> None:
    made = StageResult("head(until=optimum)", "head", 1, 9, None, None, {}, until="optimum")
    made.ended, made.train_adjusted_score, made.handed_on = "optimum", adjusted_score, "head"
    made.held_out_loss = None if held_out is None else 0.6 * held_out
    made.curve = [Point(0, None, {"score": 0.5}), Point(30, None, {"score": 0.5})]
    made.learned = has_learned(made, 0.6)
    assert (made.learned, may_hand_on(made)) == (learned, True)
    assert is_refuted(made, 0.6) == (held_out == 1.0)
    assert told in stage_end(made)


@pytest.mark.parametrize(("stage", "ended"), [(STUCK, "end"), (WILD, "nan")])
def test_it_tries_once_more_then_fine_tunes_plainly(stage: str, ended: str, tmp_path: Path) -> None:
    settings = inputs(tmp_path)
    watch = watched(strategy=f"{stage} > {LAST}", out=tmp_path / "guarded", **settings)
    watched(strategy=LAST, out=tmp_path / "plain", **settings)
    assert same(model_of(tmp_path / "guarded"), model_of(tmp_path / "plain"))

    result = hs.RunResult.read(tmp_path / "guarded" / "result.json")
    assert [s.handed_on for s in result.stages] == ["nothing", "nothing", "model"]
    assert [s.attempt for s in result.stages] == [1, 2, 1]
    assert [s.learned for s in result.stages] == [False, False, None]
    assert [s.ended for s in result.stages] == [ended, ended, "end"]
    first, second, _ = result.stages
    rate, head_rate = (0.1, 0.1) if ended == "nan" else (1, 3)
    assert second.lr == pytest.approx(first.lr * rate)
    assert second.head_lr == pytest.approx(first.head_lr * head_rate)
    assert second.planned_steps == first.planned_steps

    assert len(result.guard) == 2
    assert "trying once more" in result.guard[0]
    assert "going on with full(steps=3) from a fresh head" in result.guard[1]
    assert [w for w in watch.warnings if "guard" in w] == [f"guard: {g}" for g in result.guard]
    assert "did not learn" in (tmp_path / "guarded" / "model" / "README.md").read_text()
    # All attempts begin alike.
    assert same(watch.stages[0].head, watch.stages[1].head)
    assert same(watch.stages[0].head, watch.stages[2].head)
    assert len({s.fingerprint for s in watch.stages}) == 1
    assert watch.stages[1].moments == watch.stages[2].moments == 0


def test_where_a_budget_was_shared_the_fallback_is_plain_fine_tuning_of_the_whole(
    tmp_path: Path,
) -> None:
    settings = inputs(tmp_path)
    line = "bitfit(share=0.5, lr=1e-7, head_lr=1e-7) > full"
    watched(strategy=line, epochs=4, out=tmp_path / "guarded", **settings)
    watched(strategy="full", epochs=4, out=tmp_path / "plain", **settings)
    assert same(model_of(tmp_path / "guarded"), model_of(tmp_path / "plain"))


def test_what_a_stage_leaves_of_a_budget_goes_to_the_last(tmp_path: Path) -> None:
    settings = inputs(tmp_path, batch_size=4, seed=1)  # six steps an epoch
    line = "head(share=0.8, until=learned, head_lr=3e-2) > full"
    result = watched(strategy=line, epochs=30, out=tmp_path / "run", **settings).result
    early, last = result.stages
    assert early.ended == "learned"
    assert early.steps < 144
    assert early.steps + last.steps == 180
    assert last.planned_steps == last.steps


def test_a_second_attempt_can_succeed(tmp_path: Path) -> None:
    line = f"head(steps=60, head_lr=1e-3) > {LAST}"
    watch = watched(strategy=line, out=tmp_path / "run", **inputs(tmp_path))
    first, second, last = watch.result.stages
    assert (first.train_adjusted_score or 0) < LEARNED <= (second.train_adjusted_score or 0)
    assert [s.handed_on for s in watch.results] == ["nothing", "head", "model"]
    assert len(watch.result.guard) == 1
    assert same(watch.stages[1].last_head, watch.stages[2].head)
    assert last.start["loss"] < first.start["loss"]


def test_rows_without_a_pattern_teach_nothing(tmp_path: Path) -> None:
    settings = inputs(tmp_path) | {"train": frame(600, noise=True), "batch_size": 32}
    result = watched(strategy=f"head(steps=20) > {LAST}", out=tmp_path / "run", **settings).result
    assert [s.handed_on for s in result.stages] == ["nothing", "nothing", "model"]
    assert all(abs(s.train_adjusted_score or 0) < 0.1 for s in result.stages)


@pytest.mark.parametrize("line", [f"bitfit(steps=4) > {STUCK} > {LAST}"])
def test_a_later_stage_falls_back_on_the_head_before_it(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([1.0, 0.0, 0.0])
    monkeypatch.setattr("headstart.steps.stages.runner.adjusted_score", lambda *_: next(scores))
    watch = watched(strategy=line, out=tmp_path / "run", **inputs(tmp_path))
    assert [s.handed_on for s in watch.results] == ["head", "nothing", "nothing", "model"]
    assert "from the head before it" in watch.result.guard[1]
    first, *_, last = watch.stages
    assert same(first.last_head, last.head)


def test_without_the_guard_it_is_handed_on_with_a_warning(tmp_path: Path) -> None:
    settings = inputs(tmp_path, strategy=f"{STUCK} > {LAST}", guard=False)
    watch = watched(out=tmp_path / "run", **settings)
    assert [s.handed_on for s in watch.result.stages] == ["head", "model"]
    assert watch.result.guard == []
    told = f"{STUCK.replace('1e-7', '1e-07')} ended no better than chance on its rows."
    assert told in watch.result.warnings
    assert told in watch.warnings
    assert told in (tmp_path / "run" / "log.txt").read_text()


def test_a_head_that_learns_passes_without_a_word(tmp_path: Path) -> None:
    settings = inputs(tmp_path) | {"train": frame(64)}
    line = f"bitfit(steps=60, lr=1e-2, head_lr=1e-2) > {LAST}"
    result = watched(strategy=line, out=tmp_path / "run", select="last", **settings).result
    assert result.stages[0].learned
    assert (result.stages[0].train_adjusted_score or 0) > LEARNED
    assert result.guard == []


WILD_LAST = "full(steps=5, lr=1e30, head_lr=1e30)"


@pytest.mark.parametrize(
    ("line", "more", "stage"),
    [
        (f"head(steps=60) > {WILD_LAST}", {}, "stage 2 (full("),
        (WILD_LAST, {}, "stage 1 (full("),
        (f"{WILD} > {LAST}", {"guard": False}, "stage 1 (bitfit("),
        (f"{WILD} >> {LAST}", {"guard": False}, "stage 1 (bitfit("),
    ],
)
def test_a_loss_that_is_no_number_fails_the_run(
    line: str, more: dict[str, Any], stage: str, tmp_path: Path
) -> None:
    settings = inputs(tmp_path)
    watched(out=tmp_path / "run", strategy=LAST, **settings)
    before = saved(tmp_path / "run")
    with pytest.raises(NumericalError) as error:
        hs.fit(out=tmp_path / "run", overwrite=True, strategy=line, **settings | more)
    assert f"NaN or infinity in {stage}" in error.value.found
    assert "learning rate" in error.value.fix
    # The run that stood there is whole, the new one's record stands beside it.
    assert same(saved(tmp_path / "run"), before)
    record = tmp_path / "run.partial" / "result.json"
    result = hs.RunResult.read(record)
    assert result.status == "failed"
    assert result.error == str(error.value)
    assert result.stages[-1].ended == "nan"
    assert json.loads(record.read_text())["status"] == "failed"
    assert not (tmp_path / "run.partial" / "model").exists()


def test_an_update_that_breaks_the_model_after_the_last_loss_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = StageLoop._step

    def spoil(self: StageLoop, *args: Any) -> None:
        step(self, *args)
        if self.state.step == 3:
            next(iter(self.trained.values())).data.fill_(float("nan"))

    monkeypatch.setattr(StageLoop, "_step", spoil)
    with pytest.raises(NumericalError):
        hs.fit(out=tmp_path / "run", strategy=LAST, **inputs(tmp_path))
    assert not (tmp_path / "run").exists()


def collapsed(tmp_path: Path, **more: Any) -> Watch:
    """Trains towards the class of nine rows in ten."""
    train = frame(40)
    train["label"] = ["bad", *["good"] * 9] * 4
    settings = inputs(tmp_path) | {"train": train, **more}
    line = "full(steps=30, lr=1e-2, head_lr=1e-2)"
    return watched(strategy=line, out=tmp_path / "run", **settings)


def test_a_model_that_knows_one_class_only_is_told_of(tmp_path: Path) -> None:
    watch = collapsed(tmp_path)
    assert "The model predicts one class only: good." in watch.result.warnings
    assert "The model predicts one class only: good." in watch.warnings
    split, _ = load_saved(str(tmp_path / "run"))
    told = hs.load(tmp_path / "run").predict(frame(12, 1)["sentence"].tolist())
    assert {p.label for p in told} == {"good"}
    assert split.head


def test_one_class_is_no_fault_where_there_is_only_one_to_find(tmp_path: Path) -> None:
    rows = pd.DataFrame({"sentence": ["a b c", "b c d"], "label": ["good", "good"]})
    watch = collapsed(tmp_path, validation=rows)
    (told,) = watch.result.warnings[-1:]
    assert told.startswith("All validation rows belong to good, so their scores cannot tell")
    assert not any("chance" in w or "one class only" in w for w in watch.result.warnings)
    assert not watch.result.collapsed


def test_a_model_at_chance_is_told_of(tmp_path: Path) -> None:
    rows = frame(20, 3)
    flipped = rows.assign(label=rows["label"].map({"good": "bad", "bad": "good"}))
    settings = inputs(tmp_path) | {"validation": pd.concat([rows, flipped])}
    line = "full(steps=20, lr=1e-2, head_lr=1e-2)"
    result = watched(strategy=line, out=tmp_path / "run", **settings).result
    assert "The model is no better than chance on the validation rows." in result.warnings


def test_what_a_stage_leaves_of_a_total_goes_to_the_one_that_takes_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LearnedRule, "update", lambda *_: True)
    monkeypatch.setattr("headstart.training.loop.WINDOW_ROWS", 8)
    settings = inputs(tmp_path, batch_size=4, guard=False, total_epochs=30)
    line = "head > full >> head(until=optimum)"
    first, main, last = watched(strategy=line, out=tmp_path / "run", **settings).result.stages
    assert first.steps == 51 < first.planned_steps == 60  # a fifth more than 42: the rate falls
    assert (main.steps, last.steps) == (180 - 51, 0)


@pytest.mark.parametrize("line", ["{} > full", "{} >> full >> {}"])
def test_a_head_that_cannot_be_fitted_takes_nothing_of_a_total(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def none(*_: object) -> Iterator[None]:
        yield None

    monkeypatch.setattr("headstart.steps.stages.loaders.frozen_features", none)
    settings = inputs(tmp_path, batch_size=4, guard=False, total_epochs=1)
    text = line.format(*["head(until=optimum, steps=9)"] * 2)
    found = watched(strategy=text, out=tmp_path / "run", **settings).result.stages
    assert [stage.steps for stage in found] == [9, 6, 9][: len(found)]


def test_the_plan_says_where_the_rest_of_a_budget_goes(tmp_path: Path) -> None:
    settings = inputs(tmp_path, batch_size=4)
    shared = dict(hs.plan(strategy="bitfit > full", total_epochs=4, **settings).facts)
    assert shared["budget"] == "24 steps in all; fine-tuning takes what is left"
    assert "budget" not in dict(hs.plan(strategy="bitfit > full", **settings).facts)
