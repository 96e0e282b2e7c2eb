"""A model's feature extractor: how it turns sound into what the model reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers

from headstart.data.extracted import Extracted, Features
from headstart.data.rows import Rows
from headstart.errors import ConfigError, DataError, ModelError
from headstart.inputs.media.media import Medium
from headstart.inputs.media.sound import Sound, Wave, decode, resample
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.source import locate, quiet, short
from headstart.models.evaluating import evaluating

LARGEST_KEPT = 2 * 2**30
"""Bytes of features up to which those of a split are kept."""
DEFAULT_SECONDS = 30.0
_FRAME, _WINDOW = 0.01, 0.025  # seconds, of spectrograms
_TRIED = 0.5  # seconds of the sound by which a model is tried


def load_extractor(source: str, *, trust_remote_code: bool) -> Any:
    """Load the feature extractor that belongs to a model.

    Raises ``ModelError`` if there is none.
    """
    folder = locate(source)
    try:
        with quiet():
            found = transformers.AutoFeatureExtractor.from_pretrained(
                folder, trust_remote_code=trust_remote_code
            )
        rate = int(found.sampling_rate)
    # Whatever a damaged file makes of the extractor's own code.
    except Exception as error:  # noqa: BLE001
        raise ModelError(
            "a feature extractor of sound beside the model (preprocessor_config.json)",
            f"{folder}: {short(error)}",
            "Copy preprocessor_config.json of the model's origin into the folder.",
        ) from None
    if rate < 1:
        raise ModelError("a sampling rate above 0", f"{rate} in {folder}", "Correct the file.")
    return found


@dataclass(frozen=True)
class SoundReader:
    """A feature extractor with the longest sound that it is used with.

    Args:
        extractor: A feature extractor of transformers.
        seconds: Longest sound; longer ones are cut.
        split: The model, which says how many places it makes of a sound.
        fixed: Places of every sound, where the extractor makes all equally long; else ``None``.
        alone: Whether a row's logits depend on how far it is filled up.
    """

    extractor: Any
    seconds: float
    split: SplitModel
    fixed: int | None
    alone: bool

    @property
    def rate(self) -> int:
        """Samples a second that the model reads."""
        return int(self.extractor.sampling_rate)

    def features(self, medium: Medium) -> Features:
        """Compute the features of a sound."""
        return self._of(medium.again(decode))

    def _of(self, sound: Sound) -> Features:
        return extract(self.extractor, resample(sound.wave, sound.rate, self.rate, self.seconds))

    def encode(self, rows: Rows) -> Extracted:
        """Compute the features of rows, and keep them up to ``LARGEST_KEPT``.

        Raises ``DataError`` if a sound is too short for the model; all of them are told.
        """
        kept: list[Features | None] = []
        facts: list[tuple[int, int, float, int, int]] = []
        short_ones: list[str] = []
        size = 0
        for number, medium in enumerate(rows.inputs, 1):
            sound = medium.again(decode)
            length = len(sound.wave) / sound.rate
            name = medium.name or f"sound {number}"
            if length < _WINDOW - 1e-9 or (found := self._try(sound)) is None:
                short_ones.append(f"{name} ({length:.4g} s)")
                continue
            size += sum(values.nbytes for values in found.values())
            kept.append(found if size <= LARGEST_KEPT else None)
            facts.append((*self._places(found), length, sound.rate, sound.channels))
        if short_ones:
            raise _too_short(short_ones)
        sizes, places, seconds, rates, channels = zip(*facts, strict=True) if facts else [()] * 5
        lengths = np.array(seconds, np.float64)
        return Extracted(
            kept, self.features, rows.inputs, np.array(sizes, np.int64),
            np.array(places, np.int64), lengths, lengths > self.seconds + 1e-9,
            np.array(rates, np.int64), np.array(channels, np.int64),
            float(getattr(self.extractor, "padding_value", 0.0)), self.alone,
        ).with_labels(rows.labels)  # fmt: skip

    def _try(self, sound: Sound) -> Features | None:
        """Return a sound's features; ``None`` where the model makes no place of it."""
        try:
            found = self._of(sound)
        except (ValueError, RuntimeError, IndexError):
            if len(sound.wave) / sound.rate > _TRIED:  # as much goes through
                raise
            return None
        return found if self._places(found)[1] > 0 else None

    def _places(self, features: Features) -> tuple[int, int]:
        """Return how long features are, and how many places the model makes of them."""
        size = max(len(values) for values in features.values())
        if self.fixed is not None:
            return size, self.fixed
        return size, places_of(self.split, features)


def _too_short(names: Sequence[str]) -> DataError:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return DataError(
        f"sound that is as long as what the model looks at at once, {_WINDOW} s or more",
        f"{len(names)} too short: {', '.join(names[:5])}{more}",
        "Remove these rows, or take longer pieces.",
    )


def extract(extractor: Any, wave: Wave) -> Features:
    """Call a feature extractor as transformers' pipeline does, on one sound at its rate, (n,).

    What it gives has no dimension of the batch.
    """
    with quiet():
        found = extractor(wave, sampling_rate=extractor.sampling_rate, return_tensors="np")
    return {
        name: np.ascontiguousarray(
            values[0].astype(np.uint8 if name == "attention_mask" else np.float32)
        )
        for name, values in found.items()
    }


def places_of(split: SplitModel, features: Features) -> int:
    """Return how many places a model makes of a row's features: the length of its final states."""
    mask = features.get("attention_mask")
    name = next(name for name in features if name != "attention_mask")
    size = len(features[name]) if mask is None else int(mask.sum())
    counted = getattr(split.base, "_get_feat_extract_output_lengths", None)
    if counted is None or features[name].ndim > 1:  # frames of a spectrogram are places
        return size
    return int(counted(torch.tensor(size)))


def make_reader(split: SplitModel, extractor: Any, asked: float | None, source: str) -> SoundReader:
    """Find out how a model reads sound.

    ``asked`` is the longest sound in seconds, if that is said. Raises ``HeadstartError`` if the
    model does not take what the extractor gives, or not that much.
    """
    rate = int(extractor.sampling_rate)
    noise = np.random.default_rng(0).normal(0, 0.1, round(2 * _TRIED * rate)).astype(np.float32)
    try:
        first, second = (extract(extractor, noise[:n]) for n in (len(noise) // 2, len(noise)))
        fixed = all(first[name].shape == second[name].shape for name in first)
        places, logits = _run(split, first)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ModelError(
            f"a feature extractor that gives what {type(split.base).__name__} reads",
            f"{type(extractor).__name__} of {source}: {short(error)}",
            "Use the preprocessor_config.json that belongs to this checkpoint.",
        ) from None
    most = _most_seconds(extractor) if fixed else math.inf
    if asked is not None and asked > most:
        raise ConfigError(
            f"--max-seconds of at most {most:g}, which the feature extractor of {source} takes",
            f"{asked:g}",
            "Drop it, or cut longer sounds into several rows.",
        )
    seconds = asked or min(most, DEFAULT_SECONDS)
    alone = not fixed and not _same_if_filled(split, extractor, first, logits)
    return SoundReader(extractor, seconds, split, places if fixed else None, alone)


def _most_seconds(extractor: Any) -> float:
    """Return how much sound an extractor takes that makes all equally long."""
    samples = getattr(extractor, "n_samples", None)
    if isinstance(samples, int):
        return samples / int(extractor.sampling_rate)
    frames = getattr(extractor, "max_length", None)
    return frames * _FRAME + (_WINDOW - _FRAME) if isinstance(frames, int) else DEFAULT_SECONDS


@torch.no_grad()
def _run(split: SplitModel, features: Features) -> tuple[int, npt.NDArray[np.float32]]:
    """Return the places that a model makes of a row, and its logits."""
    heard: list[Any] = []
    device = next(split.model.parameters()).device
    given = {
        name: values.astype(np.int64) if name == "attention_mask" else values
        for name, values in features.items()
    }
    batch = {name: torch.from_numpy(values)[None].to(device) for name, values in given.items()}
    hear = split.base.register_forward_hook(lambda _, __, output: heard.append(output))
    with hear, evaluating(split.model):
        logits = split.model(**batch).logits
    return heard[0].last_hidden_state.shape[1], logits.float().cpu().numpy()


def _same_if_filled(
    split: SplitModel, extractor: Any, features: Features, logits: npt.NDArray[np.float32]
) -> bool:
    """Return whether a row's logits stay the same when it is filled up."""
    fill = float(getattr(extractor, "padding_value", 0.0))
    more = len(next(iter(features.values()))) // 3
    filled = {
        name: np.pad(
            values, [(0, more), *[(0, 0)] * (values.ndim - 1)],
            constant_values=0 if name == "attention_mask" else fill,
        )
        for name, values in features.items()
    }  # fmt: skip
    moved = np.abs(_run(split, filled)[1] - logits).max()
    return bool(moved <= 1e-3 * np.abs(logits).max() + 1e-6)
