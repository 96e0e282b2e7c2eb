"""Pictures as a model reads them: brought to its size once, changed at random while it trains."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from headstart.data.examples import Examples
from headstart.data.labels import Labels
from headstart.data.rows import Rows
from headstart.inputs.media.picture import Picture, decode, pillow

if TYPE_CHECKING:
    import torch

Indices = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
LARGEST_STORE = 2 * 2**30
"""Bytes up to which pictures are kept in memory; above, they are read again in each epoch."""
LEAST_AREA = 0.5
"""Least share of a picture's area that a random crop keeps. The usual 0.08 is meant for the
hundreds of epochs from random weights; fine-tuning has a few, and a crop may lack what the label is
about."""
WIDEST = 4 / 3
"""Largest ratio of a random crop's sides, in units of the picture's own."""


@dataclass(frozen=True)
class Scaling:
    """How a model wants its pictures.

    Args:
        processor: Its image processor; brings a picture to the model's size.
        shape: Channels, height and width.
        scale: What a byte is multiplied by.
        mean: Subtracted from each channel after that, (channels,).
        std: Each channel is divided by it then, (channels,).
        resample: Pillow's number of the filter.
    """

    processor: Any
    shape: tuple[int, int, int]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resample: int

    def resized(self, picture: Any) -> Bytes:
        """Bring a Pillow image in RGB to the model's size: bytes, (channels, height, width)."""
        return resized(self.processor, picture)

    def values(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return what the model is given for bytes (b, channels, height, width): the same shape."""
        import torch

        mean, std = (torch.tensor(part)[:, None, None] for part in (self.mean, self.std))
        return pixels.float().mul_(self.scale).sub_(mean).div_(std)

    def changed(self, pixels: Bytes, draw: int, row: int) -> Bytes:
        """Crop bytes, (channels, height, width), at random, resize them, and maybe mirror them.

        ``draw`` is the seed of the step, of which each ``row`` is changed otherwise.
        """
        rng = np.random.default_rng((draw, row))
        _, height, width = self.shape
        box = random_box(rng, height, width)
        image = pillow().fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        cropped = np.asarray(image.resize((width, height), self.resample, box=box))
        if rng.random() < 0.5:
            cropped = cropped[:, ::-1]
        return cropped.transpose(2, 0, 1)


def random_box(
    rng: np.random.Generator, height: int, width: int
) -> tuple[float, float, float, float]:
    """Draw a part of a picture: left, top, right and bottom, inside it.

    It is ``LEAST_AREA`` of it or more, its sides in a ratio of at most ``WIDEST``, both evenly
    drawn, the ratio on a scale of logarithms.
    """
    area, log = rng.uniform(LEAST_AREA, 1), math.log(WIDEST)
    ratio = math.exp(rng.uniform(-log, log))
    across, down = (min(1.0, math.sqrt(area * r)) for r in (ratio, 1 / ratio))
    left, top = rng.uniform(0, 1 - across) * width, rng.uniform(0, 1 - down) * height
    return left, top, min(left + across * width, width), min(top + down * height, height)


def resized(processor: Any, picture: Any) -> Bytes:
    """Bring a Pillow image in RGB to the size that an image processor says, its values unchanged.

    Gives bytes, (channels, height, width).
    """
    found = processor(images=[picture], do_rescale=False, do_normalize=False, return_tensors="np")[
        "pixel_values"
    ][0]
    values: Bytes = np.asarray(found).round().clip(0, 255).astype(np.uint8)
    return values


@dataclass(frozen=True)
class Pictures(Examples):
    """Rows as pictures.

    Args:
        pictures: For each row where its picture is.
        scaling: How the model wants them.
        lengths: Places that the model makes of each, (n,); the same for all.
        augment: Whether those that are trained on are changed at random.
        kept: Bytes of all rows at the model's size, (n, channels, height, width); ``None`` where
            they are too many and are read again each time.
        labels: In the form of their kind of target; ``None`` if not known.
    """

    pictures: list[Picture] = field(repr=False)
    scaling: Scaling
    lengths: Indices
    augment: bool = False
    kept: Bytes | None = field(default=None, repr=False)
    labels: Labels | None = None

    @property
    def lost(self) -> Counter[str]:
        """Numbers of rows by what their conversion to RGB has lost."""
        return Counter(words for picture in self.pictures for words in picture.lost)

    def take(self, rows: Indices) -> Pictures:
        """Return some of the rows."""
        return replace(
            self,
            pictures=[self.pictures[row] for row in rows],
            lengths=self.lengths[rows],
            kept=None if self.kept is None else self.kept[rows],
            labels=None if self.labels is None else self.labels[rows],
        )

    def collate(self, indices: npt.ArrayLike, draw: int | None = None) -> dict[str, torch.Tensor]:
        """Make a batch: ``pixel_values``, (b, channels, height, width), and ``labels``."""
        import torch

        rows = np.asarray(indices, np.int64)
        pixels = [self._pixels(int(row)) for row in rows]
        if self.augment and draw is not None:
            pixels = [
                self.scaling.changed(each, draw, int(row))
                for each, row in zip(pixels, rows, strict=True)
            ]
        stacked = np.stack(pixels) if pixels else np.zeros((0, *self.scaling.shape), np.uint8)
        pixel_values = self.scaling.values(torch.from_numpy(stacked))
        return {"pixel_values": pixel_values, **self.label_tensors(rows)}

    def replayed(self, indices: npt.ArrayLike) -> dict[str, torch.Tensor]:
        """Make a batch without pictures: ``pixel_values``, zeros (b, 1), and ``labels``."""
        import torch

        rows = np.asarray(indices, np.int64)
        return {"pixel_values": torch.zeros(len(rows), 1), **self.label_tensors(rows)}

    def _pixels(self, row: int) -> Bytes:
        return _read(self.pictures[row], self.scaling) if self.kept is None else self.kept[row]


def _read(picture: Picture, scaling: Scaling) -> Bytes:
    return scaling.resized(picture.medium.again(decode)[0])


def prepare(rows: Rows, scaling: Scaling, places: int, *, augment: bool = False) -> Pictures:
    """Bring pictures to the model's size, and keep them if they are not too many."""
    pictures: Sequence[Picture] = rows.inputs
    kept = None
    if len(pictures) * math.prod(scaling.shape) <= LARGEST_STORE:
        kept = np.zeros((len(pictures), *scaling.shape), np.uint8)
        for row, picture in enumerate(pictures):
            kept[row] = _read(picture, scaling)
    lengths = np.full(len(pictures), places, np.int64)
    return Pictures(list(pictures), scaling, lengths, augment, kept, rows.labels)
