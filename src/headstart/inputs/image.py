"""A picture a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import pandas as pd

from headstart.data.examples import Examples
from headstart.data.rows import Rows
from headstart.inputs._base import InputKind, InputSettings, Mask, Preprocessor
from headstart.inputs.media.media import as_cells, missing_cells, read_media
from headstart.inputs.media.picture import Picture, decode, picture_digest, pillow
from headstart.inputs.media.pixels import LEAST_AREA, Pictures, Scaling, prepare
from headstart.inputs.media.processor import count_places, load_scaling
from headstart.models.backbone import SplitModel
from headstart.models.head_choice import Target
from headstart.tasks.spec import TaskSpec
from headstart.tasks.userfile import from_columns

ROWS_AT_ONCE = 256
"""Pictures that are brought to the model's size at once, to predict."""


class Pixels(Preprocessor):
    """An image processor with the size and the values that its model wants.

    ``places`` is how many places the model makes of a picture.
    """

    def __init__(self, scaling: Scaling, places: int, *, augment: bool = False) -> None:
        super().__init__(scaling.processor)
        self._scaling, self._places, self._augment = scaling, places, augment

    def encode(self, rows: Rows) -> Pictures:
        """Bring the pictures of a run to the model's size."""
        return prepare(rows, self._scaling, self._places, augment=self._augment)

    def encode_parts(self, rows: Rows, task: TaskSpec | None) -> Iterator[Pictures]:  # noqa: ARG002
        """Bring pictures to predict to the model's size."""
        for part in rows.parts(ROWS_AT_ONCE):
            yield prepare(part, self._scaling, self._places)

    def warnings(self, examples: Examples, where: str) -> list[str]:
        """Tell what is lost where pictures become RGB."""
        rows = cast(Pictures, examples)
        lost = rows.lost.items()
        return [f"{n} of {len(rows):,} {where} have {words}." for words, n in lost]

    def facts(self, splits: Mapping[str, Examples]) -> dict[str, str]:
        """Describe the pictures."""
        train = cast(Pictures, splits["training"])
        _, height, width = self._scaling.shape
        kept = train.kept
        return {
            "pictures": f"{width} × {height} pixels",
            "augmentation": f"crops of {LEAST_AREA:.0%} to 100 % of the area, and mirrored; only "
            "where the backbone trains"
            if self._augment
            else "none",
            "training pictures in memory": "no, they are read again in each epoch"
            if kept is None
            else f"{kept.nbytes / 2**20:,.0f} MiB",
        }


class Image(InputKind):
    """A picture a row."""

    name = "image"
    model = "image"
    noun = "pictures"
    advice = "Pass --image COLUMN, or a task file with image as --task."
    augments = True
    pipeline = "image-classification"
    usage = """```python
from transformers import pipeline
classify = pipeline("image-classification", model="{folder}")
```"""

    @classmethod
    def missing(cls, frame: pd.DataFrame, task: TaskSpec) -> Mask:
        """Tell which rows lack a picture."""
        return missing_cells(frame, _column(task))

    @classmethod
    def read(cls, frame: pd.DataFrame, task: TaskSpec, *, where: str, keep_empty: bool) -> Rows:
        """Find and decode the pictures of a table, so that all that cannot be read is told at once.

        Raises ``HeadstartError`` if Pillow is missing, or for all faults together, with row
        numbers.
        """
        pillow()
        lost: list[tuple[str, ...]] = []
        media = read_media(
            frame, _column(task), where=where, noun="picture", digest=picture_digest,
            check=lambda content: lost.append(decode(content)[1]),
        )  # fmt: skip
        return Rows([Picture(*pair) for pair in zip(media, lost, strict=True)])

    @classmethod
    def table(cls, values: Any, task: TaskSpec | None) -> tuple[pd.DataFrame, TaskSpec]:
        """Make a table of pictures.

        Each is a path, bytes, a Pillow image, or an array of up to three dimensions. Raises
        ``DataError`` if it is a table already, or nothing of this.
        """
        cells = as_cells(values, "pictures", _is_one)
        frame = pd.DataFrame({"image": pd.Series(cells, dtype=object)})
        return frame, from_columns((), "label", image="image")

    @classmethod
    def for_training(
        cls,
        split: SplitModel,
        target: Target,
        settings: InputSettings,
    ) -> Preprocessor:
        """Load the image processor and see whether the model reads what it makes.

        Raises ``HeadstartError`` if there is none that fits.
        """
        return cls._load(split, settings, augment=settings.augment)

    @classmethod
    def for_saved(
        cls,
        split: SplitModel,
        target: Target,
        settings: InputSettings,
    ) -> Preprocessor:
        """Load a saved model's image processor.

        Raises ``HeadstartError`` if there is none that fits.
        """
        return cls._load(split, settings)

    @classmethod
    def _load(cls, split: SplitModel, settings: InputSettings, *, augment: bool = False) -> Pixels:
        scaling = load_scaling(settings.source, trust_remote_code=settings.trust_remote_code)
        places = count_places(split, scaling, settings.source)
        return Pixels(scaling, places, augment=augment)


def _column(task: TaskSpec) -> str:
    if task.image is None:
        raise RuntimeError("a task of pictures names their column")
    return task.image


def _is_one(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim <= 3
    return isinstance(value, pillow().Image)


INPUT = Image
