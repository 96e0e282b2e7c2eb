"""A head fitted to its optimum is that of scikit-learn, its penalty chosen on held-out rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn

import headstart as hs
from headstart.data.ragged import parted, places, ragged
from headstart.errors import NotationError
from headstart.targets.classes import Classes
from headstart.targets.number import Number
from headstart.targets.tags import Tags
from headstart.training.frozen import solve
from headstart.training.frozen.solve import fit_head, folds
from headstart.training.loader import Indices
from headstart.tuners._bind import read_strategy
from tiny_runs import frame, inputs, saved, watched

pytestmark = pytest.mark.optimum

ROWS, WIDTH = 90, 6


class Out:
    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits


class Linear(nn.Module):
    """A head on features that are given: what ``frozen_features`` makes of a classifier."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.out = nn.Linear(WIDTH, outputs)

    def forward(self, x: torch.Tensor) -> Out:
        return Out(self.out(x))


class Rows:
    left_padded = False
    units: Indices | None = None

    def __init__(self, x: np.ndarray, y: np.ndarray, row_of: Indices | None = None) -> None:
        self.row_of = self.data_row = row_of
        self.x, self.y = torch.from_numpy(x).float(), torch.from_numpy(y)
        self.y = self.y.float() if self.y.is_floating_point() else self.y
        self.lengths = np.ones(len(y), np.int64)

    def batch(self, rows: Indices) -> dict[str, torch.Tensor]:
        chosen = torch.from_numpy(rows)
        return {"x": self.x[chosen], "labels": self.y[chosen]}

    def padded(self, rows: Indices) -> bool:
        return False

    def vocabulary(self) -> None:
        return None


def problem(classes: int, noise: float = 1.0, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(ROWS, WIDTH))
    scores = x @ rng.normal(size=(WIDTH, max(1, classes))) + noise * rng.normal(
        size=(ROWS, max(1, classes))
    )
    return scale * x, scores.argmax(1) if classes else scores[:, 0]


def fitted(x: np.ndarray, y: np.ndarray, outputs: int) -> tuple[Linear, solve.Fitted]:
    model = Linear(outputs)
    kind = Number() if outputs == 1 else Classes(tuple(map(str, range(outputs))))
    return model, fit_head(model, dict(model.named_parameters()), Rows(x, y), kind, y, 0)


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_it_is_the_logistic_regression_of_scikit_learn(classes: int, scale: float) -> None:
    x, y = problem(classes, scale=scale)
    model, found = fitted(x, y, classes)
    norm = np.sqrt(np.square(x).sum(1).mean())  # C is that on features of length 1
    # Two classes share one vector of weights there: half the penalty of two.
    strength = found.strength * (2 if classes == 2 else 1)
    theirs = LogisticRegression(C=strength, max_iter=5000, tol=1e-8).fit(x / norm, y)
    expected = theirs.predict_proba(x / norm)
    with torch.no_grad():
        ours = model(torch.from_numpy(x).float()).logits.softmax(-1).numpy()
    assert np.abs(ours - expected).max() < 0.01


def test_numbers_get_the_ridge_regression_of_scikit_learn() -> None:
    x, y = problem(0)
    model, found = fitted(x, y, 1)
    scale = np.square(x).sum(1).mean()
    # Theirs is the sum of squares and alpha times the weights', ours the mean and half the penalty.
    theirs = Ridge(alpha=scale / (2 * found.strength)).fit(x, y)
    with torch.no_grad():
        ours = model(torch.from_numpy(x).float()).logits[:, 0].numpy()
    assert ours == pytest.approx(theirs.predict(x), abs=0.02)


@pytest.mark.parametrize("classes", [0, 3])
def test_the_windows_of_a_row_weigh_as_one_row_and_are_held_out_together(classes: int) -> None:
    x, y = problem(classes)
    row_of = np.repeat(np.arange(ROWS), np.random.default_rng(0).integers(1, 5, ROWS))
    model, found = fitted(x, y, max(1, classes))
    parted = Linear(max(1, classes))
    rows = Rows(x[row_of], y[row_of], row_of)
    kind = Classes(tuple(map(str, range(classes)))) if classes else Number()
    again = fit_head(parted, dict(parted.named_parameters()), rows, kind, y[row_of], 0)
    assert again.strength == found.strength
    assert again.losses == pytest.approx(found.losses, rel=0.05)
    with torch.no_grad():
        ours, theirs = (m(torch.from_numpy(x).float()).logits.numpy() for m in (model, parted))
    assert theirs == pytest.approx(ours, abs=0.05)


class Words(Rows):
    """Rows of words, the states of all words end to end, parted into windows or not."""

    def __init__(self, x: np.ndarray, y: np.ndarray, units: Indices, data_row: Indices) -> None:
        super().__init__(x, y)
        whole = (data_row == np.arange(len(units))).all()
        self.units, self.data_row = units, None if whole else data_row
        self.lengths = np.maximum(units, 1)
        self.begins = np.cumsum(units) - units

    def batch(self, rows: Indices) -> dict[str, torch.Tensor]:
        assert self.units is not None
        return super().batch(places(self.begins[rows], self.units[rows]))


def test_the_windows_of_words_are_held_out_together_and_count_as_their_row() -> None:
    x, y = problem(3)
    whole = np.array([5, 1, 12] * 5, np.int64)
    windows = [[5], [1], [4, 0, 6, 2]] * 5
    told = {}
    for name, parts in (("whole", [[n] for n in whole]), ("windows", windows)):
        units = np.concatenate(parts).astype(np.int64)
        data_row = np.repeat(np.arange(len(parts)), list(map(len, parts)))
        model = Linear(3)
        labels = ragged(parted(y, units))
        loader = Words(x, y, units, data_row)
        kind = Tags(("O", "B-a", "I-a"))
        told[name] = fit_head(model, dict(model.named_parameters()), loader, kind, labels, 0)
    assert told["windows"].losses == pytest.approx(told["whole"].losses, rel=1e-3)
    assert told["windows"].strength == told["whole"].strength


def test_rows_that_tell_nothing_get_a_strong_penalty_and_a_loss_of_chance() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(ROWS, WIDTH)), rng.permutation(ROWS) % 2
    _, noise = fitted(x, y, 2)
    assert noise.strength == Classes.strengths[0]
    assert noise.held_out_loss == pytest.approx(np.log(2), abs=0.1)
    _, clear = fitted(*problem(2, noise=0.0), 2)
    assert clear.strength > noise.strength
    assert (clear.held_out_loss or 1) < 0.2


def test_uneven_rows_that_tell_little_still_tell_more_than_their_counts() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [14, 12])
    x = rng.normal(size=(len(y), WIDTH)) + 0.5 * (2 * y - 1)[:, None] / WIDTH**0.5
    model, _ = fitted(x, y, 2)
    with torch.no_grad():
        found = model(torch.from_numpy(x).float()).logits.argmax(-1).numpy()
    assert (found[y == 1] == 1).mean() > 0.5


def test_the_choice_looks_at_held_out_rows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[int]] = []
    solve_, loss_ = solve._Problem.solve, solve._Problem.losses

    def kept(self: solve._Problem, rows: Indices, strength: float) -> int:
        seen.append(set(rows.tolist()))
        return solve_(self, rows, strength)

    def held_out(self: solve._Problem, rows: Indices) -> solve.Losses:
        assert not seen[-1] & set(rows.tolist())
        return loss_(self, rows)

    monkeypatch.setattr(solve._Problem, "solve", kept)
    monkeypatch.setattr(solve._Problem, "losses", held_out)
    fitted(*problem(3), 3)
    assert seen[-1] == set(range(ROWS))


def test_the_strongest_penalty_is_taken_that_rows_do_not_tell_from_the_best() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(50).astype(np.float32)
    noise = rng.normal(size=50).astype(np.float32)
    noise -= noise.mean()
    assert solve.choose({}) is None
    assert solve.choose({0.1: base + 1, 1.0: base + noise + 0.01, 10.0: base}) == 1.0
    assert solve.choose({0.1: base + 1, 1.0: base + 0.01, 10.0: base}) == 10.0


@pytest.mark.parametrize("rows", [[0], [0, 1], [0, 1, 2, 3]])
def test_one_row_a_class_is_fitted_without_a_choice(rows: list[int]) -> None:
    y = np.array(rows)
    _, found = fitted(np.eye(WIDTH)[: len(y)], y, 4)
    assert found.losses == {} and found.strength == 10.0 and found.held_out_loss is None


def test_folds_spread_the_classes_and_never_hold_out_a_class_whole() -> None:
    labels = np.repeat([0, 1, 2, 3], [40, 10, 2, 1])
    parts = folds(labels, 0)
    held_out = np.concatenate([out for _, out in parts])
    assert sorted(held_out) == list(range(52))  # all but the row that is alone in its class
    for kept, _ in parts:
        assert set(labels[kept]) == {0, 1, 2, 3}
    assert all(3 <= (labels[out] == 0).sum() <= 9 for _, out in parts)


@pytest.fixture
def roughly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only come near an optimum: it is compared with no other library's."""
    monkeypatch.setattr(solve, "ITERATIONS", 30)


@pytest.mark.usefixtures("roughly")
def test_a_run_solves_its_head_and_says_so(tmp_path: Path) -> None:
    settings = inputs(tmp_path) | {"train": frame(64), "select": "last"}
    watch = watched(strategy="head(until=optimum) > full(steps=2)", out=tmp_path / "a", **settings)
    stage = watch.result.stages[0]
    assert (stage.ended, stage.steps, stage.learned, stage.handed_on) == (
        "optimum",
        0,
        True,
        "head",
    )
    assert stage.held_out_loss is not None and stage.held_out_loss < np.log(2)
    assert stage.end["loss"] < stage.start["loss"]
    again = watched(strategy="head(until=optimum) > full(steps=2)", out=tmp_path / "b", **settings)
    assert all(map(torch.equal, saved(tmp_path / "a").values(), saved(tmp_path / "b").values()))
    assert again.result.stages[0].held_out_loss == stage.held_out_loss


@pytest.mark.usefixtures("roughly")
def test_a_head_that_is_no_better_than_chance_has_no_weight_and_the_run_says_so(
    tmp_path: Path,
) -> None:
    settings = inputs(tmp_path) | {"train": frame(64, noise=True), "select": "last"}
    result = watched(
        strategy="head(until=optimum) > full(steps=2)", out=tmp_path / "run", **settings
    ).result
    first = result.stages[0]
    assert (first.learned, first.handed_on, len(result.stages)) == (False, "head", 2)
    assert first.end["loss"] == pytest.approx(np.log(2), abs=0.1)
    assert any("found nothing on the frozen features" in told for told in result.warnings)


@pytest.mark.usefixtures("roughly")
def test_a_total_is_left_to_the_last_stage(tmp_path: Path) -> None:
    result = watched(
        strategy="head(until=optimum) > full",
        total_epochs=4,
        out=tmp_path / "run",
        **inputs(tmp_path),
    ).result
    assert [stage.steps for stage in result.stages] == [0, 12]


def test_features_that_cannot_be_kept_are_trained_on_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.training.frozen.features.LARGEST_STORE", 0)
    result = hs.fit(
        strategy="head(until=optimum, epochs=2)", out=tmp_path / "run", **inputs(tmp_path)
    )
    assert (result.stages[0].ended, result.stages[0].steps) == ("end", 6)


@pytest.mark.parametrize(
    "line",
    ["bitfit(until=optimum) > full", "full(until=optimum)", "head(until=optimum)+ema > full"],
)
def test_only_a_plain_head_can_be_solved(line: str) -> None:
    with pytest.raises(NotationError, match="until=optimum on a stage that trains the head alone"):
        read_strategy(line)
