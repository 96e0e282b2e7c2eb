"""Rows in the form in which a model is given them: what all kinds of input have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import numpy.typing as npt

from headstart.data.labels import Labels
from headstart.data.tokens.windows import mean_of_windows, of_rows

if TYPE_CHECKING:
    import torch

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[Any]


class Examples(ABC):
    """Rows in the form in which a model is given them; each kind has it as a frozen dataclass.

    Attributes:
        lengths: What each row costs, by which rows are put together to batches: its tokens, or the
            places that the model makes of it, (n,).
        labels: In the form of their kind of target, one for each row; ``None`` if not known.
        row_of: Where rows were parted into windows, the row of each window, in order; the windows
            are then what is called rows above. ``None`` where each is a row of its own.
    """

    lengths: Indices
    labels: Labels | None
    row_of: Indices | None = None
    apart: Indices | None = None
    """Where a row's logits depend on what it is filled up to, numbers that are equal for rows which
    may be evaluated together, (n,); else ``None``."""
    uncut: Indices | None = None
    """What each row of data would cost whole, neither cut nor parted, (n_rows,), where it is
    known."""
    left_padded = False
    """Whether shorter rows are filled up in front."""

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def data_row(self) -> Indices | None:
        """The row of data that each row is a part of, (n,); ``None`` where none was parted.

        It is known also where parts have labels of their own, unlike ``row_of``.
        """
        return self.row_of

    @property
    def n_rows(self) -> int:
        """Rows of data, each of which may have several windows."""
        return len(self) if self.row_of is None else int(self.row_of.max(initial=-1)) + 1

    @property
    def n_parted(self) -> int:
        """Rows of data that have several windows."""
        return 0 if self.row_of is None else int((np.bincount(self.row_of) > 1).sum())

    @property
    def n_cut(self) -> int:
        """Rows of data of which something is cut off."""
        return 0

    @property
    def row_labels(self) -> Labels | None:
        """Labels of the rows of data, (n_rows,)."""
        return None if self.labels is None else of_rows(self.labels, self.row_of)

    def with_labels(self, labels: Labels | None) -> Self:
        """Return the same rows, or their windows, with other labels.

        These are those of the rows of data, (n_rows,).
        """
        known = labels is not None and self.row_of is not None
        found = labels[self.row_of] if known else labels  # type: ignore[index]
        return cast(Self, replace(cast(Any, self), labels=found))

    @abstractmethod
    def take(self, rows: Indices) -> Self:
        """Return some rows of data in the order asked for, with all their windows, copied."""

    @abstractmethod
    def collate(self, indices: npt.ArrayLike, draw: int | None = None) -> dict[str, torch.Tensor]:
        """Make a batch of rows, (b,): the model's inputs by name, (b, …), and ``labels`` if known.

        ``draw`` is the seed by which rows are changed at random to be trained on, where their kind
        has such changes; ``None`` leaves them as they are.
        """

    def replayed(self, indices: npt.ArrayLike) -> dict[str, torch.Tensor]:
        """Make a batch for a model whose base model gives what was stored, and reads nothing.

        It is as from ``collate``; the base model's inputs may be anything of as many rows.
        """
        return self.collate(indices)

    def label_tensors(self, rows: Indices) -> dict[str, torch.Tensor]:
        """Return ``labels``, (b,) or (b, labels), numbers as float32; nothing if unknown."""
        import torch

        if self.labels is None:
            return {}
        labels = torch.from_numpy(self.labels[rows])
        return {"labels": labels.float() if labels.is_floating_point() else labels}

    def padded(self, indices: npt.ArrayLike) -> bool:  # noqa: ARG002
        """Return whether a row of a batch is shorter than the batch is wide, and so filled up."""
        return False

    @property
    def units(self) -> Indices | None:
        """How many labels count in each row, (n,); ``None`` where it is one each."""
        return None

    def whole(self, values: Floats) -> Floats:
        """Return the logits of the data, from those of the rows, (n, …); of windows the mean."""
        return values if self.row_of is None else mean_of_windows(values, self.row_of)

    def vocabulary(self) -> Indices | None:
        """Return every token id that a batch can hold, ascending; ``None`` where there are none."""
        return None
