"""Greedy soup keeps what helps, averages exactly, and refuses what cannot be averaged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import headstart as hs
import tiny_runs
import tiny_studies
from headstart.errors import RunError
from headstart.study.running.main import carry_out_study
from headstart.study.soup import greedy, make_soup, stirred


def weights(*values: float) -> dict[str, torch.Tensor]:
    return {"w": torch.tensor(values), "count": torch.tensor(3)}


def test_the_mean_is_the_mean_and_counters_stay() -> None:
    mean = weights(1.0, 2.0)
    for count, more in enumerate((weights(3.0, 2.0), weights(2.0, 8.0)), start=1):
        mean = stirred(mean, count, more | {"count": torch.tensor(9)})
    assert mean["w"].tolist() == pytest.approx([2.0, 4.0])
    assert mean["count"] == 3


def test_what_lowers_the_score_is_left_out_and_a_draw_is_kept() -> None:
    parts = [
        (4, 0.8, weights(0.0)),
        (1, 0.7, weights(4.0)),  # mean 2: worse
        (0, 0.7, weights(1.0)),  # mean 0.5: better
        (2, 0.6, weights(-1.0)),  # mean 0: a draw with the first, worse than the last
    ]
    scores = {0.0: 0.8, 2.0: 0.5, 0.5: 0.9}

    def score(trial: Mapping[str, torch.Tensor]) -> float:
        return scores[float(trial["w"])]

    mean, told = greedy(parts, score)
    assert float(mean["w"]) == 0.5
    assert [(one.seed, one.kept) for one in told] == [
        (4, True), (1, False), (0, True), (2, False),
    ]  # fmt: skip
    mean, told = greedy(parts[:1] + parts[:1], score)
    assert all(one.kept for one in told)


def done(folder: Path, **changes: Any) -> str:
    study = tiny_studies.study(folder, **changes)
    carry_out_study(study, tiny_studies.Here())
    return study.store.address


def test_all_seeds_kept_give_the_mean_of_the_saved_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = done(tmp_path, strategies=["full(steps=3)"], seeds=2)
    monkeypatch.setattr("headstart.study.soup._Run.judge", judged_alike)
    _, told = make_soup(address, "full(steps=3)", tmp_path / "soup")
    assert [one.kept for one in told] == [True, True]
    own = tiny_runs.inputs(tmp_path, guard=False) | {"strategy": "full(steps=3)"}
    runs = [tiny_runs.saved(hs.fit(**own, seed=s, out=str(tmp_path / f"{s}")).out) for s in (0, 1)]
    mean = tiny_runs.saved(tmp_path / "soup")
    for name, tensor in mean.items():
        torch.testing.assert_close(tensor, (runs[0][name] + runs[1][name]) / 2)


def judged_alike(self: Any, trial: dict[str, torch.Tensor]) -> dict[str, float]:
    """Hold the weights, and find them as good as the best."""
    self.plan.model.model.load_state_dict(trial)
    return {"score": self.score, "loss": 0.0}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seeds": 1}, "at least two finished runs"),
        ({"train_rows": [8, 16]}, "one task, model, size"),
        ({"settings": {"selection": "carve", "guard": False, "select": "best"}}, "validation"),
    ],
)
def test_what_cannot_be_averaged_is_refused(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    address = done(tmp_path, **{"strategies": ["full(steps=3)"], "seeds": 2} | changes)
    with pytest.raises(RunError, match=told):
        make_soup(address, "full(steps=3)", tmp_path / "soup")
    assert not (tmp_path / "soup").exists()
