"""The last stage does not make things worse: an earlier stage's better model is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import headstart as hs
from alike import ALL
from headstart.cli.shared.tables import closing
from headstart.steps.stages import runner as stages
from headstart.steps.stages.earlier import EarlierModel, better, from_tensors, to_tensors
from headstart.targets.classes import Classes
from headstart.targets.multilabel import MultiLabel
from headstart.targets.number import Number
from headstart.training.evaluate import Judge
from tiny_runs import Watch, frame, inputs, saved, watched

RUINED = "full(steps=3, lr=1.0, head_lr=1.0)"
"""A last stage that forgets everything."""
FIRST = {
    "head": "head(until=optimum)",
    "bitfit": "bitfit(steps=60, lr=1e-2, head_lr=1e-2)",
    "lora": "lora(steps=60, lr=1e-2, head_lr=1e-2)",
}


def run(tmp_path: Path, line: str, name: str = "run", **more: Any) -> Watch:
    settings = inputs(tmp_path) | {"train": frame(64), "eval_every": 1000} | more
    return watched(strategy=line, out=tmp_path / name, **settings)


@pytest.mark.parametrize(
    "tuner", ["bitfit", "lora", pytest.param("head", marks=[pytest.mark.optimum, ALL])]
)
def test_the_better_model_of_an_earlier_stage_is_saved(tuner: str, tmp_path: Path) -> None:
    result = run(tmp_path, f"{FIRST[tuner]} > {RUINED}").result
    first, last = result.stages
    assert first.end["score"] > last.end["score"]
    assert result.scores == pytest.approx(first.end, abs=1e-5)
    assert "the model after stage 1 is saved" in result.guard[-1]
    assert (result.selected, result.last) == ("earlier", last.end)
    saved_is = "the model after stage 1; on the validation rows it is better than the last one"
    assert result.rule == f"{saved_is} by more than noise"
    assert f"Saved is {result.rule}." in (tmp_path / "run" / "model" / "README.md").read_text()
    told = closing(result)
    assert (
        f"\nSaved: {result.rule}.\nNot saved: the last state, accuracy {last.end['accuracy']:.4f}"
        in told
    )
    # What was saved is that model: with the tuner's change in its weights.
    found = hs.evaluate(tmp_path / "run", tmp_path / "validation.csv")
    assert found == pytest.approx(result.scores, abs=1e-5)
    alone = run(tmp_path, FIRST[tuner], "alone", select="last").result
    assert alone.scores == pytest.approx(result.scores, abs=1e-5)


@pytest.mark.parametrize(
    "line",
    [
        f"{FIRST['head']} > bitfit(add=true, steps=3, lr=1.0, head_lr=1.0)",
        f"bitfit(add=true, steps=60, lr=1e-2, head_lr=1e-2) > {RUINED}",
    ],
)
def test_added_biases_end_no_run(line: str, tmp_path: Path) -> None:
    settings = inputs(tmp_path, "modernbert") | {"train": frame(64), "eval_every": 1000}
    result = watched(strategy=line, out=tmp_path / "run", **settings).result
    assert result.status == "done"
    found = hs.evaluate(tmp_path / "run", tmp_path / "validation.csv")
    assert found == pytest.approx(result.scores, abs=1e-5)


def test_whoever_asks_for_the_last_state_gets_it(tmp_path: Path) -> None:
    result = run(tmp_path, f"{FIRST['head']} > {RUINED}", select="last").result
    assert result.scores == result.stages[-1].end
    assert result.guard == []
    assert result.rule == "the state after the last step; no score was looked at to choose it"


def test_a_better_last_stage_stays(tmp_path: Path) -> None:
    result = run(tmp_path, "head(steps=1, head_lr=1e-9) > full(steps=60, lr=3e-3, head_lr=1e-2)",
                 guard=False).result  # fmt: skip
    assert result.scores == result.stages[-1].end


def test_a_last_stage_that_is_no_worse_stays_and_the_run_says_that_it_was_compared(
    tmp_path: Path,
) -> None:
    line = "head(until=optimum) > full(steps=1, lr=1e-9, head_lr=1e-9)"
    result = run(tmp_path, line).result
    assert (result.selected, result.earlier, result.scores) == ("last", {}, result.last)
    kept = "no model of an earlier stage is better by more than noise"
    assert result.rule == f"the state after the last step; on the validation rows {kept}"


@pytest.mark.parametrize(
    "line", ["head(steps=1) >> full(steps=1)", "prefix(steps=1) > full(steps=1)"]
)
def test_where_no_earlier_model_could_be_put_together_none_is_spoken_of(
    line: str, tmp_path: Path
) -> None:
    result = run(tmp_path, line, guard=False).result
    assert result.rule == "the state after the last step; no score was looked at to choose it"
    assert "unless" not in closing(result)


def test_a_run_that_was_interrupted_goes_back_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"{FIRST['bitfit']} > {RUINED}"
    run(tmp_path, line, "whole")
    step = stages.StageLoop._step

    def stop(self: Any, *args: Any) -> None:
        if self.setup.length.steps == 3 and self.state.step == 2:
            raise KeyboardInterrupt
        step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(stages.StageLoop, "_step", stop)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, line, "cut", checkpoint_steps=2)
    again = run(tmp_path, line, "cut", checkpoint_steps=2, resume=True).result
    assert "the model after stage 1 is saved" in again.guard[-1]
    assert all(
        map(torch.equal, saved(tmp_path / "whole").values(), saved(tmp_path / "cut").values())
    )


TWO = Classes(("a", "b"))


def logits(right: list[bool]) -> np.ndarray:
    return np.array([[0.0, 1.0] if r else [1.0, 0.0] for r in right], np.float32)


def test_better_means_by_more_than_noise() -> None:
    judge = Judge(TWO, np.ones(40, np.int64), ("accuracy",))
    base = [True] * 20 + [False] * 20
    assert better(logits([True] * 30 + [False] * 10), logits(base), judge)
    assert not better(logits(base), logits(base), judge)
    assert not better(logits(base), logits([True] * 30 + [False] * 10), judge)
    # One row more of many that differ is chance.
    swapped = [False] * 19 + [True] * 20 + [True]
    assert not better(logits(swapped), logits(base), judge)


@pytest.mark.parametrize(("more", "rows", "significant"), [(1, 2, False), (3, 16, False),
                                                          (4, 4, False), (5, 5, True)])  # fmt: skip
def test_a_few_held_out_rows_cannot_throw_the_last_model_away(
    more: int, rows: int, significant: bool
) -> None:
    """Of one row more of two the standard error is small too; the exact test knows better."""
    judge = Judge(TWO, np.ones(rows, np.int64), ("accuracy",))
    earlier = logits([True] * more + [False] * (rows - more))
    assert better(earlier, logits([False] * rows), judge) == significant


def test_numbers_are_compared_by_their_squared_error() -> None:
    gold = np.linspace(-1, 1, 30)
    judge = Judge(Number(), gold, ("pearson",))
    rng = np.random.default_rng(0)
    near = (gold + 0.1 * rng.normal(size=30)).astype(np.float32)[:, None]
    far = (gold + 1.0 * rng.normal(size=30)).astype(np.float32)[:, None]
    assert better(near, far, judge) and not better(far, near, judge)


def test_several_labels_are_compared_at_the_thresholds_that_they_would_be_saved_with() -> None:
    rng = np.random.default_rng(0)
    gold = rng.random((60, 3)) < 0.4
    sure = np.where(gold, 2.0, -2.0).astype(np.float32)
    wrong = np.where(rng.random((60, 3)) < 0.3, -sure, sure)
    # It knows every label, and never comes above a probability of 0.5.
    shy = sure - 3
    kind = MultiLabel(("a", "b", "c"))
    plain, tuned = (Judge(kind, gold, ("micro_f1",), tune) for tune in (False, True))
    assert plain(shy)["score"] == 0 < plain(wrong)["score"] < 1 == tuned(shy)["score"]
    assert better(shy, wrong, tuned) and not better(wrong, shy, tuned)
    assert better(wrong, shy, plain)


def test_earlier_models_survive_a_checkpoint() -> None:
    kept = [
        EarlierModel(
            i, {"a/b": torch.randn(2), "c": torch.randn(3)}, np.ones((4, 2), np.float32) * i
        )
        for i in (0, 2)
    ]
    again = from_tensors({"other": torch.zeros(1), **to_tensors(kept)})
    assert [model.index for model in again] == [0, 2]
    for before, after in zip(kept, again, strict=True):
        assert before.tensors.keys() == after.tensors.keys()
        assert all(torch.equal(before.tensors[n], after.tensors[n]) for n in before.tensors)
        assert np.array_equal(before.logits, after.logits)
