"""Heads changed before the last stage: exactly the tensors that were meant, nothing else."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import tiny_runs
from headstart.config import FitConfig
from headstart.errors import ConfigError
from headstart.observers import head as module
from headstart.observers import observer
from headstart.observers._heads import (
    Head,
    cosine,
    fingerprint,
    joined,
    last_weight,
    norm,
    rescaled,
    shuffled,
)
from headstart.observers._other_heads import OtherHead, settings_of_the_other
from headstart.run import UnsavedRun, run_in_memory
from headstart.tasks.userfile import from_columns
from headstart.training.seeds import stream
from tiny_runs import SeenStage, Watch, same

LINE = "bitfit(steps=4, lr=1e-2) > full(steps=3)"


def some(seed: int) -> Head:
    """Return a head of RoBERTa's kind with a norm layer between its matrices."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "dense.weight": (5, 4), "dense.bias": (5,), "norm.weight": (5,), "norm.bias": (5,),
        "out.weight": (3, 5), "out.bias": (3,),
    }  # fmt: skip
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


MATRICES, VECTORS = ("dense.weight", "out.weight"), ("dense.bias", "out.bias")
NORMS = ("norm.weight", "norm.bias")


def test_weights_and_biases_come_from_the_heads_that_were_named() -> None:
    one, other = some(0), some(1)
    made = joined(one, other)
    assert list(made) == list(one)
    assert all(torch.equal(made[name], one[name]) for name in MATRICES)
    assert all(torch.equal(made[name], other[name]) for name in (*VECTORS, *NORMS))


def test_shuffling_keeps_each_rows_numbers_and_the_angles_between_rows() -> None:
    head = some(0)
    made = shuffled(head, 7)
    for name in MATRICES:
        assert not torch.equal(made[name], head[name])
        assert torch.equal(made[name].sort(dim=1).values, head[name].sort(dim=1).values)
        torch.testing.assert_close(made[name] @ made[name].T, head[name] @ head[name].T)
    assert all(torch.equal(made[name], head[name]) for name in (*VECTORS, *NORMS))
    assert same(made, shuffled(head, 7))
    assert not same(made, shuffled(head, 8))


def test_shuffling_takes_the_direction_away() -> None:
    head = {"out.weight": torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))}
    assert abs(cosine(shuffled(head, 0), head)) < 0.1


def test_rescaling_keeps_the_direction_and_takes_the_others_norm() -> None:
    head, like = some(0), some(1)
    made = rescaled(head, like)
    for name in MATRICES:
        part, own = {name: made[name]}, {name: head[name]}
        assert norm(part) == pytest.approx(norm({name: like[name]}), rel=1e-6)
        assert norm(part) != pytest.approx(norm(own), rel=1e-2)
        assert cosine(part, own) == pytest.approx(1)
    for name in VECTORS:
        weight = name.replace("bias", "weight")
        factor = like[weight].norm() / head[weight].norm()
        torch.testing.assert_close(made[name], head[name] * factor)
    assert all(torch.equal(made[name], head[name]) for name in NORMS)


def test_a_rescaled_linear_head_decides_as_before() -> None:
    head = {n.removeprefix("out."): t for n, t in some(0).items() if n.startswith("out.")}
    made = rescaled(head, {n: 9 * t for n, t in some(1).items()} | {"weight": torch.ones(3, 5)})
    rows = torch.randn(200, 5, generator=torch.Generator().manual_seed(2))
    before, after = (rows @ h["weight"].T + h["bias"] for h in (head, made))
    assert torch.equal(before.argmax(1), after.argmax(1))


def test_a_head_of_zeros_has_no_direction_and_stays() -> None:
    zero = {"weight": torch.zeros(2, 3), "bias": torch.ones(2)}
    assert same(rescaled(zero, {"weight": torch.ones(2, 3), "bias": torch.ones(2)}), zero)
    assert cosine({"weight": zero["weight"]}, {"weight": torch.ones(2, 3)}) == 0.0


def test_the_last_weight_is_the_matrix_that_gives_the_outputs() -> None:
    assert last_weight(some(0)) == "out.weight"


def test_a_fingerprint_tells_heads_apart_by_their_bits() -> None:
    head = some(0)
    assert fingerprint(head) == fingerprint(dict(reversed(head.items())))
    changed = head | {"out.bias": head["out.bias"] * torch.tensor([1.0, 1.0, 1.0000001])}
    assert len({fingerprint(head), fingerprint(changed), fingerprint(some(1))}) == 3


class Carried:
    """A run with the observer, its stages seen from outside."""

    def __init__(self, folder: Path, control: str | None, line: str = LINE, **more: Any) -> None:
        own = {n: more.pop(n) for n in ("other", "rows") if n in more}
        inputs = tiny_runs.inputs(folder, more.pop("family", "bert"))
        config = FitConfig.build({**inputs, "strategy": line, "guard": False, **more})
        seen = observer({"name": "head", "control": control, **own}) if control else None
        watch = Watch()
        with tiny_runs.watching(watch):
            self.trained: UnsavedRun = run_in_memory(config, observer=seen)
        self.stages: list[SeenStage] = watch.stages

    @property
    def measured(self) -> dict[str, Any]:
        """What the observer has found."""
        return self.trained.measured

    @property
    def last(self) -> SeenStage:
        """The last stage."""
        return self.stages[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the checkpoints and rows are."""
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(scope="module")
def ordinary(folder: Path) -> Carried:
    """Carry out the run that nobody interferes with."""
    return Carried(folder, None)


def test_the_whole_head_gives_what_an_ordinary_run_gives(folder: Path, ordinary: Carried) -> None:
    run = Carried(folder, "whole head")
    assert tiny_runs.scores(run.trained.result) == tiny_runs.scores(ordinary.trained.result)
    assert (run.trained.logits == ordinary.trained.logits).all()
    assert same(run.last.after, ordinary.last.after)


def test_a_fresh_head_gives_what_plain_fine_tuning_gives(folder: Path, ordinary: Carried) -> None:
    """The head is changed before step 0 is evaluated; steps, rows and dropout are the same."""
    plain, fresh = Carried(folder, None, "full(steps=3)"), Carried(folder, "fresh head")
    assert fresh.trained.result.stages[-1].curve == plain.trained.result.stages[-1].curve
    assert (fresh.trained.logits == plain.trained.logits).all()
    assert same(fresh.last.after, plain.last.after)
    assert not same(fresh.last.after, ordinary.last.after)


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("control", ["weights only", "biases only", "shuffled", "fresh norm"])
def test_stage_2_starts_with_exactly_the_tensors_meant(
    folder: Path, control: str, family: str
) -> None:
    run = Carried(folder, control, family=family)
    fresh, pretrained, start = run.stages[0].head, run.stages[0].last_head, run.last.head
    assert all(not torch.equal(fresh[name], pretrained[name]) for name in fresh)
    expected = {
        "weights only": {n: (pretrained if "weight" in n else fresh)[n] for n in fresh},
        "biases only": {n: (fresh if "weight" in n else pretrained)[n] for n in fresh},
        "shuffled": shuffled(pretrained, stream(0, "shuffled head")),
        "fresh norm": rescaled(pretrained, fresh),
    }[control]
    assert same(start, expected)
    assert not same(start, pretrained)
    assert run.last.fingerprint == run.trained.result.backbone["fingerprint"]
    assert run.measured["backbone"] == run.last.fingerprint
    assert run.last.moments == 0
    found = [run.measured[name] for name in ("fresh", "pretrained", "start")]
    assert found == [fingerprint(head) for head in (fresh, pretrained, start)]


def test_the_head_is_followed_through_stage_2_alone(folder: Path) -> None:
    run = Carried(folder, "shuffled", eval_every=2)
    points, name = run.measured["points"], run.measured["last_weight"]
    first, last = run.last.head, run.last.last_head
    assert name == "classifier.weight"
    assert [p["step"] for p in points] == [p.step for p in run.trained.result.stages[-1].curve]
    assert [p["step"] for p in points] == [0, 2, 3]
    assert points[0]["cosine"] == pytest.approx(1)
    assert points[-1]["norm"] == pytest.approx(float(last[name].norm()))
    assert points[-1]["whole_norm"] == pytest.approx(norm(last))
    assert points[-1]["cosine"] == pytest.approx(cosine({name: last[name]}, {name: first[name]}))
    assert points[-1]["whole_cosine"] == pytest.approx(cosine(last, first))
    assert run.measured["values"] == pytest.approx(last[name].flatten().tolist(), abs=1e-6)
    pretrained = run.stages[0].last_head
    likeness = cosine({name: first[name]}, {name: pretrained[name]})
    assert run.measured["cosine_to_pretrained"] == pytest.approx(likeness)


def cola(folder: Path) -> dict[str, str]:
    """Write another task with two classes."""
    folder.mkdir(exist_ok=True)
    for name, seed in (("train", 5), ("validation", 6)):
        frame = tiny_runs.frame(16, seed)
        frame["label"] = (frame["label"] == "good").astype(int)
        frame.to_csv(folder / f"{name}.csv", index=False)
    return {"task": "cola", "data": str(folder)}


def test_heads_of_others_are_those_that_their_own_runs_make(
    folder: Path, ordinary: Carried
) -> None:
    own = fingerprint(ordinary.stages[0].last_head)
    lora = "lora(steps=5) > full(steps=3)"
    task = cola(folder / "cola")
    plain = {**tiny_runs.inputs(folder), "train": None, "validation": None, "text": None}
    runs: dict[str, tuple[dict[str, Any], Carried]] = {
        "other seed": ({}, Carried(folder, None, seed=1000)),
        "other tuner": ({"strategy": lora}, Carried(folder, None, lora)),
        "other task": (task, Carried(folder, None, **{**plain, **task})),
    }
    for control, (other, theirs) in runs.items():
        run = Carried(folder, control, other=other)
        assert same(run.last.head, theirs.stages[0].last_head), control
        assert run.measured["start"] != own
        assert run.measured["pretrained"] == own, "its own stage 1 is that of all other controls"
        assert run.last.fingerprint == ordinary.last.fingerprint
        assert run.last.moments == 0
        assert run.last.rows == ordinary.last.rows


def test_another_seed_has_the_same_sample_of_rows(folder: Path) -> None:
    run = Carried(folder, "other seed", train_rows=12)
    source, own, _ = run.stages
    assert not same(source.head, own.head)
    assert source.rows != own.rows
    assert len({row for step in source.rows for row in step}) == 12
    assert run.trained.result.data == Carried(folder, None, train_rows=12).trained.result.data


def test_a_stage_1_that_has_not_learned_is_told(tmp_path: Path) -> None:
    inputs = tiny_runs.inputs(tmp_path)
    tiny_runs.frame(24, 0, noise=True).to_csv(inputs["train"], index=False)
    line = "bitfit(steps=1, lr=1e-7, head_lr=1e-7) > full(steps=3)"
    run = Carried(tmp_path, "shuffled", line, guard=True)
    assert run.trained.result.guard
    assert run.measured["given_up"] == "stage 1 did not learn"
    assert run.measured["start"] == run.measured["fresh"]


def test_the_guard_does_not_hold_a_control_back(folder: Path) -> None:
    line = "bitfit(steps=40, lr=1e-2, head_lr=1e-2) > full(steps=3)"
    run = Carried(folder, "shuffled", line, guard=True, select="last")
    assert run.trained.result.guard == []
    assert run.measured["given_up"] == ""
    assert len(run.stages) == 2


def test_another_head_that_has_not_learned_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = ("bitfit did not learn: adjusted score 0.02; trying",)
    monkeypatch.setattr(module, "head_of_another_run", lambda _plan, _other: OtherHead(None, notes))
    run = Carried(folder, "other seed")
    assert run.measured["given_up"] == "the stage 1 of the other seed did not learn"
    assert run.measured["notes"] == [*notes]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"total_epochs": 4}, "a length of its own for the last stage; found 4 epochs of all"),
        ({"strategy": "bitfit(share=0.5) > full"}, "a length of its own"),
        ({"head": "heads/x"}, "Leave out the head"),
    ],
)
def test_runs_whose_stage_2_would_differ_are_refused(
    folder: Path, settings: dict[str, Any], told: str
) -> None:
    config = FitConfig.build({**tiny_runs.inputs(folder), "strategy": LINE, **settings})
    with pytest.raises(ConfigError) as error:
        observer({"name": "head", "control": "shuffled"}).check(config)
    assert told in str(error.value)


def test_another_task_with_other_outputs_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("train", "validation"):
        pd.DataFrame({
            "premise": list("abcdef"), "hypothesis": list("uvwxyz"), "label": [0, 1, 2, 0, 1, 2],
        }).to_csv(tmp_path / f"{name}.csv", index=False)  # fmt: skip
    config = FitConfig.build({**tiny_runs.inputs(folder), "strategy": LINE})
    other = {"task": "cb", "data": str(tmp_path)}
    with pytest.raises(ConfigError) as error:
        observer({"name": "head", "control": "other task", "other": other}).check(config)
    assert "2 classes (bad, good)" in error.value.expected
    assert error.value.found == "cb with 3 classes (entailment, contradiction, neutral)"
    assert "--other-task" in error.value.fix


def test_another_task_brings_all_its_columns(folder: Path) -> None:
    own = {"image": "image", "label_columns": ("a", "b"), "label_separator": ";"}
    config = FitConfig.build({**tiny_runs.inputs(folder), "text": (), **own})
    other = settings_of_the_other(config, {"task": "cb", "data": "rows"})
    columns = set(signature(from_columns).parameters) & set(FitConfig.model_fields)
    assert columns > {"text", "image", "audio", "label_columns"}
    for name in columns:
        assert getattr(other, name) == FitConfig.model_fields[name].default, name


def test_an_unknown_control_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'weights only'"):
        observer({"name": "head", "control": "weight only"})
