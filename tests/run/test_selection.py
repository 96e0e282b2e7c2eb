"""Which rows select, which state is kept, and what is said about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import headstart as hs
from headstart.errors import ConfigError
from headstart.training.loop import StageLoop
from tiny_runs import Watch, frame, inputs, same, saved, watched

LINE = "full(steps=12, lr=3e-2, head_lr=3e-2)"


@pytest.fixture
def bad_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the last step wipe out the head, so that the last state is not the best."""
    step = StageLoop._step

    def spoil(self: StageLoop, *args: Any) -> None:
        step(self, *args)
        if self.state.step == 12:
            for parameter in self.trained.values():
                parameter.data.zero_()

    monkeypatch.setattr(StageLoop, "_step", spoil)


def run(tmp_path: Path, name: str = "run", **more: Any) -> Watch:
    settings = inputs(tmp_path, strategy=LINE, eval_every=1) | more
    return watched(out=tmp_path / name, **settings)


def test_the_last_state_is_saved_unless_asked_otherwise(tmp_path: Path) -> None:
    watch = run(tmp_path)
    result = watch.result
    assert result.selected == "last"
    assert result.scores == result.last == watch.points[-1].scores
    assert "no score was looked at" in result.rule
    assert hs.evaluate(tmp_path / "run", tmp_path / "validation.csv") == pytest.approx(result.last)


@pytest.mark.usefixtures("bad_end")
def test_the_best_state_is_saved_when_asked_for(tmp_path: Path) -> None:
    last, best = run(tmp_path, "last").result, run(tmp_path, "best", select="best").result
    assert best.best["score"] > best.last["score"]
    assert best.scores == best.best
    assert best.last == last.last
    (point,) = [p for p in best.stages[0].curve if p.step == best.stages[0].best_step]
    assert point.scores == best.best
    assert point.scores["score"] == max(p.scores["score"] for p in best.stages[0].curve)
    measured = hs.evaluate(tmp_path / "best", tmp_path / "validation.csv")
    assert measured == pytest.approx(best.best)
    assert not same(saved(tmp_path / "last"), saved(tmp_path / "best"))
    # The choice looked at the rows that the score is reported on, which is said beside it.
    assert "the same rows that the score is reported on" in best.rule
    assert best.rule in (tmp_path / "best" / "model" / "README.md").read_text()


@pytest.mark.usefixtures("bad_end")
def test_warnings_are_of_the_state_that_is_saved(tmp_path: Path) -> None:
    last, best = run(tmp_path, "last").result, run(tmp_path, "best", select="best").result
    assert any("one class" in w for w in last.warnings)
    assert best.warnings == []


def test_rows_to_select_on_are_carved_from_the_training_rows(tmp_path: Path) -> None:
    table = frame(100)
    table["label"] = np.where(np.arange(100) % 4 == 0, "bad", "good")
    watch = run(tmp_path, train=table, validation=None, validation_share=0.2)
    data = watch.result.data
    assert (data["train_rows"], data["validation_rows"]) == (80, 20)
    assert "20% carved from the training rows" in data["validation_origin"]
    assert watch.result.untouched == {}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_carved_rows_keep_the_shares_of_the_classes(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.steps import train

    table = frame(100)
    table["label"] = np.where(np.arange(100) % 4 == 0, "bad", "good")
    kept = []
    make = train.TrainingData
    monkeypatch.setattr(train, "TrainingData", lambda *args: kept.append(args) or make(*args))
    run(tmp_path, train=table, validation=None, seed=seed, strategy="full(steps=1)")
    ((_, _, _, train_labels, judge, *_),) = kept
    assert np.bincount(train_labels).tolist() == [20, 60]
    assert np.bincount(judge.labels).tolist() == [5, 15]


def test_untouched_rows_take_no_part_in_selection(tmp_path: Path) -> None:
    """Whatever the validation file says, the same model comes out."""
    rows = frame(24, 5)
    flipped = rows.assign(label=rows["label"].map({"good": "bad", "bad": "good"}))
    more = {"selection": "carve", "select": "best", "train": frame(60)}
    right = run(tmp_path, "right", validation=rows, **more).result
    wrong = run(tmp_path, "wrong", validation=flipped, **more).result
    assert same(saved(tmp_path / "right"), saved(tmp_path / "wrong"))
    assert right.best == wrong.best
    assert right.stages[0].curve == wrong.stages[0].curve
    assert right.untouched["accuracy"] == pytest.approx(1 - wrong.untouched["accuracy"])
    measured = hs.evaluate(tmp_path / "right", rows)
    assert measured == pytest.approx(right.untouched)
    # The score of the run is theirs, and not that of the rows which selected.
    assert right.scores == right.untouched != right.selecting
    assert right.reported_on == "24 validation rows that no selection has seen"
    assert right.reported_on in (tmp_path / "right" / "model" / "README.md").read_text()
    highest = "the state of the last stage with the highest score"
    assert right.rule == f"{highest} on rows carved from the training rows"
    assert right.data["train_rows"] == 48
    assert right.data["validation_rows"] == 12


def test_a_seed_gives_the_carved_rows(tmp_path: Path) -> None:
    short = {"validation": None, "strategy": "full(steps=1)", "train": frame(60)}
    one, again, other = (
        run(tmp_path, name, seed=seed, **short).result.data["validation_fingerprint"]
        for name, seed in (("one", 0), ("again", 0), ("other", 1))
    )
    assert one == again != other


def test_rows_that_stand_in_both_files_are_counted(tmp_path: Path) -> None:
    table = frame(24)
    watch = run(tmp_path, train=table, validation=pd.concat([frame(12, 1), table[:5]]))
    assert any(w.startswith("5 of 17 validation rows also stand in") for w in watch.warnings)


def test_a_stage_ends_when_its_score_has_stopped_rising(tmp_path: Path) -> None:
    line = "head(until=plateau, patience=2, steps=50, head_lr=1e-7) > full(steps=1)"
    first, _ = run(tmp_path, strategy=line, guard=False).result.stages
    assert first.ended == "plateau"
    assert first.planned_steps == 50
    assert first.steps == 3


def test_dropout_is_off_when_it_is_set_to_none(tmp_path: Path) -> None:
    """Then micro-batches give the same gradients, up to the order of sums."""
    short = {"strategy": "full(steps=3)", "dropout": 0}
    whole = run(tmp_path, "whole", **short)
    parts = run(tmp_path, "parts", micro_batch_size=3, **short)
    noisy = run(tmp_path, "noisy", strategy="full(steps=3)")
    assert [len(r) for r in parts.stages[0].rows] == [3, 3, 2] * 3
    for name, tensor in whole.stages[0].after.items():
        torch.testing.assert_close(parts.stages[0].after[name], tensor, atol=2e-5, rtol=0)
    losses = [[p.train_loss for p in w.points[1:]] for w in (whole, parts, noisy)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert losses[0] != pytest.approx(losses[2], abs=1e-6)


def test_a_length_that_a_score_has_chosen_is_told(tmp_path: Path) -> None:
    line = "full(until=plateau, patience=1, steps=20, lr=3e-2, head_lr=3e-2)"
    assert run(tmp_path, strategy=line).result.rule.endswith(
        "the length of full was chosen by the score on the validation rows"
    )


def test_carved_rows_that_stand_in_training_too_are_counted(tmp_path: Path) -> None:
    table = pd.DataFrame({"sentence": ["a b", "u v"] * 20, "label": ["good", "bad"] * 20})
    result = run(tmp_path, train=table, validation=None).result
    assert any(w.startswith("8 of 8 validation rows also stand") for w in result.warnings)


def test_what_a_sample_lacks_is_told(tmp_path: Path) -> None:
    table = frame(40)
    settings = inputs(tmp_path) | {"train": table, "validation_rows": 99}
    notes = " ".join(hs.plan(**settings, train_rows=6).warnings)
    assert "fewer than 5 training rows are hard to learn: 'bad' (3), 'good' (3)" in notes
    assert "--validation-rows 99 is more than there are; all 12 are used" in notes
    assert "hard to learn" not in " ".join(hs.plan(**settings).warnings)


def test_carving_for_nothing_is_pointed_out(tmp_path: Path) -> None:
    def notes(**more: Any) -> str:
        return " ".join(hs.plan(**inputs(tmp_path) | {"selection": "carve"} | more).warnings)

    assert "no score selects anything" in notes(strategy=LINE)
    assert "no score selects" not in notes(strategy=LINE, select="best")
    assert "no score selects" not in notes(strategy="full(until=plateau)")
    # An earlier stage's model is compared with the last one, where it can be put together again.
    assert "no score selects" not in notes()
    assert "no score selects" in notes(select="last")
    assert "no score selects" in notes(strategy="head(until=optimum) >> full")
    assert "no score selects" in notes(strategy="prefix > full")


def test_f1_is_a_matter_of_two_classes(tmp_path: Path) -> None:
    table = pd.DataFrame({"sentence": ["a b", "u v", "c d"] * 8, "label": ["a", "b", "c"] * 8})
    with pytest.raises(ConfigError, match="found 3: a, b, c"):
        run(tmp_path, train=table, validation=None, metrics=("f1",))


def test_metrics_are_read_as_scikit_learn_spells_them(tmp_path: Path) -> None:
    names = ("ROC_AUC", "f1_macro", "neg_log_loss")
    result = run(tmp_path, metrics=names).result
    assert result.task["metrics"] == ["roc_auc", "macro_f1", "log_loss"]
    told = result.scores
    assert told["score"] == pytest.approx(
        (told["roc_auc"] + told["macro_f1"] - told["log_loss"]) / 3
    )
    with pytest.raises(ConfigError, match="3 classes or more for the metric top_2_accuracy"):
        run(tmp_path, "x", metrics=("top_k_accuracy",))
