"""What one stage leaves to the next: the head alone, or everything."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import headstart as hs
from alike import ALL, leading, spread
from headstart.errors import NotationError
from headstart.models.checkpoints.loading import load_saved
from headstart.models.headfile import Head
from headstart.steps.stages import runner as stages
from headstart.tuners.lora import Lora
from tiny_runs import Watch, inputs, same, saved, watched

L, B, F = "lora(steps=4)", "bitfit(add=true, steps=4)", "full(steps=3)"


def run(tmp_path: Path, line: str, **more: Any) -> Watch:
    settings = inputs(tmp_path, **{"guard": False, **more})
    return watched(strategy=line, out=tmp_path / "run", **settings)


@pytest.mark.parametrize(
    ("tuner", "family"),
    spread(product([L, B, "top(steps=4)", "full(steps=4)"], ["bert", "modernbert"]), times=1),
)
def test_everything_is_handed_on(tuner: str, family: str, tmp_path: Path) -> None:
    first, second = run(tmp_path, f"{tuner} >> {F}", family=family).stages
    assert same(first.last_head, second.head)
    assert second.fingerprint == first.handed_fingerprint != first.fingerprint
    common = {n for n in second.before if n in first.after}
    assert common >= set(first.head)
    if not tuner.startswith("lora"):
        assert all(torch.equal(first.after[n], second.before[n]) for n in common)
    assert second.moments == 0
    assert second.trainable == set(second.before)


# For each stage: whether it begins with the checkpoint's backbone.
LINES = [
    (f"{L} >> {B} > head(steps=2) > {F}", (True, False, True, True)),
    (f"{B} >> {L} > {L} >> {F}", (True, False, True, False)),
    (f"{L} >> prefix(steps=2) > {F}", (True, False, True)),
    (f"{B} > {L} > {F}", (True, True, True)),
    (f"{L} >> {B} > {F}", (True, False, True)),
    (f"{B} >> {L} > {F}", (True, False, True)),
    (f"{L} > {B} >> {F}", (True, True, False)),
    (f"{B} >> {L} >> {F}", (True, False, False)),
]


FAMILIES = ("bert", "modernbert")
CHECKERED = [
    (*line, FAMILIES[(number + turn) % 2]) for turn in (0, 1) for number, line in enumerate(LINES)
]


@pytest.mark.parametrize(("line", "where", "family"), leading(CHECKERED, 5))
def test_a_head_alone_goes_back_to_the_checkpoint(
    line: str, where: tuple[bool, ...], family: str, tmp_path: Path
) -> None:
    watch = run(tmp_path, line, family=family)
    origin = watch.result.backbone["fingerprint"]
    assert [s.fingerprint == origin for s in watch.stages] == list(where)
    for before, after in zip(watch.stages, watch.stages[1:], strict=False):
        assert same(before.last_head, after.head)
        assert after.moments == 0
    split, _ = load_saved(str(tmp_path / "run"))
    assert split.fingerprint() == watch.split.fingerprint()
    if where[-1]:
        plain = hs.plan(**inputs(tmp_path, family, strategy="full"))
        assert watch.stages[-1].trainable == set(watch.stages[-1].before)
        assert plain.counts[0].trainable == sum(p.numel() for p in split.model.parameters())


def test_a_stage_that_was_given_up_leaves_what_was_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([1.0, 0.0, 0.0])
    monkeypatch.setattr(stages, "adjusted_score", lambda *_: next(scores))
    watch = run(tmp_path, f"{L} >> {B} > {F}", guard=True)
    first, second, third, last = watch.stages
    assert first.handed_fingerprint != first.fingerprint
    assert {s.fingerprint for s in (second, third, last)} == {first.handed_fingerprint}
    assert same(first.last_head, last.head)


def test_a_merge_that_was_given_up_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "adjusted_score", lambda *_: 0.0)
    merge = Lora.merge
    monkeypatch.setattr(Lora, "merge", lambda *_: pytest.fail("merged"))
    watch = run(tmp_path, f"{L} >> {F}", guard=True)
    assert [s.handed_on for s in watch.results] == ["nothing", "nothing", "model"]
    assert len({s.fingerprint for s in watch.stages}) == 1
    assert merge is not Lora.merge


@pytest.mark.parametrize("line", [f"prefix(steps=4) >> {F}", "prefix(steps=4)"])
def test_what_cannot_be_merged_is_refused_before_it_trains(line: str, tmp_path: Path) -> None:
    with pytest.raises(NotationError, match="cannot be written into"):
        run(tmp_path, line)
    assert not list(tmp_path.glob("run*"))


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize(
    ("line", "scores", "begins"),
    [
        pytest.param(f"{L} > {F}", [1.0], [0, 0], marks=ALL),
        pytest.param(f"{L} >> {F}", [1.0], [0, 4], marks=ALL),
        (f"{L} >> {B} > {F}", [1.0, 1.0], [0, 4, 0]),
        (f"{L} >> {B} > {F}", [1.0, 0.0, 0.0], [0, 4, 4, 4]),  # given up, after a second attempt
    ],
)
def test_running_statistics_are_handed_on_as_the_weights_are(
    line: str,
    scores: list[float],
    begins: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = iter(scores)
    monkeypatch.setattr(stages, "adjusted_score", lambda *_: next(left))
    found: list[list[float]] = [[] for _ in begins]

    def note(attempt: int, _step: int) -> None:
        found[attempt - 1].append(float(watch.split.base.embeddings.passes))  # type: ignore[union-attr]

    watch = Watch(note)
    watched(watch, strategy=line, out=tmp_path / "run", **inputs(tmp_path))
    for start, passes in zip(begins, found, strict=True):
        assert passes == [start + step for step in range(1, len(passes) + 1)]
        assert len(passes) >= 3


def test_backbone_that_is_not_restored_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detach = Lora.detach

    def careless(self: Lora, split: Any) -> None:
        detach(self, split)
        next(iter(split.backbone.values())).data.view(-1)[0] += 1e-3

    monkeypatch.setattr(Lora, "detach", careless)
    with pytest.raises(RuntimeError, match=r"lora\.detach"):
        run(tmp_path, f"{L} > {F}")


@pytest.mark.parametrize(
    ("line", "which", "strategy"),
    [
        pytest.param(f"{B} > {F}", 0, B, marks=ALL),
        pytest.param(f"{B} > {L} > {F}", 1, f"{B} > {L}", marks=ALL),
        (f"{L} >> {B} > {F}", 1, B),
        (F, 0, F),
        (f"{L} >> {F}", 1, f"{L} >> {F}"),
        pytest.param(L, 0, L, marks=ALL),
    ],
)
def test_the_head_folder_holds_the_pretrained_head(
    line: str, which: int, strategy: str, tmp_path: Path
) -> None:
    watch = run(tmp_path, line)
    head = Head.from_pretrained(tmp_path / "run")
    seen = watch.stages[which]
    assert same(head.tensors, seen.last_head)
    assert head.strategy == strategy
    assert head.labels == ("bad", "good")
    handed_on = watch.results[which].handed_on == "head"
    # Those of the head without the tuner, which the next stage begins with.
    scores = watch.results[which + 1].start if handed_on else watch.results[which].end
    assert head.scores == scores
    expected = watch.result.backbone["fingerprint"] if handed_on else watch.split.fingerprint()
    assert head.fingerprint == expected
    model = {n.split("/")[-1]: t for n, t in saved(tmp_path / "run" / "model").items()}
    final = {n: model[n] for n in head.tensors}
    assert same(final, watch.stages[-1].last_head)


def test_a_head_that_the_checkpoint_carries_is_used_only_if_asked_for(tmp_path: Path) -> None:
    run(tmp_path, F)
    carrying = str(tmp_path / "run" / "model")
    settings = inputs(tmp_path, strategy=F) | {"model": carrying}
    said = "own head is not used; give --head"
    assert [note for note in hs.plan(**settings).warnings if said in note and carrying in note]
    assert not [note for note in hs.plan(**settings, head=carrying).warnings if said in note]


def test_a_saved_head_can_begin_another_run(tmp_path: Path) -> None:
    first = run(tmp_path, f"{B} > {F}")
    settings = inputs(tmp_path, strategy=f"{B} > {F}", head=str(tmp_path / "run"))
    second = watched(out=tmp_path / "second", **settings)
    assert second.result.strategy == F
    assert [s.trains for s in second.result.stages] == ["full"]
    assert same(second.stages[0].head, first.stages[1].head)
    one, two = (saved(tmp_path / name / "model") for name in ("run", "second"))
    # From the same head, with the same seed, stage 2 is the same.
    assert same(one, two)


def test_a_numeric_head_can_begin_another_run(tmp_path: Path) -> None:
    """The head folder is in the user's own units, training is not."""
    settings = inputs(tmp_path, guard=False)
    table = pd.read_csv(settings["train"])
    table["label"] = 1000 + 50 * np.linspace(-1.7, 1.7, len(table))
    settings |= {"train": table, "validation": table}
    first = watched(strategy=f"{B} > {F}", out=tmp_path / "run", **settings)
    second = watched(strategy=F, head=str(tmp_path / "run"), out=tmp_path / "second", **settings)
    for name, tensor in second.stages[0].head.items():
        torch.testing.assert_close(tensor, first.stages[1].head[name], atol=1e-4, rtol=1e-4)
    assert second.result.last["loss"] == pytest.approx(first.result.last["loss"], abs=1e-3)


def test_each_stage_sees_every_row_once_an_epoch(tmp_path: Path) -> None:
    watch = run(tmp_path, "bitfit(epochs=2) > full(epochs=3)")
    for seen, epochs in zip(watch.stages, (2, 3), strict=True):
        assert len(seen.rows) == 3 * epochs
        for epoch in range(epochs):
            part = [row for step in seen.rows[3 * epoch : 3 * epoch + 3] for row in step]
            assert sorted(part) == list(range(24))
        assert seen.rows[:3] != seen.rows[3:6]


def test_the_record_tells_what_happened(tmp_path: Path) -> None:
    watch = run(tmp_path, f"{B} > {F}", eval_every=2)
    result = hs.RunResult.read(tmp_path / "run" / "result.json")
    first, second = result.stages
    assert [p.step for p in first.curve] == [0, 2, 4]
    assert [p.step for p in second.curve] == [0, 2, 3]
    assert first.start == first.curve[0].scores
    assert first.end == first.curve[-1].scores
    assert [p for s in result.stages for p in s.curve] == watch.points
    # The head alone on the checkpoint is not what it was beside the tuner.
    assert second.start != first.end
    assert result.last == second.end
    assert max(p.scores["score"] for p in second.curve) == result.best["score"]
    assert result.data["train_rows"] == 24
    assert result.settings["seed"] == 0
    assert result.status == "done"
    assert set(result.versions) >= {"headstart", "torch", "transformers", "python"}
    per_step = [sum(map(len, s.rows)) for s in watch.stages]
    assert per_step == [24 + 8, 24]
    assert second.tokens > 24 * 4
    assert second.seconds >= second.training_seconds > 0
