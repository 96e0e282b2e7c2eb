"""The default where the rows of a class are few, and the penalty of a head that is fitted again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import headstart as hs
import tiny_families
from headstart.errors import ModelError
from headstart.steps import budget, few_rows
from headstart.steps.budget import Speed
from headstart.strategies.builtin import ALIASES
from models.test_sentence import make_sentence
from tiny_runs import frame, inputs, watched

FEW, USUAL = ALIASES["few"].line, ALIASES["default"].line


def settings_of(folder: Path, rows: int, **more: Any) -> dict[str, Any]:
    settings = inputs(folder, train=frame(rows), **more)
    make_sentence(Path(settings["model"]), pooling_mode_mean_tokens=True)
    return settings


@pytest.mark.parametrize(
    ("rows", "given", "line"),
    [
        (30, {}, FEW),
        (126, {}, FEW),
        (128, {}, USUAL),  # 64 of each class
        (30, {"strategy": USUAL}, USUAL),
        (30, {"epochs": 6}, USUAL),
        (30, {"total_epochs": 6}, USUAL),
        (30, {"head_type": "native"}, USUAL),
        (30, {"preset": "paper"}, USUAL),
        (30, {"head_lr": 1e-3}, USUAL),
        (30, {"lr": 1e-3}, FEW),
    ],
)
def test_what_the_default_is(tmp_path: Path, rows: int, given: dict[str, Any], line: str) -> None:
    plan = hs.plan(**settings_of(tmp_path, rows), **given)
    assert plan.strategy == line
    assert any("rows a class are few" in note for note in plan.notes) == (line == FEW)
    if "lr" in given:
        assert plan.stages[1].optimizer.lr == given["lr"]


@pytest.mark.parametrize(("batch", "steps"), [(24, 10), (12, 20), (2, 80)])
def test_it_takes_10_epochs_and_80_steps_at_most(tmp_path: Path, batch: int, steps: int) -> None:
    plan = hs.plan(**settings_of(tmp_path, 24) | {"batch_size": batch})
    assert [stage.length.expected for stage in plan.stages] == [0, steps, 0]


@pytest.mark.parametrize(("extra", "rate"), [("+contrast", 1e-4), ("+contrast(0.5)", 5e-5)])
def test_where_no_head_trains_the_rate_is_twice_that_of_a_solved_head(
    tmp_path: Path, extra: str, rate: float
) -> None:
    line = f"head(until=optimum) >> full{extra} >> head(until=optimum)"
    plan = hs.plan(**settings_of(tmp_path, 24), strategy=line)
    assert plan.stages[1].optimizer.lr == pytest.approx(rate)


@pytest.mark.parametrize(("rows", "line"), [(40, FEW), (42, USUAL)])
def test_many_rows_of_many_classes_are_not_few(
    tmp_path: Path, rows: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few_rows, "MOST", 40)
    assert hs.plan(**settings_of(tmp_path, rows)).strategy == line


def test_a_head_that_was_chosen_is_not_fitted_anew(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, 24)
    hs.fit(**settings, strategy="head(steps=1)", guard=False, out=str(tmp_path / "head"))
    plan = hs.plan(**settings, head=str(tmp_path / "head"))
    assert FEW not in plan.strategy


def test_its_head_goes_on_with_the_backbone_of_the_run(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, 24)
    hs.fit(**settings, out=str(tmp_path / "run"))
    with pytest.raises(ModelError, match="expected a head trained on this backbone"):
        hs.plan(**settings, head=str(tmp_path / "run" / "head"))
    settings["model"] = str(tmp_path / "run" / "model")
    assert hs.plan(**settings, head=str(tmp_path / "run" / "head")).strategy == "full"


def test_a_checkpoint_that_was_not_made_for_sentence_vectors_keeps_it(tmp_path: Path) -> None:
    assert hs.plan(**inputs(tmp_path)).strategy == USUAL


def test_numbers_keep_it(tmp_path: Path) -> None:
    rows = frame(24)
    table = rows.assign(label=np.linspace(0, 5, len(rows)))
    settings = settings_of(tmp_path, 24) | {"train": table, "validation": table[:6]}
    assert hs.plan(**settings, target="number").strategy == USUAL


def test_what_was_decided_is_written_down_and_repeats_the_run(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, 24)
    settings |= {"train": str(tmp_path / "train.csv")}
    first = hs.fit(**settings, out=str(tmp_path / "first"))
    assert first.strategy == FEW
    written = yaml.safe_load((tmp_path / "first" / "settings.yaml").read_text())
    again = hs.fit(**written | {"out": str(tmp_path / "again")})
    assert (again.strategy, again.last) == (first.strategy, first.last)


@pytest.mark.optimum
def test_a_head_is_fitted_again_with_the_penalty_that_held_out_rows_chose(tmp_path: Path) -> None:
    rows = frame(24, noise=True)
    settings = settings_of(tmp_path, 24) | {"train": rows, "guard": True}
    first, _, last = watched(strategy=FEW, out=tmp_path / "run", **settings).result.stages
    assert first.strength == last.strength != 1.0
    assert first.held_out_loss is not None and last.held_out_loss is None
    line = "full(steps=2)+contrast >> head(until=optimum)"
    _, alone = watched(strategy=line, out=tmp_path / "alone", **settings).result.stages
    assert (alone.strength, alone.held_out_loss) == (10.0, None)


def test_decoders_keep_it(tmp_path: Path) -> None:
    tiny_families.save_pretrained("gpt2", tmp_path / "gpt2")
    assert hs.plan(**inputs(tmp_path, "gpt2")).strategy == USUAL


def test_that_it_was_chosen_is_a_note_and_no_warning(tmp_path: Path) -> None:
    result = hs.fit(**settings_of(tmp_path, 12), out=str(tmp_path / "run"))
    assert [note for note in result.notes if "rows a class are few" in note]
    assert not [warning for warning in result.warnings if "few: rows" in warning]


def test_a_length_that_the_user_gave_is_not_explained(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, 30) | {"head_type": "native"}
    assert "would be few steps" in dict(hs.plan(**settings).facts)["length"]
    assert "length" not in dict(hs.plan(**settings, epochs=8).facts)


def test_a_budget_for_a_head_alone_leaves_nothing_that_speaks_of_the_stages_that_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "glance", lambda _plan: Speed(100.0, 0.0))
    settings = settings_of(tmp_path, 24)
    plan = hs.plan(**settings, budget="9s")
    assert plan.strategy == "head(until=optimum)"
    assert "length" not in dict(plan.facts)
    assert not any("drawn together" in note for note in plan.notes)
    result = hs.fit(**settings, budget="9s", out=tmp_path / "run")
    assert len(result.notes) == 1
    card = (tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8")
    assert "drawn together" not in card
    written = yaml.safe_load((tmp_path / "run" / "settings.yaml").read_text(encoding="utf-8"))
    assert written["strategy"] == "head(until=optimum)"
    assert written.get("epochs") is None


def test_a_shortened_run_still_says_why_it_draws_rows_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for look in ("glance", "measure"):
        monkeypatch.setattr(budget, look, lambda _plan: Speed(1.0, 0.0))
    plan = hs.plan(**settings_of(tmp_path, 24), budget="20s")
    assert "drawn together" in plan.notes[0]
    assert "fine-tuning has" in plan.notes[1]
