"""Rows of a class come together, whatever the batches; a head is then fitted to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import normalize
from transformers import AutoModel

import headstart as hs
import tiny
import tiny_families
from headstart.cli.shared.tables import stage_end, stage_start
from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.strategies.plan import lengths
from headstart.techniques.contrast import Contrast, pair_losses
from headstart.tuners._bind import read_strategy
from techniques.made import setting
from tiny_runs import frame, inputs, same, watched

LINE = "full(steps=100, lr=1e-3)+contrast >> head(until=optimum)"


def test_both_kinds_of_pairs_weigh_the_same() -> None:
    states = torch.tensor([[2.0, 0.0], [3.0, 4.0]])
    others = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    found = pair_losses(states, torch.tensor([0, 1]), others, torch.tensor([0, 1, 1]))
    # cosines 1, 0, 0.6 and 0.6, 0.8, 1
    first = (1 - 1) ** 2 + (0**2 + 0.6**2) / 2
    second = ((1 - 0.8) ** 2 + (1 - 1) ** 2) / 2 + 0.6**2
    assert found.tolist() == pytest.approx([first, second])


def test_a_class_without_other_rows_pulls_nothing() -> None:
    found = pair_losses(
        torch.tensor([[1.0, 0.0]]), torch.tensor([1]), torch.eye(2), torch.tensor([0, 0])
    )
    assert found.tolist() == pytest.approx([0.5])


def test_what_is_compared_is_what_the_head_reads() -> None:
    split = SplitModel(tiny.build("bert"))
    technique, made = Contrast(), setting(split)
    technique.begin(made)
    split.model.eval()
    technique.before_step(0)
    (batch,) = made.batches()
    inner = {name: tensor for name, tensor in batch.items() if name != "labels"}
    read = split.base(**inner).pooler_output
    split.model(**inner)
    found = technique.row_losses(torch.zeros(4), torch.zeros(4, 2), batch["labels"])
    expected = pair_losses(read, batch["labels"], normalize(read, dim=1), batch["labels"])
    torch.testing.assert_close(found, expected)
    technique.after_step(0)
    split.model(**inner)
    with pytest.raises(ModelError):  # rows that are judged are not compared
        technique.row_losses(torch.zeros(4), torch.zeros(4, 2), batch["labels"])
    technique.close()
    assert not any(module._forward_pre_hooks for module in split.model.modules())


def likeness(folder: Path, rows: pd.DataFrame) -> float:
    """Return by how much the mean cosine within classes is above that between them."""
    states = normalize(torch.as_tensor(embedded(folder, rows)), dim=1)
    alike = torch.as_tensor(rows["label"].to_numpy()[:, None] == rows["label"].to_numpy()[None])
    cosines = states @ states.T
    return float(cosines[alike].mean() - cosines[~alike].mean())


def embedded(folder: Path, rows: pd.DataFrame) -> np.ndarray:
    model = AutoModel.from_pretrained(folder).eval()
    batch = tiny.tokenizer("bert")(rows["sentence"].tolist(), padding=True, return_tensors="pt")
    with torch.no_grad():
        pooled: np.ndarray = model(**batch).pooler_output.numpy()
    return pooled


@pytest.mark.optimum
def test_rows_of_a_class_come_together_and_the_head_is_fitted_behind(tmp_path: Path) -> None:
    settings = inputs(tmp_path, strategy=LINE, guard=True, dropout=0.0)
    watch = watched(**settings, out=str(tmp_path / "run"))
    before, fitted = watch.stages
    assert same(before.head, before.handed_head)
    assert not before.trainable & before.head.keys()
    assert before.handed_fingerprint == fitted.fingerprint != before.fingerprint
    unseen = frame(40, seed=7)
    apart, together = (likeness(tmp_path / name, unseen) for name in ("bert", "run/model"))
    assert together > apart + 0.5
    result = hs.evaluate(str(tmp_path / "run"), data=settings["validation"])
    assert result["score"] > 0.9


def test_a_stage_whose_head_stands_still_says_nothing_of_a_head(tmp_path: Path) -> None:
    line = "full(steps=2)+contrast >> full(steps=1)"
    settings = inputs(tmp_path, strategy=line, guard=True)
    row, last = hs.plan(**settings).rows()
    size = sum(p.numel() for p in tiny.build("bert").parameters())
    head = 2 * 32 + 2
    assert row[3:] == ("0.0001", "none", f"{size - head:,} + 0", f"{head}")
    assert last[4:] == ("0.0001", f"{size - head:,} + {head}", "0")
    watch = watched(**settings, out=str(tmp_path / "run"))
    stage, after = watch.result.stages
    assert stage.trainable == {"head": 0, "tuner": size - head, "frozen": head}
    assert (stage.head_lr, stage.learned, stage.train_adjusted_score) == (None, None, None)
    assert (stage.handed_on, after.head_lr) == ("everything", 1e-4)
    assert f"{size - head:,} numbers train" in stage_start(stage, 1, 2)
    assert "the head" not in stage_end(stage)
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert f"| 2 | 0.0001 | none | {size - head:,} + 0 |" in card
    assert "head lr none" in (tmp_path / "run" / "log.txt").read_text()
    part = hs.plan(**settings | {"strategy": line.replace("contrast", "contrast(0.5)")})
    assert part.counts[0].head == head


def test_all_rows_are_compared_and_computed_anew_after_five_steps_or_an_epoch() -> None:
    split = SplitModel(tiny.build("bert"))
    (first,) = setting(split).batches()
    second = {**first, "labels": 1 - first["labels"]}
    split.model.eval()
    for parts, kept in (([first, second], 5), ([first, second] * 3, 6)):
        technique = Contrast()
        technique.begin(replace(setting(split), batches=lambda parts=parts: iter(parts)))
        anew = []
        for step in range(13):
            was = technique._bank.get("states")
            technique.before_step(step)
            if technique._bank["states"] is not was:
                anew.append(step)
            technique.after_step(step)
        assert anew == list(range(0, 13, kept))
        labels = [label for part in parts for label in part["labels"].tolist()]
        assert technique._bank["classes"].tolist() == labels
        assert len(technique._bank["states"]) == len(labels)
        technique.close()


def test_rows_are_compared_as_they_are_without_dropout() -> None:
    split = SplitModel(tiny.build("bert"))
    technique, made = Contrast(), setting(split)
    technique.begin(made)
    split.model.train()
    technique.before_step(0)
    assert split.model.training
    split.model.eval()
    (batch,) = made.batches()
    inner = {name: tensor for name, tensor in batch.items() if name != "labels"}
    expected = normalize(split.base(**inner).pooler_output, dim=1)
    torch.testing.assert_close(technique._bank["states"], expected)
    technique.close()


def test_a_row_is_compared_with_all_rows_whatever_its_micro_batch() -> None:
    gradients = []
    for size in (None, 3):
        split = SplitModel(tiny.build("bert"))
        technique, made = Contrast(), replace(setting(split), micro_batch_size=size)
        technique.begin(made)
        split.model.eval()
        technique.before_step(0)
        (batch,) = made.batches()
        for part in made.micro_batches(batch):
            labels = part.pop("labels")
            logits = split.model(**part).logits
            technique.row_losses(torch.zeros(len(labels)), logits, labels).sum().backward()
        gradients.append({n: p.grad for n, p in split.backbone.items() if p.grad is not None})
        technique.close()
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-6, rtol=1e-4)


def test_epochs_and_rates_are_those_of_the_stage_that_takes_steps(tmp_path: Path) -> None:
    line = "full+contrast >> head(until=optimum)"
    plan = hs.plan(**inputs(tmp_path, strategy=line, epochs=5, lr=3e-4))
    first, last = plan.stages
    assert (first.length.steps, first.length.until, first.optimizer.lr) == (15, "end", 3e-4)
    assert last.length.until == "optimum"


def test_a_total_goes_to_the_stage_that_takes_steps() -> None:
    strategy = read_strategy("bitfit(steps=4) > full >> head(until=optimum)")
    found = lengths(strategy, rows=32, batch_size=8, epochs=6, total_epochs=5)
    assert [length.expected for length in found] == [4, 16, 0]


def test_a_given_head_starts_with_the_stage_that_takes_steps(tmp_path: Path) -> None:
    settings = inputs(tmp_path, guard=False)
    hs.fit(**settings, strategy="head(steps=1)", out=str(tmp_path / "head"))
    line = "bitfit(steps=1) > full(steps=2)+contrast(0.5) >> head(until=optimum)"
    plan = hs.plan(**settings, strategy=line, head=str(tmp_path / "head"))
    assert [stage.stage.trains for stage in plan.stages] == ["full", "head"]


def test_a_head_that_reads_every_token_is_refused(tmp_path: Path) -> None:
    tiny_families.save_pretrained("gpt2", tmp_path / "gpt2")
    settings = inputs(tmp_path, "gpt2", strategy=LINE, guard=False)
    with pytest.raises(ModelError) as caught:
        hs.fit(**settings, out=str(tmp_path / "run"))
    assert "one state a row" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_candidates_that_are_ranked_are_refused(tmp_path: Path) -> None:
    rows = frame(8)
    table = pd.DataFrame(
        {"premise": rows["sentence"], "a": "a b", "b": "y z", "label": np.arange(8) % 2}
    )
    settings = inputs(tmp_path) | {"text": ("premise",), "choices": ("a", "b")}
    settings |= {"train": table, "validation": table}
    with pytest.raises(ModelError) as caught:
        hs.plan(**settings, strategy=LINE)
    assert "an output for each class" in str(caught.value)
