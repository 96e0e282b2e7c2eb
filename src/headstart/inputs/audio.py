"""A sound a row: files, bytes or samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import pandas as pd

from headstart.data.examples import Examples
from headstart.data.extracted import Extracted
from headstart.data.rows import Rows
from headstart.errors import ConfigError, ModelError
from headstart.inputs._base import InputKind, InputSettings, Mask, Preprocessor
from headstart.inputs.media.extractor import SoundReader, load_extractor, make_reader
from headstart.inputs.media.media import as_cells, missing_cells, read_media
from headstart.inputs.media.sound import decode, is_sound, sound_digest
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.model_config import MAX_SECONDS
from headstart.models.head_choice import Target
from headstart.tasks.spec import TaskSpec
from headstart.tasks.userfile import from_columns

ROWS_AT_ONCE = 256
"""Rows to predict whose features are there at the same time."""


class SoundFeatures(Preprocessor):
    """A feature extractor with the longest sound that it is used with."""

    def __init__(self, reader: SoundReader) -> None:
        super().__init__(reader.extractor)
        self._reader = reader

    def encode(self, rows: Rows) -> Extracted:
        """Compute the features of the rows of a run."""
        return self._reader.encode(rows)

    def encode_parts(self, rows: Rows, task: TaskSpec | None) -> Iterator[Extracted]:  # noqa: ARG002
        """Compute the features of rows to predict."""
        yield from map(self._reader.encode, rows.parts(ROWS_AT_ONCE))

    def write_config(self, config: Any) -> None:
        """Write into a model's configuration how much of a sound it reads."""
        setattr(config, MAX_SECONDS, self._reader.seconds)

    def warnings(self, examples: Examples, where: str) -> list[str]:
        """Tell what is cut off, and switch off masks that are longer than the sounds."""
        found, told = cast(Extracted, examples), []
        if found.n_cut:
            told.append(
                f"{found.n_cut} of {len(found)} {where} ({found.n_cut / len(found):.0%}) are "
                f"longer than {self._reader.seconds:g} seconds and were cut (--max-seconds)."
            )
        return told + _without_long_masks(self._reader.split, int(found.lengths.min(initial=2**31)))

    def facts(self, splits: Mapping[str, Examples]) -> dict[str, str]:
        """Describe the sounds of the rows."""
        rows = {name: cast(Extracted, part) for name, part in splits.items()}
        seconds, rate = rows["training"].seconds, self._reader.rate
        every = np.concatenate([part.rates for part in rows.values()])
        several = sum(int((part.channels > 1).sum()) for part in rows.values())
        rates = ", ".join(
            f"{value / 1000:g} kHz in {count:,} rows"
            for value, count in zip(*np.unique(every, return_counts=True), strict=True)
        )
        changed = f", resampled to {rate / 1000:g} kHz" if (every != rate).any() else ""
        mono = f"; the channels of {several:,} rows averaged to one" if several else ""
        found = {
            "seconds a row": f"median {np.median(seconds):.3g}, 95 % "
            f"{np.percentile(seconds, 95):.3g}, longest {seconds.max():.3g}, "
            f"cut at {self._reader.seconds:g}",
            "rows cut": ", ".join(f"{part.n_cut:,} {name}" for name, part in rows.items()),
            "sound": f"{rates}{changed}{mono}",
        }
        if self._reader.alone:
            found["batches"] = (
                "only sounds of equal length are evaluated together: this model's answer depends "
                "on what a sound is filled up to; in training they are filled up with silence"
            )
        return found


def _without_long_masks(split: SplitModel, shortest: int) -> list[str]:
    """Switch off SpecAugment where a mask would be longer than the shortest row.

    transformers refuses such a batch in the middle of training.
    """
    config: Any = split.model.config
    told = []
    length = getattr(config, "mask_time_length", 0) or 0
    rate = getattr(config, "mask_time_prob", 0) or 0
    if rate and getattr(config, "apply_spec_augment", True) and length > shortest:
        config.mask_time_prob = 0.0
        told.append(
            f"SpecAugment's masks in time are switched off (mask_time_prob {rate:g} of the "
            f"model): they have {length} places, the shortest sound {shortest}."
        )
    return told


class Audio(InputKind):
    """A sound a row."""

    name = "audio"
    model = "audio"
    noun = "sound"
    advice = "Pass --audio COLUMN."
    pooling = "mean"
    lasts = True
    pipeline = "audio-classification"
    usage = """```python
from transformers import pipeline
classify = pipeline("audio-classification", model="{folder}")
```"""

    @classmethod
    def missing(cls, frame: pd.DataFrame, task: TaskSpec) -> Mask:
        """Tell which rows have no sound."""
        return missing_cells(frame, str(task.audio))

    @classmethod
    def read(cls, frame: pd.DataFrame, task: TaskSpec, *, where: str, keep_empty: bool) -> Rows:
        """Find and decode the sounds of a table; ``keep_empty`` means nothing here and is refused.

        Raises ``HeadstartError`` for all faults together: missing, unreadable and damaged files,
        and sounds without samples, with row numbers and names.
        """
        if keep_empty:
            raise ConfigError(
                "--empty-text drop or error beside --audio",
                "--empty-text keep",
                "There is no empty sound to read; leave the rows out by --empty-text drop.",
            )
        found = read_media(
            frame, str(task.audio), where=where, noun="sound", digest=sound_digest, check=decode
        )
        return Rows(cast("list[Any]", found))

    @classmethod
    def table(cls, values: Any, task: TaskSpec | None) -> tuple[pd.DataFrame, TaskSpec]:
        """Make a table of sounds.

        Each is a path, ``bytes``, ``(array, rate)`` or ``{"array": …, "sampling_rate": …}``.
        """
        column = str(task.audio) if task else "audio"
        cells = as_cells(values, "sounds", is_sound)
        held = np.empty(len(cells), object)  # numpy would take a list of arrays apart
        for place, cell in enumerate(cells):
            held[place] = cell
        frame = pd.DataFrame({column: pd.Series(held, dtype=object)})
        return frame, task or from_columns((), "label", audio=column)

    @classmethod
    def for_training(
        cls,
        split: SplitModel,
        target: Target,
        settings: InputSettings,
    ) -> Preprocessor:
        """Load the feature extractor and decide the longest sound.

        Raises ``HeadstartError`` if there is no extractor that fits.
        """
        return cls._features(split, settings, settings.max_seconds)

    @classmethod
    def for_saved(
        cls,
        split: SplitModel,
        target: Target,
        settings: InputSettings,
    ) -> Preprocessor:
        """Load a saved model's feature extractor with the longest sound of its run.

        Raises ``HeadstartError`` if what the user or the model's configuration says does not fit.
        """
        if settings.long_texts == "windows" or settings.window_overlap is not None:
            raise ConfigError(
                "a model of texts for --long-texts", f"{settings.source}, a model of sound",
                "Drop --long-texts and --window-overlap.",
            )  # fmt: skip
        own = getattr(split.model.config, MAX_SECONDS, None)
        fits = own is None or (isinstance(own, int | float) and own > 0)
        if not fits or isinstance(own, bool):
            raise ModelError(
                f"a number of seconds above 0 as {MAX_SECONDS} in config.json", repr(own)[:80],
                "Correct it, or take it out.",
            )  # fmt: skip
        return cls._features(split, settings, settings.max_seconds or own)

    @classmethod
    def _features(
        cls, split: SplitModel, settings: InputSettings, seconds: float | None
    ) -> SoundFeatures:
        trust = settings.trust_remote_code
        extractor = load_extractor(settings.source, trust_remote_code=trust)
        return SoundFeatures(make_reader(split, extractor, seconds, settings.source))


INPUT = Audio
