"""Sound as a feature extractor gives it, filled up to batches where rows differ in length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from headstart.data.examples import Examples
from headstart.data.labels import Labels

if TYPE_CHECKING:
    import torch

Indices = npt.NDArray[np.int64]
Features = dict[str, npt.NDArray[Any]]
"""What a model is given of one row, by name; the first dimension is time where it is not fixed."""


@dataclass(frozen=True)
class Extracted(Examples):
    """Rows of sound as features.

    Args:
        kept: The features of each row; ``None`` for those beyond what memory is set aside for,
            which are computed anew each time.
        compute: Computes the features of a row of ``sources``.
        sources: What the features are computed from, by row.
        sizes: The length of each row's features in time, (n,).
        lengths: Places that the model makes of each row, (n,).
        seconds: How long each sound was before it was cut, (n,).
        cut: Whether it was too long and was cut, (n,).
        rates: Sampling rate of each sound, (n,).
        channels: Of each sound, (n,).
        fill: What shorter rows are filled up with.
        alone: Whether a row's logits would depend on how far it is filled up.
        labels: In the form of their kind of target; ``None`` if not known.
    """

    kept: Sequence[Features | None] = field(repr=False)
    compute: Callable[[Any], Features] = field(repr=False)
    sources: Sequence[Any] = field(repr=False)
    sizes: Indices
    lengths: Indices
    seconds: npt.NDArray[np.float64]
    cut: npt.NDArray[np.bool_]
    rates: Indices
    channels: Indices
    fill: float = 0.0
    alone: bool = False
    labels: Labels | None = None

    @property
    def apart(self) -> Indices | None:  # type: ignore[override]
        """Where rows of different size must not be evaluated together: their sizes."""
        return self.sizes if self.alone else None

    @property
    def n_cut(self) -> int:
        """Rows of which something is cut off."""
        return int(self.cut.sum())

    def take(self, rows: Indices) -> Extracted:
        """Return some of the rows."""
        of_rows = ("sizes", "lengths", "seconds", "cut", "rates", "channels")
        return replace(
            self,
            kept=[self.kept[row] for row in rows],
            sources=[self.sources[row] for row in rows],
            labels=None if self.labels is None else self.labels[rows],
            **{name: getattr(self, name)[rows] for name in of_rows},
        )

    def collate(
        self,
        indices: npt.ArrayLike,
        draw: int | None = None,  # noqa: ARG002
    ) -> dict[str, torch.Tensor]:
        """Make a batch, filled up to its longest row.

        ``attention_mask``, (b, size), is there where the extractor gives one.
        """
        import torch

        rows = np.asarray(indices, np.int64)
        given = [self.kept[row] or self.compute(self.sources[row]) for row in rows]
        batch = {name: torch.from_numpy(self._fill(name, given)) for name in given[0]}
        return batch | self.label_tensors(rows)

    def _fill(self, name: str, given: Sequence[Features]) -> npt.NDArray[Any]:
        values = [row[name] for row in given]
        width = max(len(each) for each in values)
        mask = name == "attention_mask"  # kept as bytes
        fill, kind = (0, np.dtype(np.int64)) if mask else (self.fill, values[0].dtype)
        found = np.full((len(values), width, *values[0].shape[1:]), fill, kind)
        for place, each in enumerate(values):
            found[place, : len(each)] = each
        return found

    def padded(self, indices: npt.ArrayLike) -> bool:
        """Return whether the rows' sizes differ, or a row's own mask hides something."""
        rows = np.asarray(indices, np.int64)
        if len(np.unique(self.sizes[rows])) > 1:
            return True
        masks = ((self.kept[row] or {}).get("attention_mask") for row in rows)
        return any(mask is not None and not mask.all() for mask in masks)
