"""A head fitted to its optimum on stored features: penalised, the penalty chosen on held-out rows.

::

    minimise over the head     mean loss + m / (2 n C) · |W|²     by L-BFGS, from strong to weak C
    C                          the strongest that held-out folds do not tell from the best
    chosen C                   all rows

``W`` are the weights of the head's linear maps and ``m`` the mean squared norm of what each reads,
so that C means the same whatever the scale of the features: scikit-learn's C of
``LogisticRegression`` on features of length 1. Where the head is one linear map the problem is
convex.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from headstart.data.labels import Labels
from headstart.data.ragged import joined, parted, ragged
from headstart.data.tokens.windows import of_rows
from headstart.models.backbone import Snapshot
from headstart.models.evaluating import evaluating
from headstart.targets._base import TargetKind
from headstart.training.loader import BatchLoader, Indices
from headstart.training.seeds import stream

Losses = npt.NDArray[np.float32]
_Part = tuple[Indices, dict[str, torch.Tensor]]
"""Some rows, and what the model gets of them."""
Head = Mapping[str, nn.Parameter]
"""The head's parameters by name."""
FOLDS = 5
MANY = 5000
"""Rows, or words with a label each, above which one fold is held out instead of each in turn."""
ITERATIONS = 100
ROWS_AT_ONCE = 4096
TOKENS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Fitted:
    """The result of the fit.

    ``strength`` is the chosen C; ``losses`` are mean losses on held-out rows by C, in the user's
    units, none where too few rows could be held out; ``iterations`` are of the final fit.
    """

    strength: float
    losses: dict[float, float]
    iterations: int

    @property
    def held_out_loss(self) -> float | None:
        """Mean loss on held-out rows with the chosen C; ``None`` where none were held out."""
        return self.losses.get(self.strength)


def fit_head(
    model: nn.Module,
    head: Head,
    loader: BatchLoader,
    kind: TargetKind,
    labels: Labels,
    seed: int,
    strength: float | None = None,
) -> Fitted:
    """Fit the head to the features of the training rows; it is then in the model.

    The model and its loader are those inside ``frozen_features``; only the head has gradients.
    Labels are in the units of training; windows have those of their row, or of their own words. The
    seed draws the folds; the windows of a row are never parted. A ``strength`` that is given is
    the penalty: features that were trained on these rows make held-out ones of them look known.
    """
    start = Snapshot(head)
    everything = np.arange(len(labels))
    data_row = everything if loader.data_row is None else loader.data_row
    with evaluating(model):
        scales = _scales(model, head, loader, everything)
        problem = _Problem(model, head, loader, kind, scales)
        found: dict[float, list[Losses]] = {each: [] for each in kind.strengths}
        size = None if loader.units is None else int(loader.units.sum())
        strata = kind.strata(_of_data_rows(labels, loader))
        for pair in folds(strata, seed, size) if strength is None else ():
            kept, held_out = (np.flatnonzero(np.isin(data_row, rows)) for rows in pair)
            start.restore()
            for tried in kind.strengths:
                problem.solve(kept, tried)
                found[tried].append(problem.losses(held_out))
        rows = {s: np.concatenate(parts) for s, parts in found.items() if parts}
        chosen = strength or choose(rows) or usual_strength(kind)
        losses = {s: kind.users_loss(float(r.mean())) for s, r in rows.items()}
        start.restore()
        iterations = 0
        for tried in (*(s for s in kind.strengths if s < chosen), chosen):
            iterations = problem.solve(everything, tried)
    return Fitted(chosen, losses, iterations)


def _of_data_rows(labels: Labels, loader: BatchLoader) -> Labels:
    """Return the labels of the rows of data: of words those of all windows of a row together."""
    if loader.units is None or loader.data_row is None:
        return of_rows(labels, loader.row_of)
    counts = np.bincount(loader.data_row, loader.units).astype(np.int64)
    return ragged(parted(joined(labels), counts))


def usual_strength(kind: TargetKind) -> float:
    """Return the C that is taken where no rows can be held out to choose it."""
    return kind.strengths[1]


def choose(rows: Mapping[float, Losses]) -> float | None:
    """Choose the strongest penalty that held-out rows do not tell from the best one.

    On few rows the least mean loss is a matter of chance, and a penalty that is too weak leaves a
    head that is far too sure. So this is the rule of one standard error (Breiman et al. 1984,
    section 3.4.3), that of the rows' differences. ``rows`` are losses of the held-out rows by C,
    (n,) each; ``None`` where there are none.
    """
    if not rows:
        return None
    best = min(rows, key=lambda strength: float(rows[strength].mean()))
    for strength in sorted(rows):
        more = rows[strength] - rows[best]
        if more.mean() <= more.std() / math.sqrt(len(more)):
            return strength
    return best


def folds(strata: Indices, seed: int, size: int | None = None) -> list[tuple[Indices, Indices]]:
    """Part rows for cross-validation, the groups spread evenly.

    A row that is alone in its group is never held out. ``strata`` is the group of each row, (n,);
    ``size`` is the number of labels that the rows have together, by default one each. Pairs are of
    kept and held-out rows; none where fewer than two could be held out.
    """
    rng = np.random.default_rng(stream(seed, "folds"))
    order = rng.permutation(len(strata))
    part = np.full(len(strata), -1)
    place = 0
    for group in np.unique(strata):
        rows = order[strata[order] == group]
        if len(rows) > 1:
            part[rows] = (place + np.arange(len(rows))) % FOLDS
            place += len(rows)
    count = 1 if (size or len(strata)) > MANY else FOLDS
    pairs = [(np.flatnonzero(part != i), np.flatnonzero(part == i)) for i in range(count)]
    return [(kept, out) for kept, out in pairs if len(out) and len(kept) > 1]


class _Problem:
    """The penalised loss of the head on some rows.

    The model is inside ``frozen_features``; ``scales`` are mean squared norms of what each linear
    map reads, by the name of its weight.
    """

    def __init__(
        self,
        model: nn.Module,
        head: Head,
        loader: BatchLoader,
        kind: TargetKind,
        scales: Mapping[str, float],
    ) -> None:
        self._model, self._head, self._loader = model, head, loader
        self._kind, self._scales = kind, scales
        row_of = loader.row_of
        self._weights = None if row_of is None else 1 / np.bincount(row_of)[row_of]
        self._units, self._at_once = loader.units, _rows_at_once(loader)

    def solve(self, rows: Indices, strength: float) -> int:
        """Minimise from the present head on; return the iterations."""
        head = list(self._head.values())
        # Rows of data: all windows of one weigh as much as one row that is whole.
        n = len(rows) if self._weights is None else round(self._weights[rows].sum())
        n = n if self._units is None else max(1, int(self._units[rows].sum()))
        optimizer = torch.optim.LBFGS(
            head, max_iter=ITERATIONS, tolerance_grad=1e-5, tolerance_change=1e-7, history_size=10,
            line_search_fn="strong_wolfe",
        )  # fmt: skip

        # Where one part holds all rows, each of some hundred evaluations would make it anew.
        whole = list(self._batches(rows)) if len(rows) <= self._at_once else None

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            total = torch.zeros((), device=head[0].device)
            for losses in self._losses(whole or self._batches(rows)):
                part = losses.sum() / n
                part.backward()  # type: ignore[no-untyped-call]
                total += part.detach()
            penalty = self._penalty() / (2 * n * strength)
            penalty.backward()  # type: ignore[no-untyped-call]
            return total + penalty.detach()

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        state = optimizer.state[head[0]]
        return int(state.get("n_iter", 0))

    @torch.no_grad()
    def losses(self, rows: Indices) -> Losses:
        """Return the losses of rows of data, of which all windows are given, (n,).

        Of rows in windows it is the mean over those of each, of rows of words their sum, scaled so
        that the mean over the rows is that over the words.
        """
        found = np.concatenate([part.cpu().numpy() for part in self._losses(self._batches(rows))])
        data_row = self._loader.data_row
        own = np.arange(len(rows))
        if data_row is not None:
            own = np.unique(data_row[rows], return_inverse=True)[1]
        if self._units is not None:
            # Words of a row are no independent samples: each row counts by the sum of its words.
            counts = self._units[rows]
            sums = np.bincount(np.repeat(own, counts), found, own.max(initial=-1) + 1)
            return np.asarray(sums * (len(sums) / max(1, counts.sum())), np.float32)
        # The weights are in the losses of windows already.
        return np.bincount(own, found).astype(np.float32)

    def _penalty(self) -> torch.Tensor:
        weights = [scale * self._head[n].square().sum() for n, scale in self._scales.items()]
        return torch.stack(weights).sum()

    def _batches(self, rows: Indices) -> Iterator[_Part]:
        for start in range(0, len(rows), self._at_once):
            part = rows[start : start + self._at_once]
            yield part, self._loader.batch(part)

    def _losses(self, parts: Iterable[_Part]) -> Iterator[torch.Tensor]:
        for rows, batch in parts:
            inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
            losses = self._kind.row_losses(self._model(**inputs).logits, batch["labels"])
            if self._weights is not None:
                losses = losses * torch.from_numpy(self._weights[rows]).to(losses)
            yield losses


def _rows_at_once(loader: BatchLoader) -> int:
    if loader.units is None:
        return ROWS_AT_ONCE
    # Every token's state is read, not one for each row.
    return max(1, TOKENS_AT_ONCE // int(loader.lengths.max(initial=1)))


@torch.no_grad()
def _scales(model: nn.Module, head: Head, loader: BatchLoader, rows: Indices) -> dict[str, float]:
    """Measure the mean squared norm of what each linear map reads, by its weight's name."""
    maps = {
        f"{name}.weight": module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and f"{name}.weight" in head
    }
    found: dict[str, float] = {}

    def listen(name: str) -> Callable[[nn.Module, Sequence[torch.Tensor], object], None]:
        def hear(_: nn.Module, inputs: Sequence[torch.Tensor], __: object) -> None:
            read = inputs[0].float().square().sum(-1)
            found[name] = float((read if words is None else read.flatten()[words]).mean())

        return hear

    batch = loader.batch(rows[: _rows_at_once(loader)])
    batch.pop("labels", None)
    words = batch.get("word_places")
    with contextlib.ExitStack() as hooks:
        for name, module in maps.items():
            hooks.enter_context(module.register_forward_hook(listen(name)))
        model(**batch)
    matrices = {n: p for n, p in head.items() if p.ndim > 1}
    return {n: scale if math.isfinite(scale := found.get(n, 1.0)) else 1.0 for n in matrices}
