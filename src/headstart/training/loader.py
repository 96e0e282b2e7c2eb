"""Rows to tensors on the device.

A loader is all that the loop knows of the data: how many rows, how long, and a batch on demand.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from headstart.data.examples import Examples

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class BatchLoader(Protocol):
    """A source of batches."""

    lengths: Indices
    """Tokens of each row, (n,)."""
    left_padded: bool
    """Whether shorter rows are filled up in front."""
    apart: Indices | None
    """Where a row's logits depend on what it is filled up to, numbers that are equal for rows which
    may be evaluated together; else ``None``."""
    row_of: Indices | None
    """Where rows were parted into windows, the row of each window; what is called a row here is
    then a window. ``None`` where each counts by itself."""
    data_row: Indices | None
    """The row of data that each row is a part of, also where parts have labels of their own;
    ``None`` where none was parted."""
    setup_seconds: float
    """Wall time that it took to compute what is replayed; 0 where nothing is."""
    units: Indices | None
    """How many labels count in each row, (n,); ``None`` where it is one each."""

    def batch(self, rows: Indices, draw: int | None = None) -> dict[str, torch.Tensor]:
        """Return the model's inputs for some rows, (b,), and ``labels`` where they are known.

        ``draw`` is the seed by which they are changed at random to be trained on; ``None`` leaves
        them as they are.
        """

    def replayed(self, rows: Indices) -> dict[str, torch.Tensor]:
        """Return the same for a base model that gives what was stored, and reads nothing."""

    def padded(self, rows: Indices) -> bool:
        """Return whether anything in the batch of some rows is filled up."""

    def vocabulary(self) -> Indices | None:
        """Return every token id that a batch can hold, ascending; ``None`` if not known."""

    def whole(self, values: Floats) -> Floats:
        """Return the logits of the data from those of these rows; see ``Examples.whole``."""


class ExamplesLoader:
    """Batches of rows on a device."""

    setup_seconds = 0.0

    def __init__(self, examples: Examples, device: torch.device) -> None:
        self._examples, self._device = examples, device
        self.lengths, self.left_padded = examples.lengths, examples.left_padded
        self.row_of, self.units, self.apart = examples.row_of, examples.units, examples.apart
        self.data_row = examples.data_row

    def batch(self, rows: Indices, draw: int | None = None) -> dict[str, torch.Tensor]:
        """Return the model's inputs for some rows."""
        batch = self._examples.collate(rows, draw)
        return {name: send(tensor, self._device) for name, tensor in batch.items()}

    def replayed(self, rows: Indices) -> dict[str, torch.Tensor]:
        """Return the inputs for a base model that gives what was stored, and reads nothing."""
        batch = self._examples.replayed(rows)
        return {name: send(tensor, self._device) for name, tensor in batch.items()}

    def padded(self, rows: Indices) -> bool:
        """Return whether anything in a batch is filled up."""
        return self._examples.padded(rows)

    def vocabulary(self) -> Indices | None:
        """Return every token id that a batch can hold."""
        return self._examples.vocabulary()

    def whole(self, values: Floats) -> Floats:
        """Return the logits of the data from those of the rows."""
        return self._examples.whole(values)


class SubsetLoader:
    """Some rows of another loader, each of which counts by itself, be it a window or not."""

    row_of: Indices | None = None
    data_row: Indices | None = None
    setup_seconds = 0.0

    def __init__(self, loader: BatchLoader, rows: Indices) -> None:
        self._loader, self._rows = loader, rows
        self.lengths, self.left_padded = loader.lengths[rows], loader.left_padded
        self.units = None if loader.units is None else loader.units[rows]
        self.apart = None if loader.apart is None else loader.apart[rows]

    def batch(self, rows: Indices, draw: int | None = None) -> dict[str, torch.Tensor]:
        """Return the model's inputs for some of these rows."""
        return self._loader.batch(self._rows[rows], draw)

    def replayed(self, rows: Indices) -> dict[str, torch.Tensor]:
        """Return the inputs for a base model that gives what was stored, and reads nothing."""
        return self._loader.replayed(self._rows[rows])

    def padded(self, rows: Indices) -> bool:
        """Return whether anything in a batch is filled up."""
        return self._loader.padded(self._rows[rows])

    def vocabulary(self) -> Indices | None:
        """Return every token id that a batch can hold, and maybe others."""
        return self._loader.vocabulary()

    def whole(self, values: Floats) -> Floats:
        """Return the same: each of these rows counts by itself."""
        return values


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor to a device without waiting for what the device has still to do.

    The copy to a GPU starts from pinned memory and queues behind the step before, while the program
    goes on to the next batch. Torch gives the pinned memory to no one else until it is done. The
    tensor is not to be written to any more.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
